package e2e

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// TestEachMistakeGetsAnErrorThatSaysWhatToDo prints the errors, so that they can be read with `go test -v -run Mistake`.
func TestEachMistakeGetsAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	locked := redistest.Start(t, "--requirepass", "hunter2")
	ok := func(context.Context, *bus.Event[Order]) error { return nil }
	run := func(declare func(*bus.Bus)) error {
		b := bus.New(tr, quiet)
		declare(b)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return b.Run(ctx)
	}
	openErr := func(url string) error {
		tr, err := redisstream.Open(t.Context(), url, redisstream.Options{})
		if err == nil {
			tr.Close()
		}
		return err
	}
	require.NoError(t, s.Client().HSet(t.Context(), "orders.placed", "a", "b").Err())
	closed, err := redisstream.Open(t.Context(), s.URL, redisstream.Options{})
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	small := bus.NewTopic("small", codec.JSON[Order](), bus.MaxBytes(1))

	for name, c := range map[string]struct {
		err  error
		says []string
	}{
		"no Redis there":      {openErr("redis://" + freeAddr(t)), []string{"cannot reach Redis at 127.0.0.1:", "connection refused", "start it"}},
		"no password":         {openErr(locked.URL), []string{"password"}},
		"wrong password":      {openErr("redis://:swordfish@" + locked.Addr), []string{"password"}},
		"broken URL":          {openErr("redis://:swordfish%zz@" + s.Addr), []string{"redisstream: "}},
		"key of other type":   {orders.Publish(t.Context(), bus.New(tr), Order{}), []string{"orders.placed", "hash", "not a stream"}},
		"subscribe to a hash": {run(func(b *bus.Bus) { orders.Subscribe(b, "billing", ok) }), []string{"orders.placed", "hash", "not a stream"}},
		"bad topic name":      {bus.NewTopic("a:b", codec.JSON[Order]()).Publish(t.Context(), bus.New(tr), Order{}), []string{`bad topic name "a:b"`, "use a letter or digit"}},
		"nil handler":         {run(func(b *bus.Bus) { invoices.Subscribe(b, "billing", nil) }), []string{"invoices.issued/billing", "nil handler", "pass a func"}},
		"duplicate group": {run(func(b *bus.Bus) {
			invoices.Subscribe(b, "billing", ok)
			invoices.Subscribe(b, "billing", ok)
		}), []string{"invoices.issued/billing", "already", "use another group"}},
		"closed":            {invoices.Publish(t.Context(), bus.New(closed), Order{}), []string{"closed", "close the transport after the last publish"}},
		"payload too large": {small.Publish(t.Context(), bus.New(tr), Order{}), []string{"payload too large", "the topic allows 1"}},
	} {
		if !assert.Error(t, c.err, name) {
			continue
		}
		t.Logf("%s:\n\t%v", name, c.err)
		for _, says := range c.says {
			assert.ErrorContains(t, c.err, says, name)
		}
		assert.NotContains(t, c.err.Error(), "hunter2")
		assert.NotContains(t, c.err.Error(), "swordfish")
	}
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
