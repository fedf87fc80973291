package redisstream

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// The bounds of one pipeline. Larger ones bring no more throughput and hold up what shares the server.
const (
	maxPipelineCommands = 1000
	maxPipelineBytes    = 1 << 20
)

// maxFlying is how many pipelines of a lane may be under way. See BenchmarkPublish for what other values do.
const maxFlying = 2

// A batch is one Publish call, or a part of it that fits a pipeline. Its commands stay together and in order.
type batch struct {
	cmds   []*addCmd
	used   int // cmds in use; the rest waits for a larger call
	size   int
	failed error         // of the whole pipeline
	done   chan struct{} // gets one value when the batch has ended; capacity 1

	partly bool // some were sent before; send those with again set

	short *transport.DurabilityError // too few replicas have what is stored of it

	// guarded by lane.mu
	sent    bool // taken from the queue
	dropped bool // its caller has gone
}

// committer is the group commit: a lone publisher's commands go out at once, and what comes while pipelines are under way
// goes out together in the next one. Each server has a lane of its own, so that one that hangs holds up no other.
type committer struct {
	t *Transport

	mu    sync.Mutex
	lanes map[string]*lane // by the server's address

	durable map[durableAt]*lane // durable.go
}

func newCommitter(t *Transport) *committer {
	return &committer{t: t, lanes: map[string]*lane{}}
}

// lane is that of the server which has key.
func (c *committer) lane(ctx context.Context, key string, d transport.Durability) (*lane, error) {
	node, err := c.t.reads.node(ctx, key)
	if err != nil {
		return nil, err
	}
	if d.Asked() {
		return c.durableLane(c.t.reads.optionsOf(node), d), nil
	}
	addr := node.Options().Addr
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lanes[addr]
	if l == nil {
		l = &lane{t: c.t, solo: newSolo(c.t.reads.optionsOf(node)), closed: c.t.ctx.Err() != nil}
		c.lanes[addr] = l
	}
	return l, nil
}

// close ends what waits. What is under way goes on, as part of Transport.wg.
func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		l.close()
	}
	for _, l := range c.durable {
		l.close()
	}
}

// disconnect is for when nothing is under way any more.
func (c *committer) disconnect() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		err = errors.Join(err, l.solo.client.Close())
	}
	for _, l := range c.durable {
		err = errors.Join(err, l.own.Close())
	}
	return err
}

// A lane sends batches to one server, in the order they come.
type lane struct {
	t    *Transport
	solo *solo

	durability transport.Durability // durable.go
	own        *redis.Client        // of a durable lane, which has no solo
	node       *redis.Options       // of a durable lane: those of the user's client of the node

	mu     sync.Mutex
	queue  []*batch
	flying int
	closed bool
}

// A fate is how a batch stands when its caller stops waiting.
type fate uint8

const (
	ended    fate = iota // its commands tell what became of them
	unsent               // it will not be sent
	underWay             // it is being sent, and must not be touched any more
)

// commit sends b and waits until it has ended or ctx has.
func (l *lane) commit(ctx context.Context, b *batch) fate {
	if l.own == nil && !b.partly && l.startAlone() {
		if done := l.alone(ctx, b); done {
			return ended
		}
	}
	l.enqueue(b)
	select {
	case <-b.done:
		return ended
	case <-ctx.Done():
		return l.drop(b)
	}
}

// startAlone says whether nobody else is publishing. Then the caller must call alone.
func (l *lane) startAlone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.flying > 0 || len(l.queue) > 0 {
		return false
	}
	l.flying++
	l.t.wg.Add(1)
	return true
}

// alone sends b from the goroutine of its caller. It returns false if commands must be sent again, see addCmd.again.
func (l *lane) alone(ctx context.Context, b *batch) (done bool) {
	defer l.t.wg.Done()
	b.failed = l.solo.send(ctx, b.cmds[:b.used])
	if b.failed != nil && l.t.reads.cluster != nil {
		l.t.reads.cluster.ReloadState(l.t.ctx) // it does not see the errors of other clients, and a failover is one
	}
	b.partly = sendAgain(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying--
	l.fly()
	return !b.partly
}

func (l *lane) enqueue(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		b.end(transport.ErrClosed)
		return
	}
	b.sent, b.dropped = false, false
	l.queue = append(l.queue, b)
	l.fly()
}

// fly starts another pipeline if something waits and the limit allows. It is called with l.mu held.
func (l *lane) fly() {
	if len(l.queue) > 0 && l.flying < maxFlying {
		l.flying++
		l.t.wg.Go(l.run)
	}
}

// drop is for a caller that goes.
func (l *lane) drop(b *batch) fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-b.done: // meanwhile
		return ended
	default:
	}
	if b.sent {
		return underWay
	}
	b.dropped = true
	return unsent
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, b := range l.queue {
		b.end(transport.ErrClosed)
	}
	l.queue = nil
}

// run sends what waits until nothing does.
func (l *lane) run() {
	var bs []*batch
	for {
		if bs = l.take(bs[:0]); len(bs) == 0 {
			return
		}
		l.send(bs)
		runtime.Gosched() // those who were waiting publish their next message now, and share the next pipeline
	}
}

// take moves what fits a pipeline out of the queue.
func (l *lane) take(bs []*batch) []*batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	count, size, n := 0, 0, 0
	for _, b := range l.queue {
		if !b.dropped {
			if len(bs) > 0 && (count+b.used > maxPipelineCommands || size+b.size > maxPipelineBytes) {
				break
			}
			b.sent = true
			count, size = count+b.used, size+b.size
			bs = append(bs, b)
		}
		n++
	}
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	if len(bs) == 0 {
		l.flying--
	}
	return bs
}

// maxSends is how often the same command is sent at most: the server may say that the stream is elsewhere, and the one there that it
// does not know the script.
const maxSends = 4

// send runs one pipeline, and others with what must be sent again.
func (l *lane) send(bs []*batch) {
	failed := l.exec(bs, func(b *batch, c *addCmd) bool { return !b.partly || c.again })
	for sent := 1; sent < maxSends && sendSomeAgain(bs); sent++ {
		failed = l.exec(bs, func(_ *batch, c *addCmd) bool { return c.again })
	}
	for _, b := range bs {
		b.end(failed)
	}
}

func sendSomeAgain(bs []*batch) (some bool) {
	for _, b := range bs {
		b.partly = sendAgain(b)
		some = some || b.partly
	}
	return some
}

// sendAgain picks what the server did not do because it does not know the script, or no longer has the stream.
func sendAgain(b *batch) (some bool) {
	for _, c := range b.cmds[:b.used] {
		c.again = false
		err := c.Err()
		if err == nil {
			continue
		}
		to, moved := redis.IsMovedError(err)
		if moved {
			c.moved, c.asking = to, false
		}
		to, ask := redis.IsAskError(err)
		if ask {
			c.moved, c.asking = to, true
		}
		unknown := redis.HasErrorPrefix(err, "NOSCRIPT")
		if unknown {
			c.inFull()
		}
		if c.again = unknown || moved || ask; c.again {
			c.reset()
			some = true
		}
	}
	return some
}

func (l *lane) exec(bs []*batch, which func(*batch, *addCmd) bool) error {
	if l.own != nil {
		return l.execDurable(bs, which)
	}
	f := flights.Get().(*flight)
	defer f.giveBack()
	for _, b := range bs {
		for _, c := range b.cmds[:b.used] {
			if which(b, c) {
				f.cmds = append(f.cmds, c)
			}
		}
	}
	p := l.t.cmd.Pipeline()
	if err := p.BatchProcess(l.t.ctx, f.cmds...); err != nil {
		return err
	}
	_, err := p.Exec(l.t.ctx)
	return err
}

// A flight is room for the commands of a pipeline.
type flight struct{ cmds []redis.Cmder }

var flights = sync.Pool{New: func() any { return new(flight) }}

func (f *flight) giveBack() {
	clear(f.cmds)
	f.cmds = f.cmds[:0]
	flights.Put(f)
}

// batch makes a batch of n commands.
func (tg *target) batch(n int) *batch {
	b, ok := tg.pool.Get().(*batch)
	if !ok {
		b = &batch{done: make(chan struct{}, 1)}
	}
	for len(b.cmds) < n {
		b.cmds = append(b.cmds, newAdd(tg))
	}
	b.used = n
	return b
}

// recycle keeps b for another call.
func (tg *target) recycle(b *batch) {
	for _, c := range b.cmds[:b.used] {
		c.recycle()
	}
	b.used, b.size, b.failed, b.partly, b.short = 0, 0, nil, false, nil
	tg.pool.Put(b)
}

func (b *batch) end(failed error) {
	b.failed = failed
	b.done <- struct{}{}
}
