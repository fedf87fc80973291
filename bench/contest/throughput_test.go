package contest_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bench/contest"
)

// A line is a session in which one consumer handles an event after the other. Publishing takes a millisecond.
type line struct {
	waiting chan *contest.Event
	each    time.Duration // of the consumer; 0: it hangs
	settled atomic.Int64
}

func newLine(each time.Duration) *line {
	return &line{waiting: make(chan *contest.Event, 100_000), each: each}
}

func (l *line) Publish(_ context.Context, e *contest.Event) error {
	<-time.After(time.Millisecond)
	l.waiting <- e
	return nil
}

func (l *line) Consume(ctx context.Context, handle func(*contest.Event)) error {
	if l.each == 0 {
		return nil
	}
	go func() {
		for {
			select {
			case e := <-l.waiting:
				<-time.After(l.each)
				handle(e)
				l.settled.Add(1)
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}

func (l *line) Settled(context.Context) (int64, error) { return l.settled.Load(), nil }
func (l *line) Close() error                           { return nil }

// within measures in a bubble, for not longer than d.
func within(t *testing.T, d, each time.Duration, load contest.Load) (out contest.Throughput, err error) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		out, err = contest.MeasureThroughput(ctx, newLine(each), load)
	})
	return out, err
}

func TestASlowConsumerIsMeasuredAtItsSpeed(t *testing.T) {
	out, err := within(t, time.Hour, time.Millisecond, contest.Load{Publishers: 4, Warmup: time.Second, For: 2 * time.Second})
	require.NoError(t, err)
	assert.InDelta(t, 1000, out.PerSecond, 10, "what is acknowledged counts, from the first publish on")
	assert.InDelta(t, 8000, out.Events, 10, "not those of the warm-up")
}

// The allocations are those of the publishers that wait: 64 that look all the time slow down whom they wait for.
func TestWaitingForTheWindowCostsLittle(t *testing.T) {
	out, err := within(t, time.Hour, time.Millisecond, contest.Load{Publishers: 64, For: time.Second})
	require.NoError(t, err)
	assert.Less(t, out.Allocs, 80.0)
}

func TestAConsumerThatHangsIsNamed(t *testing.T) {
	for _, publishers := range []int{1, 64} { // less than the window, and more
		_, err := within(t, time.Minute, 0, contest.Load{Publishers: publishers, For: 2 * time.Second})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "0 of ")
	}
}
