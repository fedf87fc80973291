package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// repeatFor bounds how long what is published without a deadline is repeated.
const repeatFor = 30 * time.Second

var repeatBackoff = Backoff{Min: 50 * time.Millisecond, Max: time.Second}

// repeating publishes to a topic with Dedup, and again what has an unknown outcome or met a broken connection.
func (b *Bus) repeating(ctx context.Context, t transport.Topic, ms []*Message) error {
	began := time.Now()
	err := b.tr.Publish(ctx, t, ms)
	var each *transport.PublishError
	if err == nil || !errors.As(err, &each) || len(each.Outcomes) != len(ms) {
		return err
	}
	u := &unsure{topic: t.Name, ms: ms, outcomes: slices.Clone(each.Outcomes), cause: each.Err}
	end := repeatUntil(ctx, t, began)
	for try := 1; u.look(); try++ {
		if !sleep(ctx, end, repeatBackoff.After(try)) {
			return u.givenUp(ctx, try, time.Since(began))
		}
		if u.add(b.tr.Publish(ctx, t, u.again)) {
			break
		}
	}
	return u.err()
}

// repeatUntil is when the last try may begin. Half of the window is left for a try that takes long to arrive: the topic knows an id
// from when it was stored.
func repeatUntil(ctx context.Context, t transport.Topic, began time.Time) time.Time {
	long := t.Dedup / 2
	if _, ok := ctx.Deadline(); !ok {
		long = min(long, repeatFor)
	}
	return began.Add(long)
}

// sleep returns false if there is no time left to try again.
func sleep(ctx context.Context, end time.Time, d time.Duration) bool {
	if ctx.Err() != nil || time.Until(end) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// unsure is a call of Publish that some outcomes are unknown of.
type unsure struct {
	topic    string
	ms       []*Message
	outcomes []transport.Outcome
	cause    error // the last one

	again []*Message // to be repeated
	index []int      // where those are in ms
}

// look finds what is to be repeated: what is unknown, and what was therefore not sent after it; or what was not sent because the
// connection did not last. It returns false if there is nothing.
func (u *unsure) look() bool {
	u.again, u.index = u.again[:0], u.index[:0]
	first := slices.Index(u.outcomes, transport.Unknown)
	if first < 0 && broken(u.cause) {
		first = slices.Index(u.outcomes, transport.NotStored)
	}
	if first < 0 {
		return false
	}
	for i := first; i < len(u.ms); i++ {
		if u.outcomes[i] != transport.Stored {
			u.again, u.index = append(u.again, u.ms[i]), append(u.index, i)
		}
	}
	return true
}

// add notes what became of a try. A message that it did not store is still unknown if it was before. It returns true if
// another try cannot help.
func (u *unsure) add(err error) (over bool) {
	each := &transport.PublishError{}
	switch {
	case err == nil:
		each.Outcomes = slices.Repeat([]transport.Outcome{transport.Stored}, len(u.again))
	case !errors.As(err, &each) || len(each.Outcomes) != len(u.again):
		u.cause = err
		return true
	default:
		u.cause = each.Err
	}
	for i, o := range each.Outcomes {
		if o == transport.Stored || u.outcomes[u.index[i]] != transport.Unknown {
			u.outcomes[u.index[i]] = o
		}
	}
	if err == nil && !slices.ContainsFunc(u.outcomes, notStored) {
		u.cause = nil
	}
	return errors.Is(err, ErrClosed)
}

// broken says whether err is that of a connection that ended or stood still. One that is refused, or an answer that refuses, is
// told at once.
func broken(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

func notStored(o transport.Outcome) bool { return o != transport.Stored }

// err is what Publish returns in the end. There is a cause although all is stored where the topic is [Durable].
func (u *unsure) err() error {
	if u.cause == nil {
		return nil
	}
	return &transport.PublishError{Topic: u.topic, Outcomes: u.outcomes, Err: u.cause}
}

// givenUp is err after the last of some tries.
func (u *unsure) givenUp(ctx context.Context, tries int, after time.Duration) error {
	if over := context.Cause(ctx); over != nil && !errors.Is(u.cause, over) {
		u.cause = fmt.Errorf("%w: %w", over, u.cause)
	}
	if tries > 1 {
		u.cause = fmt.Errorf("given up after %d tries in %v: %w", tries, after.Round(time.Millisecond), u.cause)
	}
	return u.err()
}
