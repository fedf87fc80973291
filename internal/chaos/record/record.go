// Package record writes down what a bus does: what is published and what becomes of it, the handlers' beginnings and ends,
// what the broker says to their outcomes, and the losses that the bus reports.
package record

import (
	"context"
	"errors"
	"log/slog"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/transport"
)

// Bus returns all that is to be recorded of a bus, as options of [bus.New]. The bus logs to next, which may be nil.
func Bus(l history.Log, next slog.Handler) []bus.Option {
	return []bus.Option{bus.Use(Handling(l)), bus.UseSend(Publishing(l)), bus.Logger(slog.New(Losses(l, next)))}
}

// Handling logs Started, then Finished or Failed, Ended when the context ends before that, and Settled or Refused when the
// broker has spoken. What it wraps decides what is recorded: put it before other middleware.
func Handling(l history.Log) bus.Middleware {
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) (err error) {
			r := run{l, history.Record{ID: d.ID, Key: d.Key, Attempt: d.Attempt, Redelivered: d.Redelivered}}
			d.OnSettled(r.settled)
			r.log(history.Started, "")
			said := make(chan struct{})
			ended := func() { defer close(said); r.log(history.Ended, context.Cause(ctx).Error()) }
			stop := context.AfterFunc(ctx, ended)
			err = errors.New("the handler panicked or ended its goroutine")
			defer func() { // Ended comes before what the handler says, also where the handler was faster
				switch {
				case !stop():
					<-said
				case ctx.Err() != nil:
					ended()
				}
				r.returned(err)
			}()
			err = next(ctx, d)
			return err
		}
	}
}

// run is one call of a handler.
type run struct {
	to     history.Log
	record history.Record
}

func (r run) log(what history.What, text string) {
	r.record.What, r.record.Text = what, text
	r.to.Log(r.record)
}

func (r run) returned(err error) {
	if err != nil {
		r.log(history.Failed, err.Error())
		return
	}
	r.log(history.Finished, "")
}

// settled logs nothing when nobody knows what the broker thinks, as after a drain that the broker did not see the end of.
func (r run) settled(_ context.Context, v transport.Verdict, err error) {
	switch {
	case err == nil:
		r.log(history.Settled, v.String())
	case errors.Is(err, transport.ErrLeaseLost):
		r.log(history.Refused, v.String())
	}
}

// Publishing logs Publishing, and then what became of each event. Of what is published through an event it logs Publishing
// only: its outcome is that of the event's acknowledgement.
func Publishing(l history.Log) bus.SendMiddleware {
	return func(next bus.Sender) bus.Sender {
		return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
			for _, m := range ms {
				l.Log(history.Record{What: history.Publishing, ID: m.ID, Key: m.Key})
			}
			err := next(ctx, t, ms)
			if bus.Staging(ctx) {
				return err
			}
			for i, m := range ms {
				what, text := Outcome(err, i)
				l.Log(history.Record{What: what, ID: m.ID, Key: m.Key, Text: text})
			}
			return err
		}
	}
}

// Outcome is what the error of a publish says about the message with this index, and the text of the error. What is stored, but not
// known to be as durable as asked, is Unknown: it may be lost, and must not be published again.
func Outcome(err error, index int) (history.What, string) {
	if err == nil {
		return history.Published, ""
	}
	var each *transport.PublishError
	if !errors.As(err, &each) || index >= len(each.Outcomes) {
		if errors.Is(err, transport.ErrPublishUnknown) {
			return history.Unknown, err.Error()
		}
		return history.NotPublished, err.Error() // it never came to the broker
	}
	switch each.Outcomes[index] {
	case transport.Stored:
		var short *transport.DurabilityError
		if errors.As(err, &short) {
			return history.Unknown, err.Error()
		}
		return history.Published, ""
	case transport.NotStored:
		return history.NotPublished, err.Error()
	}
	return history.Unknown, err.Error()
}

// Effect logs that the handler of d does what it does outside. Call it where that is certain, in a transaction after the commit.
func Effect(l history.Log, d *bus.Delivery) {
	l.Log(history.Record{What: history.Effect, ID: d.ID, Key: d.Key, Attempt: d.Attempt, Redelivered: d.Redelivered})
}
