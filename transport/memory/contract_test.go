package memory_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
	"github.com/typedbus/typedbus/transport/transporttest"
)

func broker(t testing.TB) transporttest.Broker {
	tr := memory.New()
	t.Cleanup(func() { tr.Close() })
	return transporttest.Broker{
		Open:     func() transport.Transport { return tr.Peer() },
		Crash:    tr.Crash,
		Stall:    tr.Stall,
		Outage:   tr.Outage,
		Position: func(_ transport.Topic, n int) string { return strconv.Itoa(n + 1) },
		Stored:   tr.Stored,
	}
}

func TestContract(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{Broker: broker, Lease: 30 * time.Second, Patience: 10 * time.Minute, Bubble: true})
}

// The same with real time, as other transports run it.
func TestContractInRealTime(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{Broker: broker})
}
