package child

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/chaos/record"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// A publisher publishes events and writes down what became of them.
type publisher struct {
	Spec
	log  history.Log
	bus  *bus.Bus
	next atomic.Int64
	full atomic.Int64 // answers that the broker is full
}

// Publish is a publisher until it has published all.
func Publish(ctx context.Context, s Spec) error {
	return Logging(s, func(log history.Log) error { return (&publisher{Spec: s, log: log}).run(ctx) })
}

func (p *publisher) run(ctx context.Context) error {
	tr, err := Open(ctx, p.URL)
	if err != nil {
		return err
	}
	defer tr.Close()
	p.bus = bus.New(tr, bus.Logger(slog.New(p.logger())))
	fmt.Println("ready")
	var workers sync.WaitGroup
	for range cmp.Or(p.Workers, 16) {
		workers.Go(func() { p.work(ctx) })
	}
	workers.Wait()
	fmt.Println("full", p.full.Load())
	return ctx.Err()
}

// Open connects, as often as it takes.
func Open(ctx context.Context, url string) (*redisstream.Transport, error) {
	for {
		tr, err := redisstream.Open(ctx, url, redisstream.Options{})
		if err == nil || !pause(ctx, 50*time.Millisecond) {
			return tr, err
		}
	}
}

// pause is false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (p *publisher) work(ctx context.Context) {
	began := time.Now()
	batch := cmp.Or(p.Batch, 1)
	for {
		n := int(p.next.Add(int64(batch))) - batch
		if n >= p.Count {
			return
		}
		if p.Rate > 0 && !pause(ctx, time.Until(began.Add(time.Duration(n)*time.Second/time.Duration(p.Rate)))) {
			return
		}
		p.send(ctx, n, min(n+batch, p.Count))
	}
}

// send publishes the events from n to end and repeats those that are not stored.
func (p *publisher) send(ctx context.Context, n, end int) {
	var delay time.Duration
	if p.Delay > 0 {
		delay = time.Duration(rand.Int64N(int64(p.Delay)))
	}
	ms := make([]*bus.Message, 0, end-n)
	for i := n; i < end; i++ {
		ms = append(ms, p.message(i, delay))
	}
	p.note(history.Publishing, ms)
	for len(ms) > 0 {
		ms = p.try(ctx, p.topic(n), ms)
		if len(ms) > 0 && !pause(ctx, 20*time.Millisecond) {
			p.note(history.NotPublished, ms)
			return
		}
	}
}

func (p *publisher) message(n int, delay time.Duration) *bus.Message {
	j := Job{N: n, Kind: p.Kind(n), Extra: strings.Repeat("x", p.Extra)}
	m := &bus.Message{ID: fmt.Sprintf("%s-%d", p.Name, n), ContentType: "application/json"}
	if delay > 0 {
		m.NotBefore = time.Now().Add(delay)
		j.Due = m.NotBefore.UnixMilli()
	}
	m.Body = encode(j)
	return m
}

// try returns what is not stored.
func (p *publisher) try(ctx context.Context, topic transport.Topic, ms []*bus.Message) (again []*bus.Message) {
	err := p.bus.Send(ctx, topic, ms...)
	if err == nil {
		p.note(history.Published, ms)
		return nil
	}
	if errors.Is(err, transport.ErrNoRoom) {
		p.full.Add(1)
	}
	for i, m := range ms {
		if what, text := record.Outcome(err, i); what == history.NotPublished {
			again = append(again, m)
		} else {
			p.log.Log(history.Record{What: what, ID: m.ID, Text: text})
		}
	}
	return again
}

func (p *publisher) note(what history.What, ms []*bus.Message) {
	for _, m := range ms {
		p.log.Log(history.Record{What: what, ID: m.ID})
	}
}

func encode(j Job) []byte {
	b, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	return b
}
