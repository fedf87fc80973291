package bus_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/transport/memory"
)

// The same is done at random to the context of a handler and to one of package context, and to what is derived from each.
func TestAHandlersContextIsLikeAnyOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		likeAnyOther(t, rapid.SliceOfN(rapid.SampledFrom(operations), 0, 12).Draw(t, "operations"), func(members int) int {
			return rapid.IntRange(0, members-1).Draw(t, "member")
		})
	})
}

// All that can be done in three steps.
func TestAHandlersContextIsLikeAnyOtherInFewSteps(t *testing.T) {
	for _, first := range operations {
		for _, second := range operations {
			for _, third := range operations {
				likeAnyOther(t, []operation{first, second, third}, func(members int) int { return members - 1 })
			}
		}
	}
}

func likeAnyOther(t require.TestingT, ops []operation, member func(members int) int) {
	ours, model := newFamily(bus.HandlerContext), newFamily(func(root context.Context) (context.Context, func(error), func()) {
		ctx, cancel := context.WithCancelCause(root)
		return ctx, cancel, func() { cancel(nil) }
	})
	defer model.over()
	defer ours.over()
	for _, op := range ops {
		i := member(len(ours.members))
		if want, got := op.do(model, i), op.do(ours, i); !reflect.DeepEqual(want, got) {
			require.Equal(t, want, got, "%s: %v", op, ops)
		}
	}
	for i := range model.members {
		require.Equal(t, look(model, i), look(ours, i), "member %d in the end: %v", i, ops)
	}
}

// A family is a context under test and what was derived from it.
type family struct {
	root     context.CancelCauseFunc
	members  []context.Context
	end      func(error)
	returned func()
	cancels  []context.CancelFunc
	afters   []*after
}

// An after is an AfterFunc.
type after struct {
	ran     chan struct{}
	stop    func() bool
	stopped bool // before it could run
}

type (
	rootKey  struct{}
	childKey struct{}
)

func newFamily(make func(context.Context) (context.Context, func(error), func())) *family {
	f := &family{}
	root, cancel := context.WithCancelCause(context.WithValue(context.Background(), rootKey{}, "root"))
	ctx, end, returned := make(root)
	f.root, f.members, f.end, f.returned = cancel, []context.Context{ctx}, end, returned
	return f
}

func (f *family) add(ctx context.Context, cancel context.CancelFunc) any {
	f.members, f.cancels = append(f.members, ctx), append(f.cancels, cancel)
	return nil
}

// over ends all and waits for what must happen then.
func (f *family) over() {
	f.end(nil)
	for _, a := range f.afters {
		if !a.stopped && !a.stop() {
			<-a.ran
		}
	}
	for _, cancel := range f.cancels {
		cancel()
	}
}

// look is all that a context tells.
func look(f *family, i int) any {
	c := f.members[i]
	ended := false
	select {
	case <-c.Done():
		ended = true
	default:
	}
	_, limited := c.Deadline()
	return []any{ended, c.Err(), context.Cause(c), c.Value(rootKey{}), c.Value(childKey{}), c.Value("other"), limited}
}

type operation struct {
	name string
	do   func(f *family, member int) any
}

func (o operation) String() string { return o.name }

var operations = []operation{
	{"look", look},
	{"Done", func(f *family, i int) any { f.members[i].Done(); return nil }},
	{"Err", func(f *family, i int) any { return f.members[i].Err() }},
	{"Cause", func(f *family, i int) any { return context.Cause(f.members[i]) }},
	{"Value", func(f *family, i int) any { return f.members[i].Value(rootKey{}) }},
	{"Value of none", func(f *family, i int) any { return f.members[i].Value("other") }},
	{"end", func(f *family, _ int) any { f.end(errCard); return nil }},
	{"end otherwise", func(f *family, _ int) any { f.end(errors.ErrUnsupported); return nil }},
	{"end without a cause", func(f *family, _ int) any { f.end(nil); return nil }},
	{"return", func(f *family, _ int) any { f.returned(); return nil }},
	{"end the root", func(f *family, _ int) any { f.root(bus.ErrDraining); return nil }},
	{"WithTimeout", func(f *family, i int) any { return f.add(context.WithTimeout(f.members[i], time.Hour)) }},
	{"WithCancel", func(f *family, i int) any { return f.add(context.WithCancel(f.members[i])) }},
	{"cancel", func(f *family, i int) any {
		if i > 0 {
			f.cancels[i-1]()
		}
		return nil
	}},
	{"WithValue", func(f *family, i int) any {
		return f.add(context.WithValue(f.members[i], childKey{}, "child"), func() {})
	}},
	{"WithoutCancel", func(f *family, i int) any { return f.add(context.WithoutCancel(f.members[i]), func() {}) }},
	{"AfterFunc", func(f *family, i int) any {
		a := &after{ran: make(chan struct{})}
		a.stop = context.AfterFunc(f.members[i], func() { close(a.ran) })
		f.afters = append(f.afters, a)
		return nil
	}},
	{"stop of AfterFunc", func(f *family, i int) any {
		if len(f.afters) == 0 {
			return nil
		}
		last := f.afters[len(f.afters)-1]
		stopped := last.stop()
		last.stopped = last.stopped || stopped
		return stopped
	}},
}

// Whoever looks at the same time sees one cause and no other afterwards, and the end comes to all that is derived.
func TestAHandlersContextEndsOnce(t *testing.T) {
	for range 2000 {
		root, cut := context.WithCancelCause(t.Context())
		ctx, end, returned := bus.HandlerContext(root)
		var wg sync.WaitGroup
		for _, f := range []func(){func() { end(bus.ErrLeaseLost) }, returned, func() { cut(bus.ErrDraining) }} {
			wg.Go(f)
		}
		causes := make([]error, 4)
		for i := range causes {
			wg.Go(func() { causes[i] = causeOf(ctx, i) })
		}
		wg.Wait()
		for _, cause := range causes {
			require.Equal(t, context.Cause(ctx), cause)
		}
		require.ErrorIs(t, ctx.Err(), context.Canceled)
	}
}

// causeOf waits for the end of ctx in one way or another.
func causeOf(ctx context.Context, way int) error {
	switch way {
	case 0:
		<-ctx.Done()
	case 1:
		child, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		<-child.Done()
		return context.Cause(child)
	case 2:
		ended := make(chan struct{})
		context.AfterFunc(ctx, func() { close(ended) })
		<-ended
	}
	for context.Cause(ctx) == nil {
	}
	return context.Cause(ctx)
}

// A handler that has kept its context sees that it is over, whether it had looked before or not.
func TestAContextThatWasKeptIsOver(t *testing.T) {
	for _, looks := range []bool{false, true} {
		t.Run(fmt.Sprint("looked before ", looks), func(t *testing.T) {
			bubble(t, func(t *testing.T, tr *memory.Transport) {
				b := bus.New(tr, quiet)
				kept := make(chan context.Context, 1)
				orders.Subscribe(b, "billing", func(ctx context.Context, _ *bus.Event[Order]) error {
					if looks {
						assert.NoError(t, ctx.Err())
						select {
						case <-ctx.Done():
							t.Error("it has not returned yet")
						default:
						}
					}
					kept <- ctx
					return nil
				})
				bustest.Start(t, b)
				publish(t, b, "1")
				ctx := <-kept
				<-time.After(time.Second)
				assert.ErrorIs(t, ctx.Err(), context.Canceled)
				assert.Equal(t, context.Canceled, context.Cause(ctx))
				<-ctx.Done()
			})
		})
	}
}
