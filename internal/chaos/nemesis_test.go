package chaos

import (
	"syscall"
	"time"

	"github.com/typedbus/typedbus/internal/chaos/history"
)

// killConsumers kills one after the other, as kill -9 does, and starts another in its place.
func (r *run) killConsumers(every time.Duration) {
	for r.during(every) {
		r.killConsumer(r.rand.IntN(len(r.consumers)))
	}
}

func (r *run) killConsumer(i int) {
	c := r.consumers[i]
	c.signal(syscall.SIGKILL)
	r.inject(history.Killed, c.Name, "")
	<-c.ended
	r.spawn(i)
}
