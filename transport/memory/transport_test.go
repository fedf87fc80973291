package memory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

var topic = transport.Topic{Name: "t"}

// one is a transport with a subscription, closed at the end.
func one(t *testing.T) (*memory.Transport, transport.Subscription) {
	tr := memory.New()
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	sub, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: "g"})
	require.NoError(t, err)
	return tr, sub
}

func publish(t *testing.T, tr transport.Transport, bodies ...string) {
	t.Helper()
	var ms []*transport.Message
	for _, b := range bodies {
		ms = append(ms, &transport.Message{Body: []byte(b)})
	}
	require.NoError(t, tr.Publish(t.Context(), topic, ms))
}

func receive(t *testing.T, sub transport.Subscription, n int) (ds []*transport.Delivery) {
	t.Helper()
	for len(ds) < n {
		got, err := sub.Receive(t.Context(), n-len(ds))
		require.NoError(t, err)
		ds = append(ds, got...)
	}
	return ds
}

func TestPublishStoresAllOrNothing(t *testing.T) {
	tr, sub := one(t)
	for name, c := range map[string]struct {
		topic string
		ms    []*transport.Message
		want  string
	}{
		"a nil message": {"t", []*transport.Message{{ID: "1"}, nil}, "publish t: 0 stored, 2 not stored, 0 unknown: memory: a message is nil: leave it out"},
		"a bad topic":   {"no good", []*transport.Message{{ID: "1"}}, `publish no good: not stored: memory: bad topic name "no good": use a letter or digit, then up to 127 letters, digits, '.', '_' or '-'`},
	} {
		t.Run(name, func(t *testing.T) {
			require.EqualError(t, tr.Publish(t.Context(), transport.Topic{Name: c.topic}, c.ms), c.want)
		})
	}
	publish(t, tr, "good")
	require.Equal(t, "good", string(receive(t, sub, 1)[0].Body))
}

func TestPublishMakesMissingIDs(t *testing.T) {
	tr, sub := one(t)
	m := &transport.Message{}
	require.NoError(t, tr.Publish(t.Context(), topic, []*transport.Message{m}))
	require.NotEmpty(t, receive(t, sub, 1)[0].ID)
	require.Empty(t, m.ID, "the caller's message is the caller's")
}

func TestErrorsSayWhatToDo(t *testing.T) {
	tr, sub := one(t)
	_, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: "g g"})
	require.ErrorContains(t, err, `memory: subscribe g g to t: bad group name "g g": use a letter`)
	_, err = tr.Subscribe(t.Context(), topic, transport.Group{Name: "new", Start: transport.Start{ID: "1-0"}})
	require.ErrorContains(t, err, `bad start position "1-0": use the number of a message`)
	_, err = tr.Letters(t.Context(), topic, "g", "x", 1)
	require.ErrorContains(t, err, `bad letter id "x": use the LetterID of a letter`)

	publish(t, tr, "a")
	d := receive(t, sub, 1)[0]
	for _, c := range []struct {
		st   transport.Settlement
		want string
	}{
		{transport.Settlement{}, "settlement without a delivery"},
		{transport.Settlement{Delivery: d}, "invalid verdict 0: use Done"},
		{transport.Settlement{Delivery: d, Verdict: 77}, "invalid verdict 77"},
		{transport.Settlement{Delivery: &transport.Delivery{Receipt: "5-5"}, Verdict: transport.Done}, `no delivery of this subscription has the receipt "5-5"`},
		{transport.Settlement{Delivery: &transport.Delivery{Receipt: "junk"}, Verdict: transport.Done}, `has the receipt "junk"`},
		{transport.Settlement{Delivery: d, Verdict: transport.Failed, Stage: []transport.Staged{{}}}, "failed with staged messages: only Done can stage"},
		{transport.Settlement{Delivery: d, Verdict: transport.Done, Stage: []transport.Staged{{Topic: topic}}}, "a message is nil"},
	} {
		require.ErrorContains(t, sub.Settle(t.Context(), []transport.Settlement{c.st}), c.want)
	}
	require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{{Delivery: d, Verdict: transport.Done}}), "it is still leased")
}

func TestClosedSubscriptionSettlesNothing(t *testing.T) {
	tr, sub := one(t)
	publish(t, tr, "a")
	d := receive(t, sub, 1)[0]
	require.NoError(t, sub.Close(t.Context()))
	require.ErrorIs(t, sub.Settle(t.Context(), []transport.Settlement{{Delivery: d, Verdict: transport.Done}}), transport.ErrClosed)
}

func TestBodiesOfABatchAreApart(t *testing.T) {
	tr, sub := one(t)
	publish(t, tr, "aaaa", "bbbb", "", "cccc")
	ds := receive(t, sub, 4)
	for _, d := range ds {
		d.Body = append(d.Body, "XXXX"...)
		d.Headers = append(d.Headers, transport.Header{Name: "x"})
	}
	require.Equal(t, "aaaaXXXX", string(ds[0].Body))
	require.Equal(t, "bbbbXXXX", string(ds[1].Body))
	require.Equal(t, "XXXX", string(ds[2].Body))
	require.Equal(t, "ccccXXXX", string(ds[3].Body))
}

func TestPeers(t *testing.T) {
	a := memory.New()
	b := a.Peer()
	publish(t, a, "from a")
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Peer().Publish(t.Context(), topic, []*transport.Message{{}}), transport.ErrClosed, "a peer of a closed transport")
	sub, err := b.Subscribe(t.Context(), topic, transport.Group{Name: "g"})
	require.NoError(t, err)
	receive(t, sub, 1)
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Peer().Publish(t.Context(), topic, []*transport.Message{{}}), transport.ErrClosed, "a peer on a broker that has gone")
	require.NoError(t, b.Close())
}

// What waits costs no goroutine, and nothing rings after Close.
func TestIdleWithoutGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		tr, sub := one(t)
		publish(t, tr, "failed", "held")
		ds := receive(t, sub, 2)
		require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{{Delivery: ds[0], Verdict: transport.Failed, After: time.Hour}}))
		require.NoError(t, tr.Publish(t.Context(), topic, []*transport.Message{{NotBefore: time.Now().Add(time.Hour)}}))
		tr.Stall(sub)
		synctest.Wait()
		require.LessOrEqual(t, runtime.NumGoroutine(), before)
		require.NoError(t, tr.Close())
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, runtime.NumGoroutine(), before)
	})
}

// A steady stream of failures among steady traffic: neither starves the other, whatever the limit.
func TestRetriesAndNewMessagesTakeTurns(t *testing.T) {
	for _, limit := range []int{1, 3} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			tr, sub := one(t)
			publish(t, tr, slices.Repeat([]string{"fails"}, 5)...)
			publish(t, tr, slices.Repeat([]string{"good"}, 20)...)
			good := 0
			for calls := 0; good < 20; calls++ {
				require.Less(t, calls, 100, "the failing messages starve the others")
				ds, err := sub.Receive(t.Context(), limit)
				require.NoError(t, err)
				for _, d := range ds {
					st := transport.Settlement{Delivery: d, Verdict: transport.Failed}
					if string(d.Body) == "good" {
						good++
						st.Verdict = transport.Done
					}
					require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{st}))
				}
			}
		})
	}
}

func TestHardAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, sub := one(t)
		old := topic
		old.Retention = transport.Retention{MaxAge: time.Minute, Hard: true}
		require.NoError(t, tr.Publish(t.Context(), old, []*transport.Message{{Body: []byte("old")}}))
		time.Sleep(2 * time.Minute)
		require.NoError(t, tr.Publish(t.Context(), old, []*transport.Message{{Body: []byte("new")}}))
		require.Equal(t, "new", string(receive(t, sub, 1)[0].Body))
	})
}

// The zero Retention keeps a million messages, once they are handled.
func TestDefaultRetention(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes more than a million messages")
	}
	tr, sub := one(t)
	batch := fresh(1000)
	for range transport.DefaultMaxLen/1000 + 5 {
		require.NoError(t, tr.Publish(t.Context(), topic, batch))
		ds := receive(t, sub, 1000)
		ss := make([]transport.Settlement, len(ds))
		for i, d := range ds {
			ss[i] = transport.Settlement{Delivery: d, Verdict: transport.Done}
		}
		require.NoError(t, sub.Settle(t.Context(), ss))
	}
	require.InDelta(t, transport.DefaultMaxLen, tr.Stored(topic), 2000)
}

// A foreign is a subscription that memory did not make.
type foreign struct{ transport.Subscription }

func TestSimulationsLeaveOthersAlone(t *testing.T) {
	tr, sub := one(t)
	tr.Crash(foreign{sub})
	tr.Stall(foreign{sub})()
	publish(t, tr, "a")
	receive(t, sub, 1)
	require.NoError(t, sub.Close(t.Context()))
	tr.Crash(sub)
	tr.Stall(sub)()
}

func TestCrashedConsumerIsDeaf(t *testing.T) {
	tr, sub := one(t)
	got := make(chan error)
	go func() {
		_, err := sub.Receive(t.Context(), 1)
		got <- err
	}()
	tr.Crash(sub)
	require.ErrorIs(t, <-got, transport.ErrClosed)
	require.NoError(t, sub.Close(t.Context()))
}

func TestOutage(t *testing.T) {
	tr, sub := one(t)
	heal := tr.Outage()
	tr.Outage()() // does nothing more
	_, err := tr.Lag(t.Context(), topic, "g")
	require.ErrorContains(t, err, "memory: lag of g on t: the broker is away")
	_, err = tr.Subscribe(t.Context(), topic, transport.Group{Name: "g"})
	require.ErrorContains(t, err, "the broker is away")
	heal()
	heal()
	publish(t, tr, "a")
	receive(t, sub, 1)
}

// A message that waits has moved to memory of its own; the old receipt still finds it.
func TestLateDoneFollowsWhatMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, late := one(t)
		publish(t, tr, "a")
		d := receive(t, late, 1)[0]
		tr.Stall(late)
		owner, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: "g"})
		require.NoError(t, err)
		again := receive(t, owner, 1)[0]
		require.NoError(t, owner.Settle(t.Context(), []transport.Settlement{{Delivery: again, Verdict: transport.Failed, After: time.Hour}}))
		require.NoError(t, late.Settle(t.Context(), []transport.Settlement{{Delivery: d, Verdict: transport.Done}}), "it waits, and is done all the same")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		_, err = owner.Receive(ctx, 1)
		require.True(t, errors.Is(err, context.DeadlineExceeded), err)
	})
}
