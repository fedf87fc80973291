package bus

import (
	"context"
	"fmt"
)

// Leftovers tells what the engine of a drained subscription still counts; "" if nothing, as it should be.
func Leftovers[T any](sub *Subscriber[T]) string {
	s := sub.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	left := []int{s.intake.held, len(s.intake.queue), s.slots.taken, len(s.slots.waiting), s.slots.running.n, s.slots.stuck,
		len(s.outbox.todo), len(s.outbox.later), len(s.outbox.hooks), s.outbox.hooking}
	for _, n := range left {
		if n != 0 || s.pause.probe != nil {
			return fmt.Sprintf("held, queue, slots taken, waiting, running, stuck, todo, later, hooks, hooking: %v; probe %v", left, s.pause.probe != nil)
		}
	}
	return ""
}

// HandlerContext makes the context of a handler.
func HandlerContext(root context.Context) (ctx context.Context, end func(cause error), returned func()) {
	c := &handlerContext{Context: root}
	return c, c.end, c.handlerReturned
}
