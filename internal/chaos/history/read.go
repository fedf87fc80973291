package history

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Read returns what all processes have written into dir, in the order of time. Records of one file that have the same time stay
// in order. An error names the line of the file that is no record; nothing is returned then. A directory without a history
// is an error too. A last line without its end is passed over: the kernel may cut a write in two, at the end of a page, when it
// kills the process, and what was to follow the record has not begun then.
func Read(dir string) ([]Record, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no file *%s in %s", suffix, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("history: read: %w", err)
	}
	slices.Sort(names)
	r := reader{seen: make(map[string]string)}
	for _, name := range names {
		if err := r.file(name); err != nil {
			return nil, fmt.Errorf("history: read: %w", err)
		}
	}
	slices.SortStableFunc(r.all, func(a, b Record) int { return cmp.Compare(a.At, b.At) })
	return r.all, nil
}

type reader struct {
	all  []Record
	seen map[string]string // texts repeat: each is kept once
}

func (r *reader) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = r.line(line)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, number, err)
		}
	}
}

func (r *reader) line(line []byte) error {
	var rec Record
	if err := json.Unmarshal(line, &rec); err != nil {
		return err
	}
	if rec.At == 0 || rec.Process == "" || rec.What == "" {
		return errors.New("not a record: without a time, a process or what happened")
	}
	rec.Process, rec.What = r.once(rec.Process), What(r.once(string(rec.What)))
	rec.ID, rec.Key, rec.Text = r.once(rec.ID), r.once(rec.Key), r.once(rec.Text)
	r.all = append(r.all, rec)
	return nil
}

func (r *reader) once(s string) string {
	if kept, ok := r.seen[s]; ok {
		return kept
	}
	r.seen[s] = s
	return s
}
