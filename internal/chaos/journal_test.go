package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

// A journal is the history of one process.
type journal struct {
	name string
	mu   sync.Mutex
	file *os.File
}

func newJournal(dir, name string) (*journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, name+".jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &journal{name: name, file: f}, err
}

func (j *journal) Close() error { return j.file.Close() }

func (j *journal) add(r history.Record) {
	if r.Process == "" {
		r.Process = j.name
	}
	r.At = now()
	line, err := json.Marshal(r)
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	if err != nil {
		panic(fmt.Sprintf("chaos: the history cannot be written: %v", err))
	}
}

func now() int64 {
	var ts syscall.Timespec
	_, _, e := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&ts)), 0)
	if e != 0 {
		panic(e)
	}
	return ts.Nano()
}

// watch is the middleware that writes down deliveries.
func (j *journal) watch(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) (err error) {
		r := history.Record{ID: d.ID, Attempt: d.Attempt, Redelivered: d.Redelivered, What: history.Started}
		j.add(r)
		d.OnSettled(func(_ context.Context, v transport.Verdict, err error) {
			r := r
			r.What, r.Text = history.Settled, v.String()
			if err != nil {
				r.What, r.Text = history.Refused, err.Error()
			}
			j.add(r)
		})
		err = next(ctx, d)
		r.What = history.Finished
		if err != nil {
			r.What, r.Text = history.Failed, err.Error()
		}
		if ctx.Err() != nil {
			r.What, r.Text = history.Ended, context.Cause(ctx).Error()
		}
		j.add(r)
		return err
	}
}

func readHistory(dir string) (all []history.Record, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for s := bufio.NewScanner(strings.NewReader(string(b))); s.Scan(); {
			var r history.Record
			if err := json.Unmarshal(s.Bytes(), &r); err != nil {
				return nil, err
			}
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b history.Record) int { return int(a.At - b.At) })
	return all, err
}

// logger writes to a file beside the history, and reports of loss into the history too.
func logger(s spec, j *journal) *slog.Logger {
	f, err := os.OpenFile(filepath.Join(s.Dir, s.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	return slog.New(lossHandler{slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelWarn}), j})
}

type lossHandler struct {
	slog.Handler
	log *journal
}

func (h lossHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "data loss suspected") {
		text := r.Message
		r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
		h.log.add(history.Record{What: history.Loss, Text: text})
	}
	return h.Handler.Handle(ctx, r)
}

func (h lossHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return lossHandler{h.Handler.WithAttrs(as), h.log}
}

func (h lossHandler) WithGroup(name string) slog.Handler {
	return lossHandler{h.Handler.WithGroup(name), h.log}
}
