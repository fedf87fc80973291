package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport/redisstream"
)

type order struct {
	Number int
	Cents  int
}

type invoice struct {
	Order  int
	Number int64
}

type parcel struct{ Order int }

var (
	orderPlaced   = bus.NewTopic("orders.placed", codec.JSON[order]())
	invoiceIssued = bus.NewTopic("invoices.issued", codec.JSON[invoice]())
	parcelSent    = bus.NewTopic("parcels.sent", codec.JSON[parcel]())
)

// A shop is what a service works with.
type shop struct {
	settings
	*bus.Bus
	redis *redis.Client
	log   *slog.Logger
}

// services declare what they handle. What they return is their work beside that, until it is done or ctx ends; nil: there is none.
var services = map[string]func(*shop) func(context.Context) error{
	"orders":   (*shop).orders,
	"billing":  (*shop).billing,
	"shipping": (*shop).shipping,
}

// serve runs one service.
func serve(ctx context.Context, s settings, name string, declare func(*shop) func(context.Context) error) (err error) {
	shutdown, err := startOTel(ctx, name)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushWithin)
		defer cancel()
		err = errors.Join(err, shutdown(end))
	}()
	client, err := newClient(s.redis)
	if err != nil {
		return err
	}
	defer client.Close()
	tr := redisstream.New(client, redisstream.Options{})
	defer tr.Close()
	log := newLogger(name)

	tel := telemetry.New(telemetry.Options{})
	breaker := middleware.NewBreaker(middleware.BreakerOptions{Name: "payment"})
	b := bus.New(tr, bus.Logger(log), bus.UseSend(tel.Send), middleware.Standard(middleware.StandardOptions{
		Telemetry: tel.Handle,
		Route:     dlq.RouteOptions{MaxAttempts: 3},
		Claims:    tr,
		Breaker:   breaker,
	}))
	observed, err := tel.Observe(b, breaker)
	if err != nil {
		return err
	}
	defer observed.Unregister() // before the transport is closed, which has nothing to tell then
	work := declare(&shop{settings: s, Bus: b, redis: client, log: log})
	return runWith(ctx, b, work)
}

// runWith runs the bus, and work beside it. When work is done the bus ends.
func runWith(ctx context.Context, b *bus.Bus, work func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	if work == nil {
		done <- nil
	} else {
		go func() {
			defer stop()
			done <- work(ctx)
		}()
	}
	err := b.Run(ctx)
	stop()
	return errors.Join(err, <-done)
}

// newClient is a client whose commands redisotel traces, but for those of the bus.
func newClient(url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("-redis is no URL of a Redis") // the error would show the password
	}
	client := redis.NewClient(o)
	return client, redisotel.InstrumentTracing(client,
		redisotel.WithCommandFilter(telemetry.RedisCommandFilter),
		redisotel.WithCommandsFilter(telemetry.RedisPipelineFilter),
		redisotel.WithDialFilter(true),
		redisotel.WithDBStatement(false))
}

const (
	refused    = 10 // the card of every tenth order is refused
	busy       = 7  // the payment service is busy at every seventh call
	publishTwo = 5  // every fifth order is published twice, as by one who did not get the answer
)

var errBusy = errors.New("the payment service is busy")

// orders places orders, and hears of their parcels.
func (s *shop) orders() func(context.Context) error {
	var parcels atomic.Int64
	all := make(chan struct{})
	parcelSent.Subscribe(s.Bus, "orders", func(ctx context.Context, e *bus.Event[parcel]) error {
		s.log.InfoContext(ctx, "parcel sent", "order", e.Payload.Order)
		if parcels.Add(1) == int64(s.n-s.n/refused) {
			close(all)
		}
		return nil
	})
	return func(ctx context.Context) error {
		tick := time.NewTicker(s.every)
		defer tick.Stop()
		for i := 1; s.n == 0 || i <= s.n; i++ {
			if err := s.place(ctx, i); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "cannot place an order", "error", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
		select {
		case <-all:
		case <-ctx.Done():
		}
		return nil
	}
}

var tracer = otel.Tracer("shop")

// place is what would be a request from outside: its span is the root of all that follows.
func (s *shop) place(ctx context.Context, number int) error {
	ctx, span := tracer.Start(ctx, "place order")
	defer span.End()
	o, id := order{number, 1000 + number}, bus.ID(fmt.Sprintf("order-%d-%d", time.Now().UnixNano(), number))
	if err := orderPlaced.Publish(ctx, s, o, id); err != nil || number%publishTwo != 0 {
		return err
	}
	return orderPlaced.Publish(ctx, s, o, id) // the same id: it is handled once
}

// billing charges orders. Its invoice is stored together with the acknowledgement of the order, or not at all.
func (s *shop) billing() func(context.Context) error {
	var calls atomic.Int64
	orderPlaced.Subscribe(s.Bus, "billing", func(ctx context.Context, e *bus.Event[order]) error {
		if calls.Add(1)%busy == 0 {
			return errBusy // tried again in place
		}
		if e.Payload.Number%refused == 0 {
			return bus.DeadLetter("card_refused", nil)
		}
		number, err := s.redis.Incr(ctx, "shop:invoices").Result() // a span of redisotel, in the trace of the order
		if err != nil {
			return err
		}
		s.log.InfoContext(ctx, "charged", "order", e.Payload.Number, "cents", e.Payload.Cents)
		return invoiceIssued.Publish(ctx, e, invoice{e.Payload.Number, number})
	})
	return nil
}

// shipping sends parcels.
func (s *shop) shipping() func(context.Context) error {
	invoiceIssued.Subscribe(s.Bus, "shipping", func(ctx context.Context, e *bus.Event[invoice]) error {
		s.log.InfoContext(ctx, "packed", "order", e.Payload.Order, "invoice", e.Payload.Number)
		return parcelSent.Publish(ctx, e, parcel{e.Payload.Order})
	})
	return nil
}
