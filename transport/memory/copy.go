package memory

import (
	"errors"
	"slices"

	"github.com/typedbus/typedbus/transport"
)

// copyAll appends deep copies of ms to dst: nothing the caller points to is kept.
func copyAll(dst []transport.Message, ms []*transport.Message) ([]transport.Message, error) {
	dst = slices.Grow(dst, len(ms))
	var bodies copier
	for i, m := range ms {
		if m == nil {
			return nil, errors.New("a message is nil: leave it out")
		}
		c := *m
		if c.ID == "" {
			c.ID = transport.NewID()
		}
		c.Headers = slices.Clip(slices.Clone(m.Headers)) // a later append must not write behind them
		c.Body = bodies.copy(m.Body, len(ms)-i)
		dst = append(dst, c)
	}
	return dst, nil
}

// Bodies up to smallBody bytes are copied into shared blocks of at most blockSize, so that a batch of small messages costs
// few allocations, and one slow handler does not keep much more than its own body in memory.
const (
	smallBody = 1 << 10
	blockSize = 8 << 10
)

// A copier copies the bodies of one batch.
type copier struct{ block []byte }

// copy copies a body. more is how many bodies of about that size are still to come, this one included.
func (c *copier) copy(body []byte, more int) []byte {
	if len(body) > smallBody || len(body) == 0 {
		return slices.Clone(body)
	}
	if cap(c.block)-len(c.block) < len(body) {
		c.block = make([]byte, 0, max(len(body), min(len(body)*more, blockSize)))
	}
	from := len(c.block)
	c.block = append(c.block, body...)
	return c.block[from:len(c.block):len(c.block)]
}
