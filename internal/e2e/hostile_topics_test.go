package e2e

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/compress"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// A Parcel is what the topics with hostile entries carry.
type Parcel struct {
	N    int
	Note string
}

// What a Parcel's note has the handler do.
const (
	notePanic = "panic"
	noteExit  = "exit"
)

// parcels are the topics of hostile input, by their format. Bodies are large enough for nesting to get as far as the codec.
var parcels = map[string]*bus.Topic[Parcel]{
	"json":    bus.NewTopic("parcels.json", codec.JSON[Parcel](), bus.MaxBytes(11<<20)),
	"msgpack": bus.NewTopic("parcels.msgpack", codec.MsgPack[Parcel](), bus.MaxBytes(11<<20)),
	"zstd":    bus.NewTopic("parcels.zstd", codec.JSON[Parcel](), bus.MaxBytes(11<<20)),
}

var compression = compress.Zstd(compress.Options{})

func init() {
	children["parcels"] = subscribeParcels
	for format := range parcels {
		children["fragile "+format] = func(_ context.Context, b *bus.Bus, _ *redisstream.Transport) { subscribeFragile(b, format) }
	}
}

// subscribeParcels is a consumer with the recommended chain. It tells its process id, and of each parcel that it has handled. What
// it holds bounds its memory: by default that are up to 1,000 entries of any size for each topic.
func subscribeParcels(_ context.Context, b *bus.Bus, _ *redisstream.Transport) {
	fmt.Println("pid", os.Getpid())
	for _, topic := range parcels {
		topic.Subscribe(b, "sorting", unpack, parcelChain(), bus.Use(compression.Handle), bus.Redeliver(bus.Backoff{Min: time.Millisecond}), bus.Prefetch(64))
	}
}

// subscribeFragile is one whose process a parcel can end. It holds one at a time, so that no neighbour dies with it.
func subscribeFragile(b *bus.Bus, format string) {
	parcels[format].Subscribe(b, "sorting", unpack, parcelChain(), bus.Use(compression.Handle), bus.Redeliver(bus.Backoff{Min: time.Millisecond}),
		bus.Concurrency(1), bus.Prefetch(0), bus.Lease(fragileLease))
}

const fragileLease = 300 * time.Millisecond

func parcelChain() bus.Chain {
	return middleware.Standard(middleware.StandardOptions{
		Telemetry: telemetry.New(telemetry.Options{}).Handle,
		Retry:     middleware.RetryOptions{Tries: 2, Min: time.Millisecond},
	})
}

func unpack(_ context.Context, e *bus.Event[Parcel]) error {
	switch e.Payload.Note {
	case notePanic:
		panic("a parcel that panics")
	case noteExit:
		os.Exit(3)
	}
	entry, _, _ := strings.Cut(e.Receipt, ".")
	fmt.Println("unpacked", e.Topic, entry[1:], e.Payload.N, e.Attempt, e.Redelivered)
	return nil
}

// decoded is what a handler would see of a message. It is asked only about bodies that nobody knows to be good or bad.
func decoded(format string, m *transport.Message) (p Parcel, err error) {
	h := compression.Handle(func(_ context.Context, d *bus.Delivery) error {
		p, err = parcels[format].Decode(d.Message)
		return err
	})
	err = h(context.Background(), bus.NewDelivery(&transport.Delivery{Message: m}, nil))
	return p, err
}

// whyDead are the reasons that letters of hostile entries may have.
var whyDead = []string{dlq.DecodeError, dlq.Permanent, dlq.Expired, dlq.Exhausted}

// maxResident is the most memory that a consumer may ever have had, in bytes. The race detector's shadow is several times
// what it watches, and says nothing about the library.
func maxResident() int64 {
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 2 << 30
	}
	return 256 << 20
}

// resident is the most memory that a process has ever had, in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(t, err)
	return kib << 10
}
