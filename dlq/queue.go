package dlq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"unicode/utf8"

	"github.com/typedbus/typedbus/transport"
)

// A Letter is a message that a group gave up on.
type Letter = transport.Letter

// ErrNoLetter: the group has no letter with that id: it was replayed, discarded, edited or removed by the bound.
var ErrNoLetter = transport.ErrNoLetter

// QueueOptions are the settings of a [Queue]. The zero value is ready.
type QueueOptions struct {
	// Who acts, for the record; default "user@host" of the process.
	Who string
}

// A Queue is the dead letters of one group of a topic. Its methods may be called concurrently, by many processes: an act passes
// over letters that another has removed meanwhile. It holds no connection and needs no closing.
type Queue struct {
	topic   transport.Topic
	group   string
	who     string
	kind    string // of transport
	letters transport.DeadLetters
	archive transport.LetterArchive // nil if the transport has not that power
	err     error                   // what is wrong with the declaration, reported by first use
}

// NewQueue returns the dead letters of a group. It returns no error: a bad name, or a transport that cannot show its dead
// letters, is reported by every method.
//
// Looking needs a transport that is a [transport.DeadLetters]; Get, a filter by IDs, and all acts need one that is a
// [transport.LetterArchive] too. memory and redisstream are both.
func NewQueue(tr transport.Transport, topic, group string, o QueueOptions) *Queue {
	q := &Queue{topic: transport.Topic{Name: topic}, group: group, who: cmp.Or(o.Who, whoami()), kind: fmt.Sprintf("%T", tr)}
	q.letters, _ = tr.(transport.DeadLetters)
	q.archive, _ = tr.(transport.LetterArchive)
	q.err = errors.Join(transport.CheckName("topic", topic), transport.CheckName("group", group))
	switch {
	case tr == nil:
		q.err = errors.Join(q.err, errors.New("nil transport: give NewQueue the one that the bus has"))
	case q.letters == nil:
		q.err = errors.Join(q.err, fmt.Errorf("transport %s cannot show dead letters: it is no transport.DeadLetters", q.kind))
	}
	return q
}

func whoami() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// Count returns how many letters there are. A group that nobody has subscribed to has none.
func (q *Queue) Count(ctx context.Context) (int64, error) {
	if q.err != nil {
		return 0, q.failed("count", q.err)
	}
	n, err := q.letters.CountLetters(ctx, q.topic, q.group)
	return n, q.failed("count", err)
}

// Get returns one letter; the error wraps [ErrNoLetter] if there is none with this id.
func (q *Queue) Get(ctx context.Context, id string) (*Letter, error) {
	l, err := q.get(ctx, id)
	return l, q.failed("get", err)
}

func (q *Queue) get(ctx context.Context, id string) (*Letter, error) {
	if err := q.archived(); err != nil {
		return nil, err
	}
	return q.archive.Letter(ctx, q.topic, q.group, id)
}

// archived says whether letters can be got and written, and acts recorded.
func (q *Queue) archived() error {
	if q.err == nil && q.archive == nil {
		return fmt.Errorf("transport %s can only show pages of dead letters: it is no transport.LetterArchive", q.kind)
	}
	return q.err
}

// failed says which call failed, and where.
func (q *Queue) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("dlq: %s %s/%s: %w", what, q.topic.Name, q.group, err)
}

// shorten cuts a text to what a letter or a record keeps, at the end of a character.
func shorten(s string) string { return cut(s, transport.MaxErrorText) }

// cut cuts a text to n bytes at most, at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for end := n; n > end-utf8.UTFMax && !utf8.RuneStart(s[n]); {
		n--
	}
	return s[:n]
}
