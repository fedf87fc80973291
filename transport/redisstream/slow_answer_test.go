package redisstream

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// An answer that takes more than a lease to come brings messages that others have by now: they are not handed out.
func TestAnAnswerThatComesForLongerThanALease(t *testing.T) {
	b := newBench(t)
	slow := startDrip(t, b.server.Addr, "drop by drop")
	tr, err := Open(t.Context(), "redis://"+slow.addr, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { tr.Close() })
	g := transport.Group{Name: "g", Lease: 500 * time.Millisecond}
	a := b.subscribe(tr, g)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan []*transport.Delivery, 1)
	go func() {
		ds, _ := a.Receive(ctx, 1)
		got <- ds
	}()
	require.NoError(t, b.tr.Publish(t.Context(), orders, []*transport.Message{{Body: []byte("drop by drop")}}))
	<-slow.holding
	other := b.subscribe(b.tr, g)
	ds := receive(t, other, 1)
	assert.Equal(t, 1, ds[0].Redelivered, "it is the same message")
	close(slow.release)
	select {
	case late := <-got:
		assert.Empty(t, late, "another consumer has it")
		cancel()
	case <-within(t, time.Second).Done():
		cancel()
		assert.Empty(t, <-got)
	}
	settle(t, other, transport.Done, 0, ds...)
}

// A drip is a relay that, once, lets only the first byte of an answer through in which a mark is, until it is told to go on.
type drip struct {
	addr             string
	mark             []byte
	once             sync.Once
	holding, release chan struct{}
}

func startDrip(t *testing.T, server, mark string) *drip {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &drip{addr: l.Addr().String(), mark: []byte(mark), holding: make(chan struct{}), release: make(chan struct{})}
	var conns sync.WaitGroup
	t.Cleanup(func() { l.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			conns.Go(func() { defer out.Close(); _, _ = io.Copy(out, in) })
			conns.Go(func() { defer in.Close(); d.pass(in, out) })
		}
	})
	return d
}

func (d *drip) pass(to, from net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		answer := b[:n]
		if bytes.Contains(answer, d.mark) {
			d.once.Do(func() {
				_, _ = to.Write(answer[:1])
				answer = answer[1:]
				close(d.holding)
				<-d.release
			})
		}
		if _, err := to.Write(answer); err != nil {
			return
		}
	}
}
