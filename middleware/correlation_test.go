package middleware_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// correlated returns what a handler of d publishes through it.
func correlated(t require.TestingT, d *transport.Delivery, ms ...*bus.Message) []bustest.Sent {
	var r bustest.Recorder
	var c middleware.Correlation
	send := c.Send(func(ctx context.Context, t transport.Topic, ms []*bus.Message) error { return r.Send(ctx, t, ms...) })
	err := c.Handle(func(ctx context.Context, d *bus.Delivery) error {
		return send(ctx, transport.Topic{Name: "out"}, ms)
	})(context.Background(), bus.NewDelivery(d, &r))
	require.NoError(t, err)
	return r.Sent()
}

func headersOf(m *bus.Message) [2]string {
	return [2]string{m.Headers.Get("correlation-id"), m.Headers.Get("causation-id")}
}

func TestWhatIsPublishedWhileHandlingIsCorrelated(t *testing.T) {
	first := &transport.Delivery{Message: &bus.Message{ID: "1"}}
	sent := correlated(t, first, &bus.Message{ID: "2"}, &bus.Message{ID: "3"})
	assert.Equal(t, [2]string{"1", "1"}, headersOf(sent[0].Message), "the first of a chain gives its id")
	assert.Equal(t, [2]string{"1", "1"}, headersOf(sent[1].Message))
	sent = correlated(t, &transport.Delivery{Message: sent[0].Message}, &bus.Message{ID: "4"})
	assert.Equal(t, [2]string{"1", "2"}, headersOf(sent[0].Message), "then it goes from hand to hand")
}

func TestHeadersThatAreThereStay(t *testing.T) {
	own := &bus.Message{ID: "2", Headers: transport.Headers{{Name: "correlation-id", Value: "mine"}, {Name: "a", Value: "b"}}}
	sent := correlated(t, &transport.Delivery{Message: &bus.Message{ID: "1"}}, own)
	assert.Equal(t, transport.Headers{{Name: "correlation-id", Value: "mine"}, {Name: "a", Value: "b"}, {Name: "causation-id", Value: "1"}}, sent[0].Headers)
	empty := &bus.Message{ID: "2", Headers: transport.Headers{{Name: "correlation-id"}, {Name: "causation-id"}}}
	sent = correlated(t, &transport.Delivery{Message: &bus.Message{ID: "1"}}, empty)
	assert.Equal(t, empty.Headers, sent[0].Headers, "an empty one too")
}

// TestTheCallersMessageStaysAsItIs: it may be the one being handled, passed on.
func TestTheCallersMessageStaysAsItIs(t *testing.T) {
	m := &bus.Message{ID: "1", Headers: make(transport.Headers, 1, 8)}
	before := m.Clone()
	sent := correlated(t, &transport.Delivery{Message: m}, m)
	assert.Equal(t, before, m)
	assert.Empty(t, m.Headers[:3][1].Name, "nor is anything written behind its headers")
	assert.Equal(t, [2]string{"1", "1"}, headersOf(sent[0].Message))
}

func TestPublishingOutsideOfAHandlerIsLeftAlone(t *testing.T) {
	m := &bus.Message{ID: "1"}
	err := middleware.Correlation{}.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error {
		assert.Same(t, m, ms[0])
		return errBroken
	})(t.Context(), transport.Topic{}, []*bus.Message{m})
	assert.True(t, err == errBroken, "and what publishing returns passes")
	assert.Empty(t, m.Headers)
	correlation, causation := middleware.CorrelationOf(t.Context())
	assert.Empty(t, correlation+causation)
}

// TestForeignIDsAreNotTrusted: whatever bytes stand in the headers, what is shown and passed on is short and printable, and
// what it passes on it accepts.
func TestForeignIDsAreNotTrusted(t *testing.T) {
	anyID := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,300}`), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		id, correlation := anyID.Draw(t, "id"), anyID.Draw(t, "correlation")
		d := &transport.Delivery{Message: &bus.Message{ID: id, Headers: transport.Headers{{Name: "correlation-id", Value: correlation}}}}
		sent := correlated(t, d, &bus.Message{ID: "next"})
		got := headersOf(sent[0].Message)
		for _, s := range got {
			assert.LessOrEqual(t, len(s), 256)
			assert.True(t, utf8.ValidString(s))
			assert.Equal(t, -1, strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }))
		}
		assert.Contains(t, []string{id, ""}, got[1], "never another id")
		assert.Contains(t, []string{correlation, id, ""}, got[0])
		if got[0] != "" {
			again := correlated(t, &transport.Delivery{Message: sent[0].Message}, &bus.Message{ID: "last"})
			assert.Equal(t, got[0], headersOf(again[0].Message)[0], "the whole chain has the same")
		}
	})
}

func TestForeignIDs(t *testing.T) {
	for id, want := range map[string]string{
		"abc 1":                  "abc 1",
		"":                       "own",
		"a\nb":                   "own",
		"a\x00":                  "own",
		"\xff\xfe":               "own",
		"a\u202eb":               "own", // turns the line around
		"größe":                  "größe",
		strings.Repeat("x", 256): strings.Repeat("x", 256),
		strings.Repeat("x", 257): "own",
	} {
		d := &transport.Delivery{Message: &bus.Message{ID: "own", Headers: transport.Headers{{Name: "correlation-id", Value: id}}}}
		assert.Equal(t, [2]string{want, "own"}, headersOf(correlated(t, d, &bus.Message{ID: "next"})[0].Message), "%q", id)
	}
}

// TestAChainOfThreeServices: through the event and through the bus, the ids are those of one chain.
func TestAChainOfThreeServices(t *testing.T) {
	var c middleware.Correlation
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		second, third := bus.NewTopic("second", codec.JSON[int]()), bus.NewTopic("third", codec.JSON[int]())
		var firstID, secondID string
		beads.Subscribe(b, "one", func(ctx context.Context, e *bus.Event[int]) error {
			firstID = e.ID
			correlation, causation := middleware.CorrelationOf(ctx)
			assert.Equal(t, []string{e.ID, e.ID}, []string{correlation, causation})
			return second.Publish(ctx, e, 1)
		})
		second.Subscribe(b, "two", func(ctx context.Context, e *bus.Event[int]) error {
			secondID = e.ID
			return third.Publish(ctx, b, 1)
		})
		third.Subscribe(b, "three", func(ctx context.Context, e *bus.Event[int]) error {
			correlation, causation := middleware.CorrelationOf(ctx)
			assert.Equal(t, []string{firstID, e.ID}, []string{correlation, causation})
			assert.Equal(t, [2]string{firstID, secondID}, headersOf(e.Message))
			return nil
		})
		bustest.Start(t, b)
		publishBeads(t, b, 1)
		bustest.Settle(t, b)
		assert.NotEmpty(t, secondID)
		assert.Contains(t, b.Explain(), "middleware.Correlation.Handle")
	}, bus.Use(c.Handle), bus.UseSend(c.Send))
}

// TestCorrelationOfABatchIsThatOfItsFirstEvent holds what the documentation says, and that a header of one's own counts.
func TestCorrelationOfABatchIsThatOfItsFirstEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c middleware.Correlation
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		b := bus.New(tr, bus.Logger(silent), bus.Use(c.Handle), bus.UseSend(c.Send))
		beads.Subscribe(b, "counting", bus.Batched(3, time.Second, func(ctx context.Context, es []*bus.Event[int]) error {
			return errors.Join(necklaces.Publish(ctx, es[0], 1), necklaces.Publish(ctx, es[1], 2),
				necklaces.Publish(ctx, es[2], 3, bus.Header("causation-id", es[2].ID)))
		}), bus.Concurrency(1))
		causes := map[int]string{}
		necklaces.Subscribe(b, "wearing", func(_ context.Context, e *bus.Event[int]) error {
			causes[e.Payload] = e.Headers.Get("causation-id")
			return nil
		}, bus.Concurrency(1))
		for _, id := range []string{"a", "b", "c"} {
			require.NoError(t, beads.Publish(t.Context(), b, 0, bus.ID(id)))
		}
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, map[int]string{1: "a", 2: "a", 3: "c"}, causes)
	})
}

func TestSendPassesErrorsAndNils(t *testing.T) {
	var c middleware.Correlation
	send := c.Send(func(_ context.Context, _ transport.Topic, ms []*bus.Message) error {
		assert.Equal(t, []*bus.Message{nil}, ms, "the bus refuses it")
		return errBroken
	})
	err := c.Handle(func(ctx context.Context, _ *bus.Delivery) error {
		return send(ctx, transport.Topic{}, []*bus.Message{nil})
	})(t.Context(), oneDelivery("1"))
	assert.True(t, err == errBroken)
}

func BenchmarkCorrelation(b *testing.B) { costOf(b, middleware.Correlation{}.Handle) }

func BenchmarkCorrelationSend(b *testing.B) {
	var c middleware.Correlation
	send := c.Send(func(context.Context, transport.Topic, []*bus.Message) error { return nil })
	ms := []*bus.Message{{ID: "2"}}
	b.ReportAllocs()
	_ = c.Handle(func(ctx context.Context, _ *bus.Delivery) error {
		for b.Loop() {
			_ = send(ctx, transport.Topic{}, ms)
		}
		return nil
	})(b.Context(), oneDelivery("1"))
}
