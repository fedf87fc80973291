package dlq_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// A killer runs a child behind a proxy and kills it around a request: in even rounds while the request is on its way, in odd
// ones when it has been executed and nobody knows.
type killer struct {
	proxy *redistest.Proxy
	match func(request []byte) bool
}

func newKiller(t *testing.T, s *redistest.Server, match func([]byte) bool) *killer {
	return &killer{redistest.NewProxy(t, s.Addr), match}
}

// round kills the child at the nth request that matches, and says whether it came so far: it may have ended before.
func (k *killer) round(t *testing.T, round int, name string, env ...string) (killed bool) {
	t.Helper()
	hit := make(chan struct{})
	nth := 1 + round/2%3
	match := func(request []byte) bool {
		if nth > 0 && k.match(request) {
			if nth--; nth == 0 {
				close(hit)
				return true
			}
		}
		return false
	}
	if round%2 == 0 {
		k.proxy.OnRequest(func(b []byte) { match(b) })
	} else {
		k.proxy.Lose(match)
	}
	lost := k.proxy.Lost()
	c := start(t, name, "redis://"+k.proxy.Addr, env...)
	gone := c.gone()
	select {
	case <-hit:
		if round%2 == 1 {
			eventually(t, "the answer to be lost", func() error {
				if k.proxy.Lost() == lost {
					return errors.New("it is not")
				}
				return nil
			})
		}
		c.Kill()
		<-gone
		killed = true
	case last := <-gone:
		require.Equal(t, "ended", last)
	}
	k.proxy.OnRequest(nil)
	k.proxy.Lose(nil)
	return killed
}

// TestOneLetterForEachEventWhateverCrashesWhen kills consumers around their dead-lettering.
func TestOneLetterForEachEventWhateverCrashesWhen(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tr := open(t, s.URL)
	b := bus.New(tr)
	k := newKiller(t, s, func(request []byte) bool {
		return bytes.Contains(request, []byte("{orders.placed}:billing:dead")) &&
			(bytes.Contains(request, []byte(dlq.Exhausted)) || bytes.Contains(request, []byte(dlq.Permanent)) || bytes.Contains(request, []byte(dlq.DecodeError)))
	})
	reasons := map[string]string{} // by message id; "" is handled
	kills := 0
	for round := 0; kills < 16; round++ {
		require.Less(t, round, 30)
		for i := range 10 {
			for kind, reason := range map[string]string{"fails": dlq.Exhausted, "permanent": dlq.Permanent, "ok": "", "": dlq.DecodeError} {
				id := fmt.Sprintf("%s-%d-%d", kind, round, i)
				reasons[id] = reason
				if kind == "" {
					m := &transport.Message{ID: id, ContentType: "application/json", Body: []byte("{")}
					require.NoError(t, tr.Publish(t.Context(), transport.Topic{Name: orders.Name()}, []*transport.Message{m}))
					continue
				}
				require.NoError(t, orders.Publish(t.Context(), b, Order{ID: kind}, bus.ID(id)))
			}
		}
		if k.round(t, round, "consume") {
			kills++
		}
	}
	t.Logf("killed %d times", kills)
	bustest.Start(t, consuming(tr))
	nothingLeft(t, tr)
	got := map[string][]string{}
	for _, l := range letters(t, queue(tr), dlq.Filter{}) {
		got[l.ID] = append(got[l.ID], l.Reason)
	}
	for id, reason := range reasons {
		want := []string{reason}
		if reason == "" {
			want = nil
		}
		assert.Equal(t, want, got[id], id)
	}
}

// nothingLeft waits until the group has nothing to do.
func nothingLeft(t *testing.T, tr *redisstream.Transport) {
	t.Helper()
	eventually(t, "nothing to be left", func() error {
		lag, err := tr.Lag(t.Context(), transport.Topic{Name: orders.Name()}, "billing")
		if err == nil && lag.Undelivered+lag.Pending+lag.Waiting != 0 {
			err = fmt.Errorf("%+v", lag)
		}
		return err
	})
}

// TestAnEventThatKillsItsProcess ends in the dead letters, after so many processes and no more, with one letter.
func TestAnEventThatKillsItsProcess(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	tr := open(t, s.URL)
	require.NoError(t, orders.Publish(t.Context(), bus.New(tr), Order{ID: "deadly"}, bus.ID("deadly")))
	deaths := 0
	for q := queue(tr); ; deaths++ {
		require.Less(t, deaths, 10)
		c := start(t, "consume", s.URL, "TYPEDBUS_CRASHES=3")
		gone := c.gone()
		var n int64
		eventually(t, "a death", func() (err error) {
			if len(gone) == 1 {
				return nil
			}
			if n, err = q.Count(t.Context()); err == nil && n == 0 {
				err = errors.New("the process lives, and there is no letter")
			}
			return err
		})
		c.Kill()
		<-gone
		if n > 0 {
			break
		}
	}
	assert.Equal(t, 3, deaths)
	ls := letters(t, queue(tr), dlq.Filter{})
	require.Len(t, ls, 1)
	assert.Equal(t, []any{"deadly", dlq.Crashed, 1}, []any{ls[0].ID, ls[0].Reason, ls[0].Attempt})
}

// TestAReplayThatIsKilled is run again: each letter is replayed once, none is lost and none doubled.
func TestAReplayThatIsKilled(t *testing.T) {
	t.Parallel()
	const total = 400
	s := redistest.Start(t)
	tr := open(t, s.URL)
	cs := named(total)
	for i := range cs {
		cs[i].body = "{}"
	}
	bury(t, tr, cs...)
	billing, b := consume(t, tr, "billing", nil)
	k := newKiller(t, s, func(request []byte) bool {
		return bytes.Contains(request, []byte("{orders.placed}:billing:dead")) && bytes.Contains(request, []byte("{orders.placed}:billing:retry"))
	})
	kills, q := 0, queue(tr)
	for round := 0; k.round(t, round, "replay"); round++ {
		kills++
		bustest.Settle(t, b)
		n, err := q.Count(t.Context())
		require.NoError(t, err)
		require.Len(t, billing.counts(), total-int(n), "what is no letter any more is handled")
		require.Less(t, round, total)
	}
	t.Logf("killed %d times", kills)
	assert.GreaterOrEqual(t, kills, 15)
	bustest.Settle(t, b)
	count(t, q, 0)
	assert.Equal(t, once(total), billing.counts())
	begun, ended := 0, 0
	for _, a := range acts(t, q) {
		if a.Count < 0 {
			begun++
		} else if !strings.Contains(a.Detail, "failed") {
			ended++
		}
	}
	assert.Equal(t, kills, begun-ended, "what was killed has no end on record")
}

// TestAnImportThatIsKilled is run again: every letter is there once.
func TestAnImportThatIsKilled(t *testing.T) {
	t.Parallel()
	source := memory.New()
	defer source.Close()
	for i, l := range letters(t, buried(t, source, 30), dlq.Filter{}) {
		l.Died = l.Died.Truncate(1e6).Add(-1e6 * 1000) // what Redis keeps, and not of this moment
		l.Time = l.Died
		l.Reason = fmt.Sprint(i)
		_, err := source.PutLetter(t.Context(), transport.Topic{Name: orders.Name()}, "billing", l, l.LetterID)
		require.NoError(t, err)
	}
	file := filepath.Join(t.TempDir(), "letters.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(export(t, source)), 0o600))

	s := redistest.Start(t)
	tr := open(t, s.URL)
	k := newKiller(t, s, func(request []byte) bool {
		return bytes.Contains(request, []byte("{orders.placed}:billing:dead")) && bytes.Contains(request, []byte(`typedbus.reason`))
	})
	kills := 0
	for round := 0; k.round(t, round, "import", "TYPEDBUS_FILE="+file); round++ {
		kills++
	}
	t.Logf("killed %d times", kills)
	assert.GreaterOrEqual(t, kills, 10)
	assert.Equal(t, content(t, source), content(t, tr))
}

func buried(t *testing.T, tr transport.Transport, n int) *dlq.Queue {
	bury(t, tr, named(n)...)
	return queue(tr)
}
