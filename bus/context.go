package bus

import (
	"context"
	"fmt"
	"sync/atomic"
)

// handlerContext is what a handler gets: context.WithCancelCause of the root of the handlers, made when somebody asks for its
// end, or when it ends before the handler returns. Most handlers never ask, and a context in a tree costs more than the rest of
// an event's way.
type handlerContext struct {
	context.Context                        // the root
	ending          atomic.Pointer[ending] // nil until made; returned if the handler has returned before
}

type ending struct {
	context.Context
	cancel context.CancelCauseFunc
}

// returned stands for an ending that nobody has asked for yet.
var returned = new(ending)

func (c *handlerContext) Done() <-chan struct{} { return c.made().Done() }

// Err makes the ending where there is an error to tell, so that error and cause stay what they were told to be.
func (c *handlerContext) Err() error {
	if c.ending.Load() == nil && c.Context.Err() == nil {
		return nil
	}
	return c.made().Err()
}

// Value asks the ending once there is one: package context looks there for causes and for where children belong.
func (c *handlerContext) Value(key any) any {
	if c.ending.Load() == nil {
		return c.Context.Value(key)
	}
	return c.made().Value(key)
}

// String keeps those who print contexts from reading what others write.
func (c *handlerContext) String() string { return fmt.Sprintf("%v.Handler", c.Context) }

// end does what cancelling a context does.
func (c *handlerContext) end(cause error) { c.made().cancel(cause) }

// handlerReturned ends the context.
func (c *handlerContext) handlerReturned() {
	if c.Context.Err() != nil || !c.ending.CompareAndSwap(nil, returned) {
		c.end(nil)
	}
}

func (c *handlerContext) made() *ending {
	for {
		old := c.ending.Load()
		if old != nil && old != returned {
			return old
		}
		e := c.makeEnding(old == returned)
		if c.ending.CompareAndSwap(old, e) {
			return e
		}
		e.cancel(nil) // somebody else was faster
	}
}

func (c *handlerContext) makeEnding(over bool) *ending {
	e, root := new(ending), c.Context
	if over { // what has ended does not end again with the root
		root = context.WithoutCancel(root)
	}
	e.Context, e.cancel = context.WithCancelCause(root)
	if over {
		e.cancel(nil)
	}
	return e
}
