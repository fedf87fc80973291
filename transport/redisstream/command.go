package redisstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// A target is where the messages of a topic go.
type target struct {
	keys
	ctx   context.Context // of commands, which must have one and do not use it
	topic string
	mp    *Mapping

	key   any                                // keys.stream, boxed once
	names atomic.Pointer[map[string]*string] // header name to field name, so that no publish has to join them
	pool  sync.Pool                          // of *batch: commands of one target only, since a command remembers its slot
	turns atomic.Uint32                      // which of two hard bounds the next XADD enforces
}

func newTarget(ctx context.Context, topic string, k keys, mp *Mapping) *target {
	return &target{keys: k, ctx: ctx, topic: topic, mp: mp, key: k.stream}
}

// maxNames bounds the cache of field names; a producer with more has odd headers, and pays for joining them.
const maxNames = 256

// field is the name of a header's field, where the mapping has a prefix.
func (tg *target) field(header string) *string {
	names := tg.names.Load()
	if names != nil {
		if f, ok := (*names)[header]; ok {
			return f
		}
	}
	return tg.newField(header, names)
}

func (tg *target) newField(header string, names *map[string]*string) *string {
	f := tg.mp.HeaderPrefix + header
	more := map[string]*string{f[len(tg.mp.HeaderPrefix):]: &f}
	if names != nil {
		if len(*names) >= maxNames {
			return &f
		}
		maps.Copy(more, *names)
	}
	tg.names.CompareAndSwap(names, &more)
	return &f
}

// targets are those of a transport, by topic.
type targets struct {
	mu sync.RWMutex
	m  map[string]*target
}

func (ts *targets) get(topic string) (*target, bool) {
	ts.mu.RLock()
	defer ts.mu.RUnlock()
	tg, ok := ts.m[topic]
	return tg, ok
}

// add keeps tg, unless another was faster.
func (ts *targets) add(topic string, tg *target) *target {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if was, ok := ts.m[topic]; ok {
		return was
	}
	if ts.m == nil {
		ts.m = map[string]*target{}
	}
	ts.m[topic] = tg
	return tg
}

// addCmd is one publish: an XADD, or a script that stores a delayed message or one whose id is remembered. It owns copies of all it sends, because the
// caller may change the message once Publish has returned, and Publish returns when the caller's context ends. It is used
// again and again: go-redis writes args and knows nothing of their reuse.
type addCmd struct {
	*redis.StringCmd // the reply: an entry id, or when a delayed message is due
	args             []any

	text  []string // what args point to; a pointer in an interface costs no allocation, a string does
	body  writtenBytes
	limit int64
	minID int64
	delay remaining
	full  string // the script, if it is one
	again bool   // the server did not do it, and would in full or elsewhere

	moved  string // the address that the server has sent it to, "" if none has; durable lanes go there
	asking bool   // and only if asked, because the slot is on its way
}

// NoRetry makes go-redis send it once, see once.
func (*addCmd) NoRetry() bool { return true }

// Args is what is sent.
func (c *addCmd) Args() []any { return c.args }

// writtenBytes notes that it was written to a connection: go-redis marshals an argument when it writes it and not before. A
// command that was not written did not happen, whatever error it has.
type writtenBytes struct {
	b       []byte
	written bool
}

func (w *writtenBytes) MarshalBinary() ([]byte, error) {
	w.written = true
	return w.b, nil
}

// remaining is the time left until at, in milliseconds, when it is written: a delay counts from when the message is sent.
type remaining struct{ at time.Time }

func (r *remaining) MarshalBinary() ([]byte, error) {
	return fmt.Appendf(nil, "%d", ceilMillis(time.Until(r.at))), nil
}

var (
	argXADD   any = "xadd"
	argAuto   any = "*"
	argMaxLen any = "maxlen"
	argMinID  any = "minid"
	argApprox any = "~"
)

// newAdd makes an empty XADD for tg. go-redis routes it by the arguments it is made with, and sends those of Args.
func newAdd(tg *target) *addCmd {
	return &addCmd{StringCmd: redis.NewStringCmd(tg.ctx, argXADD, tg.key)}
}

// xadd makes c store m. now is the server's clock.
func (c *addCmd) xadd(tg *target, r transport.Retention, m *transport.Message, now func() time.Time) {
	c.args = append(c.args[:0], argXADD, tg.key)
	c.bound(tg, r, now)
	c.args = append(c.args, argAuto)
	c.fields(tg, m)
}

// bound adds the hard bound of a topic. XADD takes one bound, so where there are two they take turns.
func (c *addCmd) bound(tg *target, r transport.Retention, now func() time.Time) {
	if !r.Hard {
		return
	}
	n, age := r.Limits()
	if n > 0 && age > 0 {
		if tg.turns.Add(1)%2 == 0 {
			n = 0
		} else {
			age = 0
		}
	}
	if n > 0 {
		c.limit = n
		c.args = append(c.args, argMaxLen, argApprox, &c.limit)
	}
	if age > 0 {
		c.minID = max(now().Add(-age).UnixMilli(), 0)
		c.args = append(c.args, argMinID, argApprox, &c.minID)
	}
}

// once makes c, made by newScripted, store m unless the topic knows its id.
func (c *addCmd) once(tg *target, t transport.Topic, m *transport.Message, delayed bool, now func() time.Time) {
	c.full = scriptPublish.src
	mark, window := tg.known(m.ID), max(ceilMillis(t.Dedup), 1)
	if delayed {
		c.delay.at = m.NotBefore
		c.args = append(c.args[:0], "evalsha", scriptPublish.sha, 3, mark, tg.due, tg.dueBody, window, &c.delay, transport.NewID(), 0)
	} else {
		c.args = append(c.args[:0], "evalsha", scriptPublish.sha, 2, mark, tg.stream, window, "now", "", 0)
		n := len(c.args)
		c.bound(tg, t.Retention, now)
		c.args[n-1] = len(c.args) - n
	}
	c.fields(tg, m)
}

// later makes c, made by newScripted, store m in the set of delayed messages.
func (c *addCmd) later(tg *target, m *transport.Message) {
	c.full, c.delay.at = duePutSource, m.NotBefore
	c.args = append(c.args[:0], "evalsha", duePut.Hash(), 2, tg.due, tg.dueBody, &c.delay, transport.NewID())
	c.fields(tg, m)
}

// newScripted makes an empty script for tg. Only its key matters, see newAdd.
func newScripted(tg *target) *addCmd {
	return &addCmd{StringCmd: redis.NewStringCmd(tg.ctx, "evalsha", noScript, 1, tg.due)}
}

// inFull turns EVALSHA into EVAL, for a server that does not know the script.
func (c *addCmd) inFull() {
	c.args[0], c.args[1] = "eval", c.full
}

// fields appends what Mapping.appendFields does.
func (c *addCmd) fields(tg *target, m *transport.Message) {
	mp := tg.mp
	c.body.b = append(c.body.b[:0], m.Body...)
	if mp.ID != "" {
		c.add(&mp.ID, m.ID)
	}
	if mp.ContentType != "" && m.ContentType != "" {
		c.add(&mp.ContentType, m.ContentType)
	}
	if mp.Key != "" && m.Key != "" {
		c.add(&mp.Key, m.Key)
	}
	c.args = append(c.args, &mp.Data, &c.body)
	for i := range m.Headers {
		h := &m.Headers[i]
		if mp.HeaderPrefix == "" {
			c.add(c.copy(h.Name), h.Value)
		} else {
			c.add(tg.field(h.Name), h.Value)
		}
	}
	if len(mp.Set) > 0 {
		for name, value := range mp.constants(m) {
			c.add(c.copy(name), value)
		}
	}
}

func (c *addCmd) add(field *string, value string) {
	c.args = append(c.args, field, c.copy(value))
}

// copy gives s an address. That of an element stays good when text grows into another array.
func (c *addCmd) copy(s string) *string {
	c.text = append(c.text, s)
	return &c.text[len(c.text)-1]
}

// reset forgets what became of c.
func (c *addCmd) reset() {
	c.SetErr(nil)
	c.SetVal("")
	c.body.written = false
}

// maxKeptBody is how large a buffer is kept for the next message.
const maxKeptBody = 16 << 10

// recycle makes c ready for another message, and lets go of this one.
func (c *addCmd) recycle() {
	c.reset()
	c.again, c.moved, c.asking = false, "", false
	clear(c.args)
	clear(c.text)
	c.args, c.text = c.args[:0], c.text[:0]
	if cap(c.body.b) > maxKeptBody {
		c.body.b = nil
	}
}

// refusedForNow says whether the server did not do it, and may later.
func (c *addCmd) refusedForNow() bool { return c.StringCmd.Val() == "" && refusedForNow(c.Err()) }

// outcome is what became of c. failed is the error of the whole pipeline, for commands that have none of their own: go-redis
// leaves them without when the server refused the connection.
func (c *addCmd) outcome(failed error) (transport.Outcome, error) {
	err := c.Err()
	switch {
	case c.StringCmd.Val() != "": // the server answered; go-redis may have put a later error of the pipeline over it
		return transport.Stored, nil
	case err == nil:
		err = failed
	}
	if err == nil {
		err = errors.New("no answer")
	}
	if !c.body.written || neverSent(err) {
		return transport.NotStored, err
	}
	if answered(err) {
		return transport.NotStored, err
	}
	return transport.Unknown, err
}
