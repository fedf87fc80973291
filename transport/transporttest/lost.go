package transporttest

import (
	"errors"
	"time"

	"github.com/typedbus/typedbus/transport"
)

const (
	saysRefused = "A settlement whose lease was lost is refused with [ErrLeaseLost], and changes nothing, except a Done that stages nothing: its work is done, so it ends the message for everybody."
	saysLost    = "Lost, if not nil, is called once for each delivery whose lease was lost, as soon as the transport knows."
)

// loses has a consumer lose its leases to another one, and returns what the two have.
func loses(e *env, bodies ...string) (late, owner *consumer, old, current map[string]*transport.Delivery) {
	e.Helper()
	e.needs(e.broker.Stall != nil, "Stall")
	tr, other, t := e.open(), e.open(), e.topic("a")
	late = e.joinLeased(tr, t, "g")
	e.publish(tr, t, bodies...)
	old = byBody(late.expect(bodies...))
	resume := e.broker.Stall(late.Subscription)
	e.Cleanup(resume)
	owner = e.joinLeased(other, t, "g")
	current = byBody(owner.expect(bodies...))
	return late, owner, old, current
}

func byBody(ds []*transport.Delivery) map[string]*transport.Delivery {
	m := map[string]*transport.Delivery{}
	for _, d := range ds {
		m[string(d.Body)] = d
	}
	return m
}

// refused sees that a settlement is refused for its lost lease.
func (c *consumer) refused(st transport.Settlement) {
	c.Helper()
	if err := c.settleErrs(c.try(st), 1)[0]; !errors.Is(err, transport.ErrLeaseLost) {
		c.broken("%s after the lease was lost returned %v", st.Verdict, err)
	}
}

var lostClauses = []clause{
	{"lost-refused", saysRefused, func(e *env) {
		late, owner, old, current := loses(e, "failed", "deferred", "dead", "staged")
		out := e.topic("out")
		o := e.join(e.open(), out, "g")
		late.refused(transport.Settlement{Delivery: old["failed"], Verdict: transport.Failed})
		late.refused(transport.Settlement{Delivery: old["deferred"], Verdict: transport.Deferred})
		late.refused(transport.Settlement{Delivery: old["dead"], Verdict: transport.Dead, Reason: "exhausted"})
		late.refused(transport.Settlement{Delivery: old["staged"], Verdict: transport.Done, Stage: staged(out, "must not be stored")})
		o.silent()
		owner.silent()
		for _, d := range current {
			owner.counts(d, 1, 1)
			owner.failed(d, 0)
		}
		ds := owner.expect("failed", "deferred", "dead", "staged")
		for _, d := range ds {
			owner.counts(d, 2, 1)
		}
		owner.done(ds...)
		owner.silent()
	}},

	{"lost-refused-later", saysRefused, func(e *env) {
		late, owner, old, current := loses(e, "a", "b")
		owner.done(current["a"])
		owner.failed(current["b"], short)
		late.refused(transport.Settlement{Delivery: old["b"], Verdict: transport.Failed})
		late.try(transport.Settlement{Delivery: old["a"], Verdict: transport.Failed}) // settled by the other, or lost: both are true
		d := owner.expect("b")[0]
		owner.counts(d, 2, 1)
		owner.done(d)
		owner.silent()
	}},

	{"lost-done", saysRefused, func(e *env) {
		late, owner, old, current := loses(e, "a", "b", "c")
		for _, body := range []string{"a", "b", "c"} {
			late.done(old[body])
		}
		owner.done(current["a"])
		owner.try(transport.Settlement{Delivery: current["b"], Verdict: transport.Failed}) // too late, whatever it returns
		owner.silent()
		owner.leave()
		e.joinLeased(e.open(), e.topic("a"), "g").silent()
	}},

	{"lost-in-a-batch", "Otherwise it returns a [*SettleError] that tells which are not ended and why; those stay leased and may be settled again.", func(e *env) {
		late, owner, old, current := loses(e, "a", "b")
		errs := e.settleErrs(late.try(
			transport.Settlement{Delivery: old["a"], Verdict: transport.Done},
			transport.Settlement{Delivery: old["b"], Verdict: transport.Failed},
		), 2)
		if errs[0] != nil || !errors.Is(errs[1], transport.ErrLeaseLost) {
			e.broken("Done and Failed with lost leases returned %v and %v", errs[0], errs[1])
		}
		owner.done(current["b"])
		owner.leave()
		e.joinLeased(e.open(), e.topic("a"), "g").silent()
	}},

	{"lost-told", saysLost, func(e *env) {
		e.needs(e.broker.Stall != nil, "Stall")
		tr, other, t := e.open(), e.open(), e.topic("a")
		late := e.joinLeased(tr, t, "g")
		e.publish(tr, t, "a", "b", "settled")
		old := byBody(late.expect("a", "b", "settled"))
		late.done(old["settled"])
		resume := e.broker.Stall(late.Subscription)
		owner := e.joinLeased(other, t, "g")
		owner.expect("a", "b")
		resume()
		told := map[string]bool{}
		for range 2 {
			select {
			case d := <-late.lost:
				if old[string(d.Body)] == nil || old[string(d.Body)].Receipt != d.Receipt || told[d.Receipt] {
					e.broken("it was called for %s", describe([]*transport.Delivery{d}))
				}
				told[d.Receipt] = true
			case <-time.After(e.h.Patience):
				e.broken("it was called %d times; 2 leases were lost", len(told))
			}
		}
		late.silent()
		select {
		case d := <-late.lost:
			e.broken("it was called once more for %s", describe([]*transport.Delivery{d}))
		default:
		}
	}},

	{"lost-goes-on", saysRenews, func(e *env) {
		e.needs(e.broker.Stall != nil, "Stall")
		tr, t := e.open(), e.topic("a")
		c := e.joinLeased(tr, t, "g")
		e.publish(tr, t, "a")
		old := c.one()
		resume := e.broker.Stall(c.Subscription)
		e.wait(2 * e.h.Lease)
		resume()
		c.done(old) // good whether or not the lease, which nobody else wanted, was lost
		e.publish(tr, t, "b")
		for body := ""; body != "b"; {
			d := c.one() // may be a, if it was given again before it was done
			body = string(d.Body)
			c.done(d)
		}
		c.silent()
		c.leave()
		e.joinLeased(tr, t, "g").silent()
	}},
}
