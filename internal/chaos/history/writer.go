package history

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// A Log takes records: a [Writer], or a process of a [Memory]. It may be called concurrently.
type Log interface {
	// Log sets the time of a record, and its process if it has none, and keeps it.
	Log(r Record)
}

// suffix is how the file of a process ends.
const suffix = ".history"

// A Writer writes down what happens in one process. Its methods may be called concurrently.
type Writer struct {
	process string
	file    *os.File
	failed  atomic.Pointer[error] // the first write that failed
}

var lines = sync.Pool{New: func() any { return new([]byte) }}

// Open opens the file of a process, and makes dir and the file if they are not there. process may be any text that is not
// empty; where it has written before, what it writes now comes after that.
func Open(dir, process string) (*Writer, error) {
	if process == "" {
		return nil, fmt.Errorf("history: open in %s: a process needs a name", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("history: open: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, fileName(process)), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("history: open: %w", err)
	}
	return &Writer{process: process, file: f}, nil
}

// fileName makes a name of one path element, another for each process.
func fileName(process string) string {
	var b strings.Builder
	for i := range len(process) {
		switch c := process[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default: // capitals too: not every file system tells them apart
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String() + suffix
}

// Log writes r in one write. It sets At to now, and Process to that of the writer where r names none: who injects faults names
// those whom they befall. A write that fails is told by Close.
func (w *Writer) Log(r Record) {
	r.At = Now()
	w.Keep(r)
}

// Keep is Log for what has happened before, when r says.
func (w *Writer) Keep(r Record) {
	if r.Process == "" {
		r.Process = w.process
	}
	line := lines.Get().(*[]byte)
	defer lines.Put(line)
	text, err := json.Marshal(&r)
	if err == nil {
		*line = append(append((*line)[:0], text...), '\n')
		_, err = w.file.Write(*line)
	}
	if err != nil {
		err = fmt.Errorf("history: write to %s: %w", w.file.Name(), err)
		w.failed.CompareAndSwap(nil, &err)
	}
}

// Close closes the file, and returns the first error there was.
func (w *Writer) Close() error {
	err := w.file.Close()
	if first := w.failed.Load(); first != nil {
		return *first
	}
	if err != nil {
		return fmt.Errorf("history: close: %w", err)
	}
	return nil
}
