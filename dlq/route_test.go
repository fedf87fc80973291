package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// because is an error that names its reason.
type because string

func (b because) Error() string  { return "because " + string(b) }
func (b because) Reason() string { return string(b) }

// TestRoute: what becomes of an event, by what its handler does, with three attempts.
func TestRoute(t *testing.T) {
	always := func(err error) bus.HandlerOf[Order] {
		return func(context.Context, *bus.Event[Order]) error { return err }
	}
	once := func(err error) bus.HandlerOf[Order] {
		var calls atomic.Int32
		return func(context.Context, *bus.Event[Order]) error {
			if calls.Add(1) == 1 {
				return err
			}
			return nil
		}
	}
	cases := map[string]struct {
		handler func() bus.HandlerOf[Order]
		publish []bus.PublishOption
		want    dlq.Letter // LetterID, Reason, Error, Attempt are looked at; no Reason: no letter
		calls   int
	}{
		"handled":     {handler: func() bus.HandlerOf[Order] { return always(nil) }, calls: 1},
		"fails once":  {handler: func() bus.HandlerOf[Order] { return once(errCard) }, calls: 2},
		"snoozes":     {handler: func() bus.HandlerOf[Order] { return once(bus.Snooze(time.Millisecond, errCard)) }, calls: 2},
		"pauses":      {handler: func() bus.HandlerOf[Order] { return once(bus.Pause(time.Millisecond, errCard)) }, calls: 2},
		"panics once": {handler: func() bus.HandlerOf[Order] { return once(errPanic) }, calls: 2},
		"fails": {handler: func() bus.HandlerOf[Order] { return always(errCard) }, calls: 3,
			want: dlq.Letter{Reason: dlq.Exhausted, Error: errCard.Error(), Attempt: 3}},
		"panics": {handler: func() bus.HandlerOf[Order] { return always(errPanic) }, calls: 3,
			want: dlq.Letter{Reason: dlq.Exhausted, Error: "bus: the handler panicked: no card", Attempt: 3}},
		"ends its goroutine": {handler: func() bus.HandlerOf[Order] { return always(errGoexit) }, calls: 3,
			want: dlq.Letter{Reason: dlq.Exhausted, Error: "3 attempts failed, and 3 are allowed; what the last one died of is not known", Attempt: 4}},
		"permanent": {handler: func() bus.HandlerOf[Order] { return always(fmt.Errorf("charge: %w", bus.Permanent(errCard))) }, calls: 1,
			want: dlq.Letter{Reason: dlq.Permanent, Error: "charge: " + errCard.Error(), Attempt: 1}},
		"permanent, with a reason": {handler: func() bus.HandlerOf[Order] { return always(bus.Permanent(fmt.Errorf("x: %w", because("fraud")))) }, calls: 1,
			want: dlq.Letter{Reason: "fraud", Error: "x: because fraud", Attempt: 1}},
		"permanent, with a sentence for a reason": {handler: func() bus.HandlerOf[Order] { return always(bus.Permanent(because("it is fraud"))) }, calls: 1,
			want: dlq.Letter{Reason: dlq.Permanent, Error: "because it is fraud", Attempt: 1}},
		"permanent, with an endless reason": {handler: func() bus.HandlerOf[Order] { return always(bus.Permanent(because(strings.Repeat("x", 65)))) }, calls: 1,
			want: dlq.Letter{Reason: dlq.Permanent, Error: "because " + strings.Repeat("x", 65), Attempt: 1}},
		"undecodable": {handler: func() bus.HandlerOf[Order] {
			return always(bus.Permanent(fmt.Errorf("%w: %w", bus.ErrUndecodable, because("bad"))))
		}, calls: 1,
			want: dlq.Letter{Reason: dlq.DecodeError, Error: "undecodable: because bad", Attempt: 1}},
		"dead by itself": {handler: func() bus.HandlerOf[Order] { return always(bus.DeadLetter("refused", errCard)) }, calls: 1,
			want: dlq.Letter{Reason: "refused", Error: errCard.Error(), Attempt: 1}},
		"expired": {handler: func() bus.HandlerOf[Order] { return always(nil) }, publish: []bus.PublishOption{dlq.Expires(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))}, calls: 0,
			want: dlq.Letter{Reason: dlq.Expired, Error: "expired at 2000-01-01T00:00:00Z", Attempt: 1}},
		"not yet expired":   {handler: func() bus.HandlerOf[Order] { return always(nil) }, publish: []bus.PublishOption{dlq.Expires(time.Now().Add(time.Hour))}, calls: 1},
		"never expires":     {handler: func() bus.HandlerOf[Order] { return always(nil) }, publish: []bus.PublishOption{dlq.Expires(time.Time{})}, calls: 1},
		"malformed expires": {handler: func() bus.HandlerOf[Order] { return always(nil) }, publish: []bus.PublishOption{bus.Header("typedbus-expires", "soon")}, calls: 1},
	}
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		for name, c := range cases {
			group := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			var calls atomic.Int64
			b := bus.New(tr, quiet, bus.Use(dlq.Route(dlq.RouteOptions{MaxAttempts: 3})))
			h := c.handler()
			topic := bus.NewTopic(group, codec.JSON[Order]())
			topic.Subscribe(b, "g", func(ctx context.Context, e *bus.Event[Order]) error {
				calls.Add(1)
				return act(h(ctx, e))
			}, quickly)
			stop := bustest.Start(t, b)
			require.NoError(t, topic.Publish(t.Context(), b, Order{ID: "1", Cents: 995}, c.publish...))
			bustest.Settle(t, b)
			stop()
			assert.EqualValues(t, c.calls, calls.Load(), "%s: calls", name)
			ls := letters(t, dlq.NewQueue(tr, group, "g", dlq.QueueOptions{}), dlq.Filter{})
			if c.want.Reason == "" {
				assert.Empty(t, ls, name)
				continue
			}
			if assert.Len(t, ls, 1, name) {
				assert.Equal(t, c.want.Reason, ls[0].Reason, name)
				assert.Equal(t, c.want.Error, ls[0].Error, name)
				assert.Equal(t, c.want.Attempt, ls[0].Attempt, name)
				assert.JSONEq(t, `{"ID":"1","Cents":995}`, string(ls[0].Body), name)
			}
		}
	})
}

var errPanic, errGoexit = errors.New("panic"), errors.New("goexit")

// act does what cannot be returned.
func act(err error) error {
	switch err {
	case errPanic:
		panic("no card")
	case errGoexit:
		runtime.Goexit()
	}
	return err
}

func TestRouteOfAnUndecodableBody(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		b := bus.New(tr, quiet, bus.Use(dlq.Route(dlq.RouteOptions{})))
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
		require.NoError(t, tr.Publish(t.Context(), transport.Topic{Name: orders.Name()},
			[]*transport.Message{{ID: "1", ContentType: "application/json", Body: []byte(`{"ID": secret`)}}))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		l := letters(t, queue(tr), dlq.Filter{})[0]
		assert.Equal(t, dlq.DecodeError, l.Reason)
		assert.Equal(t, `{"ID": secret`, string(l.Body))
		assert.NotContains(t, l.Error, "secret")
	})
}

// handling calls a Route by itself.
func handling(o dlq.RouteOptions, d *transport.Delivery, h bus.Handler) error {
	return dlq.Route(o)(h)(context.Background(), bus.NewDelivery(d, &bustest.Recorder{}))
}

func delivery(attempt int) *transport.Delivery {
	return &transport.Delivery{Message: &transport.Message{ID: "1", Time: time.Now()}, Topic: orders.Name(), Group: "billing", Attempt: attempt}
}

func TestWhatIsRefusedIsNotCalled(t *testing.T) {
	old := delivery(1)
	old.Time = time.Now().Add(-time.Hour)
	crashed := delivery(9) // exhausted too, but that comes after
	crashed.Redelivered = 5
	crashed.Headers.Set("typedbus-expires", "2000-01-01T00:00:00Z")
	expired := delivery(9)
	expired.Headers.Set("typedbus-expires", "2000-01-01T00:00:00.5+02:00")
	malformed := delivery(1)
	malformed.Message, malformed.Malformed = &transport.Message{ID: "1"}, errors.New("no data")
	undated := delivery(1)
	undated.Time = time.Time{}
	lucky := delivery(1)
	lucky.Redelivered = 4
	for name, c := range map[string]struct {
		d      *transport.Delivery
		o      dlq.RouteOptions
		reason string // "" is called
	}{
		"crashed first":          {crashed, dlq.RouteOptions{}, dlq.Crashed},
		"then expired":           {crashed, dlq.RouteOptions{MaxCrashes: -1}, dlq.Expired},
		"expired":                {expired, dlq.RouteOptions{}, dlq.Expired},
		"too old":                {old, dlq.RouteOptions{MaxAge: time.Minute}, dlq.Expired},
		"young enough":           {old, dlq.RouteOptions{MaxAge: 2 * time.Hour}, ""},
		"no time":                {undated, dlq.RouteOptions{MaxAge: time.Minute}, ""},
		"one crash less":         {lucky, dlq.RouteOptions{}, ""},
		"any crashes":            {lucky, dlq.RouteOptions{MaxCrashes: 4}, dlq.Crashed},
		"beyond the last":        {delivery(6), dlq.RouteOptions{}, dlq.Exhausted},
		"the last":               {delivery(5), dlq.RouteOptions{}, ""},
		"any number of attempts": {delivery(1000), dlq.RouteOptions{MaxAttempts: -1}, ""},
		"malformed":              {malformed, dlq.RouteOptions{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			err := handling(c.o, c.d, func(context.Context, *bus.Delivery) error { called = true; return nil })
			assert.Equal(t, c.reason == "", called)
			v := bus.VerdictOf(err)
			assert.Equal(t, c.reason, v.Reason)
			assert.Equal(t, c.reason != "", v.Kind == bus.DeadLettered)
			assert.Equal(t, c.reason != "", v.Err != nil, "it says why")
		})
	}
}

// TestNoVerdictIsLost: whatever the tree of an error, it passes as it is or becomes a dead letter; when is told by the outermost
// mark; and a dead letter shows no other.
func TestNoVerdictIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		err := errorTree(t, 4)
		attempt, cut := rapid.IntRange(1, 5).Draw(t, "attempt"), rapid.Bool().Draw(t, "cut short")
		ctx, cancel := context.WithCancelCause(context.Background())
		defer cancel(nil)
		if cut {
			cancel(rapid.SampledFrom([]error{bus.ErrDraining, bus.ErrLeaseLost}).Draw(t, "cause"))
		}
		h := dlq.Route(dlq.RouteOptions{})(func(context.Context, *bus.Delivery) error { return err })
		got := h(ctx, bus.NewDelivery(delivery(attempt), &bustest.Recorder{}))
		was, is := bus.VerdictOf(err), bus.VerdictOf(got)
		if was.Kind == bus.PermanentlyFailed || was.Kind == bus.Failed && attempt == 5 && !cut {
			if is.Kind != bus.DeadLettered || is.Err.Error() != err.Error() || bus.VerdictOf(is.Err).Kind != bus.Failed {
				t.Fatalf("attempt %d: %v became %v", attempt, err, got)
			}
			if errors.Is(err, errCard) && was.Kind == bus.Failed && !errors.Is(got, errCard) {
				t.Fatal("an error without a verdict is to be found in what became of it")
			}
			return
		}
		if got != err {
			t.Fatalf("attempt %d: %v was to pass, and became %v", attempt, err, got)
		}
	})
}

func errorTree(t *rapid.T, depth int) error {
	kind := rapid.IntRange(0, 7).Draw(t, "kind")
	if depth == 0 || kind == 0 {
		return errCard
	}
	inner := errorTree(t, depth-1)
	switch kind {
	case 1:
		return fmt.Errorf("wrapped: %w", inner)
	case 2:
		return bus.Snooze(1, inner)
	case 3:
		return bus.Pause(1, inner)
	case 4:
		return bus.Permanent(inner)
	case 5:
		return bus.DeadLetter("own", inner)
	case 6:
		return errors.Join(errorTree(t, depth-1), inner)
	}
	return because("x")
}

func TestAPanicIsFoundInItsDeadLetter(t *testing.T) {
	err := handling(dlq.RouteOptions{}, delivery(5), func(context.Context, *bus.Delivery) error { panic("boom") })
	var p *bus.PanicError
	require.ErrorAs(t, err, &p)
	assert.Equal(t, "boom", p.Value)
	assert.Contains(t, string(p.Stack), "TestAPanicIsFoundInItsDeadLetter", "the stack of the panic")
	assert.Equal(t, dlq.Exhausted, bus.VerdictOf(err).Reason)
}

func TestTheTextThatIsKept(t *testing.T) {
	redact := func(s string) string { return strings.ReplaceAll(s, "s3cret", "***") }
	long := strings.Repeat("ü", 511) + "xü" // the limit is in the middle of the last
	for name, c := range map[string]struct {
		redact func(string) string
		err    error
		want   string
	}{
		"as it is":               {nil, errCard, errCard.Error()},
		"redacted":               {redact, errors.New("login with s3cret"), "login with ***"},
		"redacted, permanent":    {redact, bus.Permanent(errors.New("s3cret")), "***"},
		"redacted, by itself":    {redact, bus.DeadLetter("x", errors.New("s3cret")), "***"},
		"redacted, then cut":     {redact, errors.New(strings.Repeat("x", 1020) + "s3cret"), strings.Repeat("x", 1020) + "***"},
		"cut after a character":  {nil, errors.New(long), strings.Repeat("ü", 511) + "x"},
		"no text without redact": {func(string) string { panic("oops") }, errors.New("s3cret"), "(no text: Redact panicked)"},
	} {
		t.Run(name, func(t *testing.T) {
			err := handling(dlq.RouteOptions{Redact: c.redact}, delivery(5), func(context.Context, *bus.Delivery) error { return c.err })
			require.Equal(t, bus.DeadLettered, bus.VerdictOf(err).Kind)
			assert.Equal(t, c.want, bus.VerdictOf(err).Err.Error())
		})
	}
	err := handling(dlq.RouteOptions{Redact: redact}, delivery(1), func(context.Context, *bus.Delivery) error { return bus.DeadLetter("x", nil) })
	assert.NoError(t, bus.VerdictOf(err).Err, "nothing to redact")
}

// TestOnDeadIsCalledOnceForEachLetter: for what Route and what handlers say, and not for what middleware outside holds back.
func TestOnDeadIsCalledOnceForEachLetter(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		var mu sync.Mutex
		told := map[string]string{}
		route := dlq.Route(dlq.RouteOptions{MaxAttempts: 2, OnDead: func(_ context.Context, d *bus.Delivery, reason string, err error) {
			mu.Lock()
			defer mu.Unlock()
			told[d.Key] += fmt.Sprintf("%s: %v;", reason, err)
			panic("which harms nobody")
		}})
		held := false
		holdBack := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				err := next(ctx, d)
				if d.Key == "held back" && !held {
					held = true
					return bus.Snooze(time.Second, nil)
				}
				return err
			}
		}
		b := bus.New(tr, quiet, bus.Use(holdBack, route))
		orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
			switch e.Payload.ID {
			case "fails":
				return errCard
			case "permanent", "held back":
				return bus.Permanent(errCard)
			case "by itself":
				return bus.DeadLetter("refused", nil)
			}
			return nil
		})
		for _, id := range []string{"fails", "permanent", "held back", "by itself", "handled"} {
			require.NoError(t, orders.Publish(t.Context(), b, Order{ID: id}))
		}
		require.NoError(t, orders.Publish(t.Context(), b, Order{ID: "expired"}, dlq.Expires(time.Now())))
		stop := bustest.Start(t, b)
		bustest.Settle(t, b)
		stop()
		assert.Equal(t, map[string]string{
			"fails":     "exhausted: the card was declined;",
			"permanent": "permanent: the card was declined;",
			"held back": "permanent: the card was declined;",
			"by itself": "refused: <nil>;",
			"expired":   "expired: expired at 2000-01-01T00:00:00Z;",
		}, told)
		count(t, queue(tr), 5)
	})
}

func TestWhatTheDrainCutsShortAtItsLastAttemptIsNotDead(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		b := bus.New(tr, quiet, bus.Grace(time.Second), bus.Use(dlq.Route(dlq.RouteOptions{MaxAttempts: 1})))
		began := make(chan struct{})
		orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
			close(began)
			<-ctx.Done()
			return ctx.Err()
		})
		require.NoError(t, orders.Publish(t.Context(), b, Order{}))
		stop := bustest.Start(t, b)
		<-began
		stop()
		count(t, queue(tr), 0)

		again := bus.New(tr, quiet, bus.Use(dlq.Route(dlq.RouteOptions{MaxAttempts: 1})))
		attempt := 0
		orders.Subscribe(again, "billing", func(_ context.Context, e *bus.Event[Order]) error { attempt = e.Attempt; return nil })
		bustest.Start(t, again)
		bustest.Settle(t, again)
		assert.Equal(t, 1, attempt)
	})
}

// TestWhatKillsItsProcessDies: deliveries that end without an outcome are counted, whatever the attempt.
func TestWhatKillsItsProcessDies(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		topic, group := transport.Topic{Name: orders.Name()}, transport.Group{Name: "billing"}
		require.NoError(t, orders.Publish(t.Context(), bus.New(tr), Order{ID: "deadly"}))
		for range 3 {
			sub, err := tr.Subscribe(t.Context(), topic, group)
			require.NoError(t, err)
			ds, err := sub.Receive(t.Context(), 1)
			require.NoError(t, err)
			require.Len(t, ds, 1)
			tr.Crash(sub)
		}
		b := bus.New(tr, quiet, bus.Use(dlq.Route(dlq.RouteOptions{MaxCrashes: 3})))
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { panic("it must not be called") })
		bustest.Start(t, b)
		bustest.Settle(t, b)
		l := letters(t, queue(tr), dlq.Filter{})[0]
		assert.Equal(t, dlq.Crashed, l.Reason)
		assert.Equal(t, "3 deliveries ended without an outcome: the process died, or the lease was lost", l.Error)
	})
}

func TestAReplayedLetterHasAllItsAttemptsAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		var mu sync.Mutex
		var attempts []string
		b := bus.New(tr, quiet, bus.Use(dlq.Route(dlq.RouteOptions{MaxAttempts: 2})))
		orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, fmt.Sprintf("%d/%d", e.Attempt, e.Replays))
			return errCard
		}, quickly)
		bustest.Start(t, b)
		require.NoError(t, orders.Publish(t.Context(), b, Order{ID: "1"}))
		q := queue(tr)
		for range 2 {
			bustest.Settle(t, b)
			_, err := q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
			require.NoError(t, err)
		}
		bustest.Settle(t, b)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, []string{"1/0", "2/0", "1/1", "2/1", "1/2", "2/2"}, attempts)
		l := letters(t, q, dlq.Filter{})[0]
		assert.Equal(t, []int{2, 2}, []int{l.Attempt, l.Replays})
	})
}

// TestWhatIsReplayedIsNotTooOld: a letter that was looked at the day after must not die of its age, and hide what it died of.
func TestWhatIsReplayedIsNotTooOld(t *testing.T) {
	bubble(t, func(t *testing.T, tr *memory.Transport) {
		bury(t, tr, corpse{name: "0", body: "{}", reason: dlq.Exhausted})
		<-time.After(24 * time.Hour)
		q := queue(tr)
		_, err := q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
		require.NoError(t, err)
		h, b := consume(t, tr, "billing", nil, dlq.Route(dlq.RouteOptions{MaxAge: time.Hour}))
		bustest.Settle(t, b)
		assert.Equal(t, once(1), h.counts())
		count(t, q, 0)
	})
}

func TestRouteIsExplained(t *testing.T) {
	for _, c := range []struct {
		o    dlq.RouteOptions
		want string
	}{
		{dlq.RouteOptions{}, "dlq.Route: at most 5 attempts, at most 5 crashes\n"},
		{dlq.RouteOptions{MaxAttempts: 3, MaxCrashes: -1, MaxAge: time.Hour}, "dlq.Route: at most 3 attempts, any number of crashes, 1h0m0s old\n"},
	} {
		b := bus.New(memory.New(), bus.Use(dlq.Route(c.o)))
		orders.Subscribe(b, "billing", func(context.Context, *bus.Event[Order]) error { return nil })
		assert.Contains(t, b.Explain(), c.want)
		assert.Contains(t, b.Explain(), "by dlq.Route; kept")
	}
}

func TestRoutePassesWithoutAllocating(t *testing.T) {
	h := dlq.Route(dlq.RouteOptions{MaxAge: time.Hour})(func(context.Context, *bus.Delivery) error { return nil })
	d := bus.NewDelivery(delivery(1), nil)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = h(context.Background(), d) }))
}

func BenchmarkRoute(b *testing.B) {
	h := dlq.Route(dlq.RouteOptions{})(func(context.Context, *bus.Delivery) error { return nil })
	d, ctx := bus.NewDelivery(delivery(1), nil), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		_ = h(ctx, d)
	}
}
