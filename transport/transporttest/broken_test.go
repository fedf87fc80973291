package transporttest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// broken is a good transport that a fault makes a bad one. A function that is nil leaves its part good.
type broken struct {
	*memory.Transport
	fault *fault
}

type brokenSub struct {
	transport.Subscription
	tr    *broken
	fault *fault
	topic transport.Topic
	group transport.Group

	joined context.Context // that of Subscribe
}

// A fault is a way to break the contract, and the clauses that must notice it.
type fault struct {
	name    string
	caught  string // names of clauses, with spaces between
	publish func(b *broken, ctx context.Context, t transport.Topic, ms []*transport.Message) error
	join    func(t *transport.Topic, g *transport.Group)
	receive func(s *brokenSub, ctx context.Context, limit int) ([]*transport.Delivery, error)
	settle  func(s *brokenSub, ctx context.Context, ss []transport.Settlement) error
	close   func(s *brokenSub, ctx context.Context) error
	end     func(b *broken) error
	letters func(ls []*transport.Letter) []*transport.Letter
	replay  func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error)
	discard func(b *broken, ctx context.Context, t transport.Topic, group string, ids []string) (int, error)
	letter  func(b *broken, ctx context.Context, t transport.Topic, group, id string) (*transport.Letter, error)
	put     func(b *broken, ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error)
	record  func(b *broken, ctx context.Context, t transport.Topic, group string, a transport.Act) error
	acts    func(b *broken, ctx context.Context, t transport.Topic, group, after string, limit int) ([]transport.Act, error)
	lag     func(lag *transport.Lag, err *error)
	pulse   func(s *brokenSub, at time.Time) time.Time
}

func (b *broken) Publish(ctx context.Context, t transport.Topic, ms []*transport.Message) error {
	if b.fault.publish != nil {
		return b.fault.publish(b, ctx, t, ms)
	}
	return b.Transport.Publish(ctx, t, ms)
}

func (b *broken) Subscribe(ctx context.Context, t transport.Topic, g transport.Group) (transport.Subscription, error) {
	if b.fault.join != nil {
		b.fault.join(&t, &g)
	}
	sub, err := b.Transport.Subscribe(ctx, t, g)
	return &brokenSub{sub, b, b.fault, t, g, ctx}, err
}

func (b *broken) Close() error {
	if b.fault.end != nil {
		return b.fault.end(b)
	}
	return b.Transport.Close()
}

func (b *broken) Letters(ctx context.Context, t transport.Topic, group, after string, limit int) ([]*transport.Letter, error) {
	ls, err := b.Transport.Letters(ctx, t, group, after, limit)
	if b.fault.letters != nil {
		ls = b.fault.letters(ls)
	}
	return ls, err
}

func (b *broken) Replay(ctx context.Context, t transport.Topic, group string, ids ...string) (int, error) {
	if b.fault.replay != nil {
		return b.fault.replay(b, ctx, t, group, ids)
	}
	return b.Transport.Replay(ctx, t, group, ids...)
}

func (b *broken) Discard(ctx context.Context, t transport.Topic, group string, ids ...string) (int, error) {
	if b.fault.discard != nil {
		return b.fault.discard(b, ctx, t, group, ids)
	}
	return b.Transport.Discard(ctx, t, group, ids...)
}

func (b *broken) Letter(ctx context.Context, t transport.Topic, group, id string) (*transport.Letter, error) {
	if b.fault.letter != nil {
		return b.fault.letter(b, ctx, t, group, id)
	}
	return b.Transport.Letter(ctx, t, group, id)
}

func (b *broken) PutLetter(ctx context.Context, t transport.Topic, group string, l *transport.Letter, replaces string) (string, error) {
	if b.fault.put != nil {
		return b.fault.put(b, ctx, t, group, l, replaces)
	}
	return b.Transport.PutLetter(ctx, t, group, l, replaces)
}

func (b *broken) RecordAct(ctx context.Context, t transport.Topic, group string, a transport.Act) error {
	if b.fault.record != nil {
		return b.fault.record(b, ctx, t, group, a)
	}
	return b.Transport.RecordAct(ctx, t, group, a)
}

func (b *broken) Acts(ctx context.Context, t transport.Topic, group, after string, limit int) ([]transport.Act, error) {
	if b.fault.acts != nil {
		return b.fault.acts(b, ctx, t, group, after, limit)
	}
	return b.Transport.Acts(ctx, t, group, after, limit)
}

func (b *broken) Lag(ctx context.Context, t transport.Topic, group string) (transport.Lag, error) {
	lag, err := b.Transport.Lag(ctx, t, group)
	if b.fault.lag != nil {
		b.fault.lag(&lag, &err)
	}
	return lag, err
}

func (s *brokenSub) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	if s.fault.receive != nil {
		return s.fault.receive(s, ctx, limit)
	}
	return s.Subscription.Receive(ctx, limit)
}

func (s *brokenSub) Settle(ctx context.Context, ss []transport.Settlement) error {
	if s.fault.settle != nil {
		return s.fault.settle(s, ctx, ss)
	}
	return s.Subscription.Settle(ctx, ss)
}

func (s *brokenSub) Close(ctx context.Context) error {
	if s.fault.close != nil {
		return s.fault.close(s, ctx)
	}
	return s.Subscription.Close(ctx)
}

func (s *brokenSub) LastRoundTrip() time.Time {
	at := s.Subscription.(transport.Pulse).LastRoundTrip()
	if s.fault.pulse != nil {
		return s.fault.pulse(s, at)
	}
	return at
}

// harnessOf is the harness of the memory transport with a fault.
func harnessOf(f *fault) Harness {
	return Harness{Bubble: true, Lease: 30 * time.Second, Patience: 10 * time.Minute, Broker: func(t testing.TB) Broker {
		tr := memory.New()
		t.Cleanup(func() { tr.Close() })
		return Broker{
			Open:     func() transport.Transport { return &broken{tr.Peer(), f} },
			Crash:    func(s transport.Subscription) { tr.Crash(s.(*brokenSub).Subscription) },
			Stall:    func(s transport.Subscription) func() { return tr.Stall(s.(*brokenSub).Subscription) },
			Outage:   tr.Outage,
			Position: func(_ transport.Topic, n int) string { return strconv.Itoa(n + 1) },
		}
	}}.withDefaults()
}

// unproved clauses ask how many messages are stored, which memory tells only its own tests.
var unproved = []string{"soft-removes", "soft-removes-old", "abandoned-does-not-hold-back", "abandoned-comes-back"}

// TestSuiteCatchesFaults proves the suite: each fault is noticed by the clauses that are about it, and each clause notices one.
func TestSuiteCatchesFaults(t *testing.T) {
	proved := map[string]bool{}
	for i := range faults {
		f := &faults[i]
		t.Run(f.name, func(t *testing.T) {
			for _, name := range strings.Fields(f.caught) {
				proved[name] = catches(t, name, f)
			}
		})
	}
	for _, c := range clauses() {
		if !proved[c.name] && !slices.Contains(unproved, c.name) && !strings.HasPrefix(c.name, "malformed") {
			t.Errorf("no fault is said to be caught by clause %s: it may check nothing", c.name)
		}
	}
}

// catches sees that a clause notices a fault, and says which sentence is broken.
func catches(t *testing.T, name string, f *fault) bool {
	t.Helper()
	all := clauses()
	i := slices.IndexFunc(all, func(c clause) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no clause %s", name)
	}
	r := record(t, all[i], harnessOf(f))
	if !r.failed {
		t.Errorf("clause %s does not notice it; these do: %v", name, noticing(t, f))
	} else if text := r.text.String(); !strings.Contains(text, all[i].says) && !strings.Contains(text, "panic") {
		t.Errorf("%s failed without the sentence that is broken:\n%s", name, text)
	}
	return true
}

// noticing returns the clauses that notice a fault.
func noticing(t *testing.T, f *fault) (by []string) {
	for _, c := range clauses() {
		if record(t, c, harnessOf(f)).failed {
			by = append(by, c.name)
		}
	}
	return by
}

// TestSuitePassesGood is the counter-check: without a fault nothing fails.
func TestSuitePassesGood(t *testing.T) {
	for _, c := range clauses() {
		if r := record(t, c, harnessOf(&fault{})); r.failed {
			t.Errorf("clause %s: %s", c.name, r.text.String())
		}
	}
}
