package history

import (
	"slices"
	"sync"
	"time"
)

// A Memory is a history that is not written to files, for simulations: all processes are in one, and the order in which they
// log is the order of what happens. Its times are those of package time, so that it works in a [testing/synctest] bubble.
// Its methods may be called concurrently; the zero value is empty.
type Memory struct {
	mu      sync.Mutex
	start   time.Time
	records []Record
}

// Process returns the log of one process.
func (m *Memory) Process(name string) Log { return &memoryLog{m, name} }

// Records returns a copy of what was logged, in order.
func (m *Memory) Records() []Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.records)
}

type memoryLog struct {
	m       *Memory
	process string
}

// Log sets At, from 1 on, and Process where r names none.
func (l *memoryLog) Log(r Record) {
	if r.Process == "" {
		r.Process = l.process
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	now := time.Now()
	if l.m.start.IsZero() {
		l.m.start = now
	}
	r.At = 1 + int64(now.Sub(l.m.start))
	l.m.records = append(l.m.records, r)
}
