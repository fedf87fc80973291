package memory

import (
	"sort"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const chunkSize = 128

// A log is the messages of a topic in order, each with its position. Positions begin at 1. What it holds never changes and
// never moves, so that pointers into it stay good, also after it was trimmed.
type log struct {
	chunks []*[chunkSize]transport.Message
	base   uint64 // position of chunks[0][0]
	first  uint64 // position of the oldest message kept
	next   uint64 // position of the next message
}

func newLog() log { return log{base: 1, first: 1, next: 1} }

func (l *log) len() uint64 { return l.next - l.first }

// at returns the message at a position from first to next, not including next.
func (l *log) at(pos uint64) *transport.Message {
	i := pos - l.base
	return &l.chunks[i/chunkSize][i%chunkSize]
}

func (l *log) append(m *transport.Message) {
	if l.next-l.base == uint64(len(l.chunks))*chunkSize {
		l.chunks = append(l.chunks, new([chunkSize]transport.Message))
	}
	l.next++
	*l.at(l.next - 1) = *m
}

// trim forgets what is before a position. Memory is given back by the chunk.
func (l *log) trim(first uint64) {
	l.first = max(l.first, min(first, l.next))
	n := (l.first - l.base) / chunkSize
	clear(l.chunks[:n])
	l.chunks = l.chunks[n:]
	l.base += n * chunkSize
}

// since returns the position of the first message stored at a time or later.
func (l *log) since(t time.Time) uint64 {
	return l.first + uint64(sort.Search(int(l.len()), func(i int) bool {
		return !l.at(l.first + uint64(i)).Time.Before(t)
	}))
}
