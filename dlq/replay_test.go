package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// handled counts, by key, what a group was given.
type handled struct {
	mu   sync.Mutex
	keys map[string]int
}

func (h *handled) add(d *bus.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys == nil {
		h.keys = map[string]int{}
	}
	h.keys[d.Key]++
}

func (h *handled) counts() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.keys
}

// consume runs a group that handles everything and returns what it has handled.
func consume(t *testing.T, tr transport.Transport, group string, err error, mws ...bus.Middleware) (h *handled, b *bus.Bus) {
	t.Helper()
	h, b = &handled{}, bus.New(tr, quiet, bus.Use(mws...))
	orders.Subscribe(b, group, func(_ context.Context, e *bus.Event[Order]) error {
		h.add(e.Delivery)
		return err
	})
	bustest.Start(t, b)
	return h, b
}

// once is what handled has when each of n was handled once.
func once(n int) map[string]int {
	m := map[string]int{}
	for i := range n {
		m[fmt.Sprint(i)] = 1
	}
	return m
}

func TestReplayToTheGroupThatFailedOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		cs := named(10)
		for i := range cs {
			cs[i].body = "{}"
		}
		bury(t, tr, cs...)
		shipping, b := consume(t, tr, "shipping", nil)
		bustest.Settle(t, b)
		require.Equal(t, once(10), shipping.counts())

		q := queue(tr)
		rep, err := q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
		require.NoError(t, err)
		assert.Equal(t, dlq.Report{Matched: 10, Done: 10}, rep)
		count(t, q, 0)
		billing, b2 := consume(t, tr, "billing", nil)
		bustest.Settle(t, b2)
		bustest.Settle(t, b)
		assert.Equal(t, once(10), billing.counts())
		assert.Equal(t, once(10), shipping.counts(), "which had handled them")
		rep, err = q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
		require.NoError(t, err)
		assert.Zero(t, rep, "nothing is left")
	})
}

func TestReplayAndDiscardWhatMatches(t *testing.T) {
	type remove func(q *dlq.Queue, f dlq.Filter, most int, dry bool) (dlq.Report, error)
	for name, do := range map[string]remove{
		"replay": func(q *dlq.Queue, f dlq.Filter, most int, dry bool) (dlq.Report, error) {
			return q.Replay(t.Context(), f, dlq.ReplayOptions{Max: most, DryRun: dry})
		},
		"discard": func(q *dlq.Queue, f dlq.Filter, most int, dry bool) (dlq.Report, error) {
			return q.Discard(t.Context(), f, dlq.DiscardOptions{Max: most, DryRun: dry})
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, tr transport.Transport) {
				cs := named(6)
				for i := range cs {
					cs[i].reason = []string{"even", "odd"}[i%2]
				}
				bury(t, tr, cs...)
				q := queue(tr)
				ids := letters(t, q, dlq.Filter{})
				for _, c := range []struct {
					name string
					f    dlq.Filter
					max  int
					dry  bool
					want dlq.Report
					left string
				}{
					{"dry run", dlq.Filter{All: true}, 0, true, dlq.Report{Matched: 6}, "0 1 2 3 4 5"},
					{"dry run of some", dlq.Filter{All: true}, 2, true, dlq.Report{Matched: 2}, "0 1 2 3 4 5"},
					{"none", dlq.Filter{Reason: "x"}, 0, false, dlq.Report{}, "0 1 2 3 4 5"},
					{"one", dlq.Filter{IDs: []string{ids[2].LetterID}}, 0, false, dlq.Report{Matched: 1, Done: 1}, "0 1 3 4 5"},
					{"the oldest", dlq.Filter{Reason: "odd"}, 2, false, dlq.Report{Matched: 2, Done: 2}, "0 4 5"},
					{"the same again", dlq.Filter{IDs: []string{ids[1].LetterID, ids[4].LetterID}}, 0, false, dlq.Report{Matched: 1, Done: 1}, "0 5"},
					{"all", dlq.Filter{All: true}, 0, false, dlq.Report{Matched: 2, Done: 2}, ""},
				} {
					rep, err := do(q, c.f, c.max, c.dry)
					require.NoError(t, err, c.name)
					assert.Equal(t, c.want, rep, c.name)
					assert.Equal(t, c.left, strings.Join(keys(letters(t, q, dlq.Filter{})), " "), c.name)
				}
			})
		})
	}
}

func TestAnEmptyFilterIsRefused(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	bury(t, tr, named(2)...)
	q := queue(tr)
	for _, f := range []dlq.Filter{{}, {MinReplays: -1}} {
		_, err := q.Replay(t.Context(), f, dlq.ReplayOptions{})
		assert.EqualError(t, err, "dlq: replay orders.placed/billing: the filter is empty: set a condition, or All if every letter is meant")
		_, err = q.Discard(t.Context(), f, dlq.DiscardOptions{})
		assert.ErrorContains(t, err, "the filter is empty")
	}
	count(t, q, 2)
	assert.Empty(t, acts(t, q))
}

func TestReplayKeepsToItsRate(t *testing.T) {
	for name, c := range map[string]struct {
		o     dlq.ReplayOptions
		takes time.Duration
		steps int
	}{
		"as fast as can be":          {dlq.ReplayOptions{}, 0, 2},
		"ten a second":               {dlq.ReplayOptions{Rate: 10}, 11900 * time.Millisecond, 120},
		"ten a second, twenty first": {dlq.ReplayOptions{Rate: 10, Burst: 20}, 10 * time.Second, 6},
		"a hundred a second":         {dlq.ReplayOptions{Rate: 100}, 1100 * time.Millisecond, 12},
		"a hundred thousand":         {dlq.ReplayOptions{Rate: 1e5}, 200 * time.Microsecond, 2},
		"three in a minute":          {dlq.ReplayOptions{Rate: 0.05, Max: 4}, time.Minute, 4},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, tr *memory.Transport) {
				bury(t, tr, named(120)...)
				steps, begin := 0, time.Now()
				c.o.Progress = func(dlq.Report) { steps++ }
				_, err := queue(tr).Replay(t.Context(), dlq.Filter{All: true}, c.o)
				require.NoError(t, err)
				assert.InDelta(t, c.takes.Seconds(), time.Since(begin).Seconds(), 0.001)
				assert.Equal(t, c.steps, steps)
			})
		})
	}
}

// TestReplayThatIsInterrupted: the report says what was done, and the same again does the rest.
func TestReplayThatIsInterrupted(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		cs := named(40)
		for i := range cs {
			cs[i].body = "{}"
		}
		bury(t, tr, cs...)
		q := queue(tr)
		sum := 0
		for n := 1; ; n++ {
			require.LessOrEqual(t, n, 10)
			ctx, cancel := context.WithCancelCause(t.Context())
			rep, err := q.Replay(ctx, dlq.Filter{All: true}, dlq.ReplayOptions{Rate: 1000, Burst: 1, Progress: func(r dlq.Report) {
				if r.Done == 7 {
					cancel(nil)
				}
			}})
			cancel(nil)
			sum += rep.Done
			count(t, q, int64(40-sum))
			if err == nil {
				break
			}
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 7, rep.Done)
		}
		assert.Equal(t, 40, sum)
		billing, b := consume(t, tr, "billing", nil)
		bustest.Settle(t, b)
		assert.Equal(t, once(40), billing.counts())
	})
}

func TestReplayEndsWithItsDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		bury(t, tr, named(10)...)
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		rep, err := queue(tr).Replay(ctx, dlq.Filter{All: true}, dlq.ReplayOptions{Rate: 1})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, dlq.Report{Matched: 10, Done: 3}, rep)
		count(t, queue(tr), 7)
	})
}

// TestWhatDiesAgainIsNotReplayedAgain: while it is replayed, everything comes back at once.
func TestWhatDiesAgainIsNotReplayedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		cs := named(250)
		for i := range cs {
			cs[i].body = "{}"
		}
		bury(t, tr, cs...)
		billing, b := consume(t, tr, "billing", bus.Permanent(errCard), dlq.Route(dlq.RouteOptions{}))
		q := queue(tr)
		rep, err := q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{Rate: 2000, Burst: 10})
		require.NoError(t, err)
		assert.Equal(t, 250, rep.Done)
		bustest.Settle(t, b)
		assert.Equal(t, once(250), billing.counts())
		count(t, q, 250)
		assert.Len(t, letters(t, q, dlq.Filter{MinReplays: 1, Reason: dlq.Permanent}), 250)
		assert.Empty(t, letters(t, q, dlq.Filter{MaxReplays: -1}))
	})
}

// faulty is a transport whose calls fail when a test says so.
type faulty struct {
	*memory.Transport
	replay, discard func(ids []string) error
	record          func(a transport.Act) error
	put             func() error
}

func (f *faulty) Replay(ctx context.Context, t transport.Topic, group string, ids ...string) (int, error) {
	if f.replay != nil {
		if err := f.replay(ids); err != nil {
			return 0, err
		}
	}
	return f.Transport.Replay(ctx, t, group, ids...)
}

func (f *faulty) Discard(ctx context.Context, t transport.Topic, group string, ids ...string) (int, error) {
	if f.discard != nil {
		if err := f.discard(ids); err != nil {
			return 0, err
		}
	}
	return f.Transport.Discard(ctx, t, group, ids...)
}

func (f *faulty) RecordAct(ctx context.Context, t transport.Topic, group string, a transport.Act) error {
	if f.record != nil {
		if err := f.record(a); err != nil {
			return err
		}
	}
	return f.Transport.RecordAct(ctx, t, group, a)
}

func (f *faulty) PutLetter(ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
	if f.put != nil {
		if err := f.put(); err != nil {
			return "", err
		}
	}
	return f.Transport.PutLetter(ctx, t, group, l, replaces)
}

var errAway = errors.New("the broker is away")

func TestReplayWhenTheBrokerGoesAway(t *testing.T) {
	tr := &faulty{Transport: memory.New()}
	defer tr.Close()
	bury(t, tr, named(250)...)
	q := queue(tr)
	calls := 0
	tr.replay = func([]string) error {
		if calls++; calls == 2 {
			return errAway
		}
		return nil
	}
	rep, err := q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
	assert.ErrorIs(t, err, errAway)
	assert.Equal(t, dlq.Report{Matched: 250, Done: 100}, rep)
	rep, err = q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
	assert.NoError(t, err)
	assert.Equal(t, dlq.Report{Matched: 150, Done: 150}, rep)
}

// TestAStepIsNotCutShort: ctx ends while the transport replays, and the report knows all the same.
func TestAStepIsNotCutShort(t *testing.T) {
	tr := &faulty{Transport: memory.New()}
	defer tr.Close()
	bury(t, tr, named(250)...)
	ctx, cancel := context.WithCancel(t.Context())
	tr.replay = func([]string) error { cancel(); return nil }
	rep, err := queue(tr).Replay(ctx, dlq.Filter{All: true}, dlq.ReplayOptions{})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, dlq.Report{Matched: 250, Done: 100}, rep)
	count(t, queue(tr), 150)
	last := acts(t, queue(tr))
	assert.EqualValues(t, 100, last[len(last)-1].Count, "its end is on record")
}

func TestWhatOthersRemoveMeanwhileIsSkipped(t *testing.T) {
	tr := &faulty{Transport: memory.New()}
	defer tr.Close()
	bury(t, tr, named(250)...)
	q := queue(tr)
	ids := letters(t, q, dlq.Filter{})
	first := true
	tr.replay = func(step []string) error {
		assert.LessOrEqual(t, len(step), 100)
		if first {
			first = false
			_, err := q.Discard(t.Context(), dlq.Filter{IDs: []string{ids[120].LetterID, ids[249].LetterID}}, dlq.DiscardOptions{})
			return err
		}
		return nil
	}
	rep, err := q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
	assert.NoError(t, err)
	assert.Equal(t, dlq.Report{Matched: 250, Done: 248, Skipped: 2}, rep)
}

// paged notes how many bytes its pages have.
type paged struct {
	*faulty
	largest int
}

func (p *paged) Letters(ctx context.Context, t transport.Topic, group, after string, limit int) ([]*transport.Letter, error) {
	ls, err := p.faulty.Letters(ctx, t, group, after, limit)
	sum := 0
	for _, l := range ls {
		sum += len(l.Body) + len(l.Headers.Get("large"))
	}
	p.largest = max(p.largest, sum)
	return ls, err
}

// TestLargeLettersGoFewAtATime: a broker that moves a hundred large letters in one step does nothing else for seconds.
func TestLargeLettersGoFewAtATime(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for name, m := range map[string]transport.Message{
		"body":   {Body: []byte(large)},
		"header": {Headers: transport.Headers{{Name: "large", Value: large}}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &paged{faulty: &faulty{Transport: memory.New()}}
			defer tr.Close()
			for i := range 120 {
				m.ID = fmt.Sprint(i)
				put(t, tr, &transport.Letter{Message: &m})
			}
			tr.replay = func(ids []string) error {
				assert.LessOrEqual(t, len(ids), 8)
				return nil
			}
			rep, err := queue(tr).Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
			require.NoError(t, err)
			assert.Equal(t, dlq.Report{Matched: 120, Done: 120}, rep)
			assert.LessOrEqual(t, tr.largest, 16<<20)
		})
	}
}
