package bus

import (
	"errors"
	"fmt"

	"github.com/typedbus/typedbus/transport"
)

// OnLoss has f called when the broker has lost events of a subscription, or may have, or when the bound of its dead letters
// has removed some (Letters): with what was noticed, how many and which range where that is known. It is logged and counted
// besides.
//
// f is called once for each loss by a process that notices it, maybe concurrently. Of a loss that several processes know in part each is
// called with a range of its own; there may be more than one call for one failover. f must return soon, since the subscription
// may receive nothing meanwhile, and what the transport does for others from time to time (retention, looking for losses)
// may wait too: what takes long, as publishing again from a store of your own, it does in a goroutine. A panic is logged. f
// must not be nil.
func OnLoss(f func(*transport.LossError)) Option {
	return option(func(o *options) {
		if f == nil {
			o.errs = append(o.errs, errors.New("bus: OnLoss(nil): must be a function"))
		}
		o.onLoss = append(o.onLoss, f)
	})
}

// warn takes what the transport noticed.
func (s *subscription) warn(err error) {
	var loss *transport.LossError
	if !errors.As(err, &loss) {
		s.log.Warn("transport warning", "error", err)
		return
	}
	if loss.Letters {
		s.log.Warn("dead letters removed by their bound", "error", err)
	} else {
		s.log.Error("data loss suspected", "error", err)
		s.mu.Lock()
		s.tally.Losses++
		s.mu.Unlock()
	}
	for _, f := range s.bus.opts.onLoss {
		s.callLossHook(f, loss)
	}
}

func (s *subscription) callLossHook(f func(*transport.LossError), loss *transport.LossError) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a hook of OnLoss panicked", "panic", fmt.Sprint(p))
		}
	}()
	f(loss)
}
