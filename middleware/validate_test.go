package middleware_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport/memory"
)

var errZero = errors.New("must not be 0")

type byValue struct{ N int }

func (v byValue) Validate() error { return unlessZero(v.N) }

type byPointer struct{ N int }

func (v *byPointer) Validate() error { return unlessZero(v.N) }

type byInterface interface{ Validate() error }

func unlessZero(n int) error {
	if n == 0 {
		return errZero
	}
	return nil
}

// validate handles one payload, and says whether the handler was called.
func validate[T any](t *testing.T, payload T, checks ...func(T) error) (called bool, err error) {
	h := bus.Wrap(func(context.Context, *bus.Event[T]) error { called = true; return nil }, middleware.Validate(checks...))
	err = h(t.Context(), &bus.Event[T]{Delivery: oneDelivery("1"), Payload: payload})
	return called, err
}

func refuses[T any](t *testing.T, payload T, checks ...func(T) error) error {
	t.Helper()
	called, err := validate(t, payload, checks...)
	assert.False(t, called)
	assert.Equal(t, bus.PermanentlyFailed, bus.VerdictOf(err).Kind)
	var invalid *middleware.InvalidError
	require.ErrorAs(t, err, &invalid)
	assert.Equal(t, "invalid", invalid.Reason())
	return err
}

func accepts[T any](t *testing.T, payload T, checks ...func(T) error) {
	t.Helper()
	called, err := validate(t, payload, checks...)
	require.NoError(t, err)
	assert.True(t, called)
}

func TestTheMethodIsFound(t *testing.T) {
	for _, err := range []error{
		refuses(t, byValue{}),
		refuses(t, &byValue{}),
		refuses(t, byPointer{}),
		refuses(t, &byPointer{}),
		refuses[byInterface](t, byValue{}),
	} {
		require.ErrorIs(t, err, errZero)
		assert.EqualError(t, err, "middleware: invalid payload: must not be 0")
	}
	accepts(t, byValue{N: 1})
	accepts(t, &byValue{N: 1})
	accepts(t, byPointer{N: 1})
	accepts(t, &byPointer{N: 1})
	accepts[byInterface](t, byValue{N: 1})
}

func TestANilPayloadIsInvalid(t *testing.T) {
	refuses[*byValue](t, nil)
	refuses[*byPointer](t, nil)
	refuses[byInterface](t, nil)
}

func TestChecksFollowTheMethod(t *testing.T) {
	var asked []string
	check := func(name string, err error) func(byValue) error {
		return func(byValue) error { asked = append(asked, name); return err }
	}
	err := refuses(t, byValue{N: 1}, check("a", nil), check("b", errBroken), check("c", nil))
	require.ErrorIs(t, err, errBroken)
	assert.Equal(t, []string{"a", "b"}, asked, "in order, up to the first that objects")
	refuses(t, byValue{}, check("d", nil))
	assert.Equal(t, []string{"a", "b"}, asked, "not at all if the method objects")
	accepts(t, 7, func(int) error { return nil })
}

func TestAMarkOfACheckPasses(t *testing.T) {
	for _, o := range everyOutcome {
		called, err := validate(t, 7, func(int) error { return o.err })
		assert.Equal(t, o.kind == bus.Handled, called)
		if o.kind == bus.Failed {
			assert.Equal(t, bus.PermanentlyFailed, bus.VerdictOf(err).Kind)
		} else {
			assert.True(t, err == o.err, o.name)
		}
	}
}

// TestNothingToCheckIsAMistakeOfTheProgram: no event may pay for it.
func TestNothingToCheckIsAMistakeOfTheProgram(t *testing.T) {
	for want, err := range map[string]error{
		"middleware: Validate[int] has nothing to check": second(validate(t, 7)),
		"middleware: Validate[int]: check 2 of 2 is nil": second(validate(t, 7, func(int) error { return nil }, nil)),
		"middleware: Validate[interface {}] has nothing": second(validate[any](t, byValue{})),
	} {
		require.ErrorContains(t, err, want)
		assert.Equal(t, bus.Paused, bus.VerdictOf(err).Kind)
	}
	called, _ := validate(t, 7)
	assert.False(t, called)
}

func second(_ bool, err error) error { return err }

func TestWhatTheHandlerReturnsPasses(t *testing.T) {
	for _, o := range everyOutcome {
		h := bus.Wrap(func(context.Context, *bus.Event[byValue]) error { return o.err }, middleware.Validate[byValue]())
		assert.True(t, h(t.Context(), &bus.Event[byValue]{Payload: byValue{N: 1}}) == o.err, o.name)
	}
}

func TestInvalidPayloadsOnABus(t *testing.T) {
	onABus(t, func(t *testing.T, _ *memory.Transport, b *bus.Bus) {
		topic := bus.NewTopic("values", codec.JSON[byValue]())
		var handled, invalid int
		count := func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				err := next(ctx, d)
				if errors.As(err, new(*middleware.InvalidError)) {
					invalid++
					return nil
				}
				return err
			}
		}
		topic.Subscribe(b, "counting", bus.Wrap(func(context.Context, *bus.Event[byValue]) error {
			handled++
			return nil
		}, middleware.Validate[byValue]()), bus.Concurrency(1), bus.Use(count))
		require.NoError(t, topic.PublishAll(t.Context(), b, []byValue{{1}, {0}, {2}}))
		bustest.Start(t, b)
		bustest.Settle(t, b)
		assert.Equal(t, []int{2, 1}, []int{handled, invalid})
	})
}

func TestAMisdeclaredValidateLosesNothing(t *testing.T) {
	onABus(t, func(t *testing.T, tr *memory.Transport, b *bus.Bus) {
		beads.Subscribe(b, "counting", bus.Wrap(func(context.Context, *bus.Event[int]) error { return nil }, middleware.Validate[int]()))
		publishBeads(t, b, 3)
		stop := bustest.Start(t, b)
		<-time.After(time.Hour)
		stop()
		mended := bus.New(tr, bus.Logger(silent))
		attempts := 0
		beads.Subscribe(mended, "counting", func(_ context.Context, e *bus.Event[int]) error { attempts += e.Attempt; return nil }, bus.Concurrency(1))
		bustest.Start(t, mended)
		bustest.Settle(t, mended)
		assert.Equal(t, 3, attempts, "three events, each at its first attempt")
	})
}

func BenchmarkValidate(b *testing.B) {
	for name, h := range map[string]bus.HandlerOf[byValue]{
		"method": bus.Wrap(func(context.Context, *bus.Event[byValue]) error { return nil }, middleware.Validate[byValue]()),
		"check": bus.Wrap(func(context.Context, *bus.Event[byValue]) error { return nil },
			middleware.Validate(func(v byValue) error { return unlessZero(v.N) })),
	} {
		b.Run(name, func(b *testing.B) {
			e := &bus.Event[byValue]{Delivery: oneDelivery("1"), Payload: byValue{N: 1}}
			b.ReportAllocs()
			for b.Loop() {
				_ = h(b.Context(), e)
			}
		})
	}
}
