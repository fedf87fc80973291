package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// A role does all that its documented rules are for, and returns what went wrong and what was logged.
type role struct {
	prepare func(t *testing.T, admin *redisstream.Transport, c redis.UniversalClient) // what others have done before
	acts    func(ctx context.Context, p *performance)
}

// A performance is a role under way.
type performance struct {
	*complaints
	tr    *redisstream.Transport // of the user
	admin redis.UniversalClient  // of one who may do all
}

var roles = map[string]role{
	"producer": {nil, produce},
	"consumer": {prepareConsumer, consume},
	"operator": {prepareOperator, operate},
}

// complaints are errors and warnings.
type complaints struct {
	mu    sync.Mutex
	all   []string
	first chan struct{} // closed with the first
}

func (c *complaints) add(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		close(c.first)
	}
	c.all = append(c.all, err.Error())
}

// Write takes a line of the log.
func (c *complaints) Write(p []byte) (int, error) {
	line := string(p)
	if strings.Contains(line, "level=INFO") || strings.Contains(line, expected) {
		return len(p), nil
	}
	c.add(errors.New(line))
	return len(p), nil
}

func (c *complaints) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.all, "\n")
}

// expected is in the errors that the handler returns.
const expected = "as it should be"

// optional rules are those without which nothing fails.
const optional = "+info"

// TestTheDocumentedRulesAreEnoughAndTheSmallest runs each role with the rules of docs/operations.md, then without each.
func TestTheDocumentedRulesAreEnoughAndTheSmallest(t *testing.T) {
	t.Parallel()
	for name, rules := range documentedRules(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := single(t)
			require.Empty(t, perform(t, s, name, rules), "all is allowed")
			for _, rule := range rules {
				if rule == optional {
					require.Empty(t, perform(t, s, name, without(rules, rule)))
					continue
				}
				said := perform(t, s, name, without(rules, rule))
				assert.Regexp(t, `ACL SETUSER <user> [^:]*`+regexp.QuoteMeta(rule)+`(\s|$|")`, said, "without %s", rule)
				assert.NotContains(t, said, password)
			}
		})
	}
}

// perform does all that a role can, with these rules, on a server that knows nothing.
func perform(t *testing.T, p site, name string, rules []string) string {
	t.Helper()
	p.empty(t)
	if prepare := roles[name].prepare; prepare != nil {
		admin := redisstream.New(p.admin, redisstream.Options{})
		prepare(t, admin, p.admin)
		require.NoError(t, admin.Close())
		p.forget(t)
	}
	client := p.userOf(t, name, rules)
	defer client.Close()
	said := &complaints{first: make(chan struct{})}
	tr := redisstream.New(client, redisstream.Options{Warn: said.add})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	roles[name].acts(ctx, &performance{said, tr, p.admin})
	said.add(tr.Close())
	return said.text()
}

// until waits for check, or for the first complaint.
func (c *complaints) until(ctx context.Context, what string, check func() error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-c.first:
			return
		case <-ctx.Done():
			c.add(fmt.Errorf("waiting for %s: %w", what, err))
			return
		case <-tick.C:
		}
	}
}

var (
	ordersTopic = transport.Topic{Name: "orders.placed"}
	dedupTopic  = transport.Topic{Name: "orders.placed", Dedup: time.Minute}

	durableTopic = transport.Topic{Name: "orders.placed", Durable: transport.Durability{Replicas: 1, Timeout: time.Millisecond}}
)

// produce publishes, now and later, and moves what is due.
func produce(ctx context.Context, p *performance) {
	b := bus.New(p.tr, quiet)
	p.add(orders.PublishAll(ctx, b, []Order{{1}, {2}}))
	p.add(p.tr.Publish(ctx, dedupTopic, []*transport.Message{{ID: "once", Body: []byte("{}")}}))
	err := p.tr.Publish(ctx, durableTopic, []*transport.Message{{ID: "durable", Body: []byte("{}")}})
	if short := (*transport.DurabilityError)(nil); !errors.As(err, &short) || short.Err != nil { // there is no replica
		p.add(err)
	}
	p.add(orders.Publish(ctx, b, Order{3}, bus.Delay(time.Millisecond)))
	p.until(ctx, "what was delayed", func() error { return holds(ctx, p.admin, 5, "orders.placed") })
}

// holds says whether a stream has so many entries and nothing waits to come.
func holds(ctx context.Context, c redis.UniversalClient, want int64, stream string) error {
	n, err := c.XLen(ctx, stream).Result()
	waiting := c.HLen(ctx, "{"+stream+"}:due:body").Val() + c.ZCard(ctx, "{"+stream+"}:due").Val()
	if err == nil && (n != want || waiting != 0) {
		err = fmt.Errorf("%d entries, %d waiting", n, waiting)
	}
	return err
}

// What the consumer does with the order of each number.
const (
	fails = iota // and is retried
	stages
	dies
	waits
	succeeds
	kinds
)

func prepareConsumer(t *testing.T, admin *redisstream.Transport, _ redis.UniversalClient) {
	b := bus.New(admin, quiet)
	for n := range kinds {
		require.NoError(t, orders.Publish(t.Context(), b, Order{n}))
	}
	require.NoError(t, orders.Publish(t.Context(), b, Order{succeeds}, bus.Delay(time.Millisecond)))
}

// consume handles all that prepareConsumer has published, in the standard chain, and drains.
func consume(ctx context.Context, p *performance) {
	log := slog.New(slog.NewTextHandler(p, nil))
	b := bus.New(p.tr, bus.Logger(log))
	for _, owner := range []string{"a", "b"} { // the second finds out how long the first has it
		_, _, err := p.tr.Begin(ctx, transport.Claim{Topic: "orders.placed", Group: "billing", Key: "k", Owner: owner}, time.Minute)
		p.add(err)
	}
	var mu sync.Mutex
	tries := map[string]int{}
	orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
		mu.Lock()
		tries[e.ID]++
		again := tries[e.ID] > 1
		mu.Unlock()
		switch n := e.Payload.N; {
		case n == stages:
			return invoices.Publish(ctx, e, e.Payload)
		case n == dies:
			return bus.DeadLetter("refused", errors.New(expected))
		case n == fails && !again:
			return errors.New(expected)
		case n == waits && !again:
			return bus.Snooze(time.Millisecond, nil)
		}
		return nil
	}, middleware.Standard(middleware.StandardOptions{
		Claims: p.tr, Idempotent: middleware.IdempotentOptions{Logger: log},
	}), bus.Redeliver(bus.Backoff{Min: time.Millisecond}), bus.Lease(time.Second))
	running, stop := context.WithCancel(ctx)
	defer stop()
	var ended sync.WaitGroup
	ended.Go(func() { p.add(b.Run(running)) })
	p.until(ctx, "all to be handled", func() error {
		st, err := b.Stats(ctx)
		if err == nil && (st.Subscriptions[0].Done != kinds || st.Subscriptions[0].Dead != 1) {
			err = fmt.Errorf("%+v", st)
		}
		return err
	})
	stop()
	ended.Wait()
}

func prepareOperator(t *testing.T, admin *redisstream.Transport, c redis.UniversalClient) {
	sub, err := admin.Subscribe(t.Context(), ordersTopic, transport.Group{Name: "billing"})
	require.NoError(t, err)
	b := bus.New(admin, quiet)
	for range 4 {
		require.NoError(t, orders.Publish(t.Context(), b, Order{}))
	}
	for died := 0; died < 4; {
		ds, err := sub.Receive(t.Context(), 10)
		require.NoError(t, err)
		for _, d := range ds {
			died++
			require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{{Delivery: d, Verdict: transport.Dead, Reason: "refused"}}))
		}
	}
	require.NoError(t, sub.Close(t.Context()))
	require.NoError(t, orders.Publish(t.Context(), b, Order{}), "something that is pending, and so has an age")
	read := redis.XReadGroupArgs{Group: "billing", Consumer: "other", Streams: []string{"orders.placed", ">"}, Count: 1}
	require.NoError(t, c.XReadGroup(t.Context(), &read).Err())
}

// operate does all that package dlq can, and asks for the lag.
func operate(ctx context.Context, p *performance) {
	q := dlq.NewQueue(p.tr, "orders.placed", "billing", dlq.QueueOptions{Who: "ada"})
	_, err := p.tr.Lag(ctx, ordersTopic, "billing")
	p.add(err)
	_, err = q.Count(ctx)
	p.add(err)
	_, err = q.Groups(ctx, dlq.Filter{})
	p.add(err)
	letters, _, err := q.List(ctx, dlq.Filter{}, "", 10)
	p.add(err)
	var exported strings.Builder
	_, err = q.Export(ctx, &exported, dlq.Filter{All: true})
	p.add(err)
	if len(letters) != 4 {
		p.add(fmt.Errorf("%d letters", len(letters)))
		return
	}
	id, err := q.Edit(ctx, letters[0].LetterID, func(m *bus.Message) error { m.Key = "other"; return nil })
	p.add(err)
	_, err = q.Get(ctx, id)
	p.add(err)
	_, err = q.Replay(ctx, dlq.Filter{IDs: []string{letters[1].LetterID}}, dlq.ReplayOptions{})
	p.add(err)
	_, err = q.Discard(ctx, dlq.Filter{IDs: []string{letters[2].LetterID}}, dlq.DiscardOptions{})
	p.add(err)
	_, err = q.Import(ctx, strings.NewReader(exported.String()))
	p.add(err)
	for _, err := range q.Acts(ctx) {
		p.add(err)
	}
}
