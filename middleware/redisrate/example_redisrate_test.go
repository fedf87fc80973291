package redisrate_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/redisrate"
	"github.com/typedbus/typedbus/transport/memory"
)

// exampleRedis starts a server for an example, which a program would have already.
func exampleRedis() (addr string, stop func()) {
	t := &exampleT{}
	return redistest.Start(t).Addr, func() {
		for _, f := range slices.Backward(t.cleanups) {
			f()
		}
	}
}

// exampleT is as much of a test as the server needs.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper()                          {}
func (t *exampleT) Cleanup(f func())               { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatal(args ...any)              { panic(fmt.Sprint(args...)) }
func (t *exampleT) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
func (t *exampleT) TempDir() string {
	dir, err := os.MkdirTemp("", "typedbus-example-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// All processes together send no more than 20 letters a second.
func ExampleNew() {
	addr, stopRedis := exampleRedis() // "localhost:6379"
	defer stopRedis()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()

	letters := bus.NewTopic("letters", codec.JSON[string]())
	tr := memory.New()
	ctx, stop := context.WithCancel(context.Background())
	begun, sent := time.Now(), new(atomic.Int32)
	process := func() *bus.Bus {
		limit := redisrate.New(client, redisrate.Limit{Rate: 20, Burst: 1})
		b := bus.New(tr.Peer(), bus.Use(middleware.RateLimit(limit, middleware.RateLimitOptions{})))
		letters.Subscribe(b, "post", func(ctx context.Context, e *bus.Event[string]) error {
			if n := sent.Add(1); n == 5 {
				fmt.Println(n, "letters took 200ms or more:", time.Since(begun) >= 200*time.Millisecond)
				stop()
			}
			return nil
		}, bus.Concurrency(1))
		return b
	}
	one, other := process(), process()
	_ = letters.PublishAll(ctx, one, []string{"a", "b", "c", "d", "e"})
	ended := make(chan error)
	go func() { ended <- other.Run(ctx) }()
	_ = one.Run(ctx)
	<-ended
	// Output: 5 letters took 200ms or more: true
}
