package sqlclaims

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// stage is how far a mark is.
type stage int

const (
	unmarked stage = iota
	underWay       // in a transaction whose end is not known
	committed
)

// Mark makes the claim of an event done in tx: commit it, and return nil from the handler. If tx does not commit the claim stays
// as it is. It is for handlers that do more than [InTx] does; it must be the last that they do in tx, because others who ask for
// the claim wait for its end.
//
// ctx and d are the handler's; a batch marks each of its events. The handler must stand under [middleware.Idempotent] with these
// claims. An error means that tx must be rolled back: one that wraps [middleware.ErrClaimLost] says that another has the claim.
//
// What was published through d would be lost if the process died between the commit and the acknowledgement: Mark refuses an
// event with such messages. Publish through the bus after the commit, or into a table of your own in tx.
func (c *Claims) Mark(ctx context.Context, tx *sql.Tx, d *bus.Delivery) error {
	if c.err != nil {
		return c.err
	}
	claim, keep, ok := middleware.ClaimOf(ctx, d)
	if !ok {
		return fmt.Errorf("sqlclaims: mark %s: it has no claim: put middleware.Idempotent with these claims around its handler", d.ID)
	}
	if n := d.Staged(); n > 0 {
		return fmt.Errorf("sqlclaims: mark %s: %d messages were published through it, which would be lost if the process died before the "+
			"acknowledgement: publish them through the bus after the commit, or into a table in the transaction", d.ID, n)
	}
	topic, group, key := name(claim)
	c.note(claim, underWay)
	res, err := tx.ExecContext(ctx, c.sql.mark, keep.Microseconds(), topic, group, key, claim.Owner)
	if err != nil {
		return fmt.Errorf("sqlclaims: mark %s: %w", d.ID, err)
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = fmt.Errorf("%w, or it is done already, or it is in another store", middleware.ErrClaimLost)
	}
	if err != nil {
		return fmt.Errorf("sqlclaims: mark %s: %w", d.ID, err)
	}
	return nil
}

// Marked says whether a claim that is held was marked in a transaction of this process. It is for [middleware.Idempotent].
func (c *Claims) Marked(claim transport.Claim) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.marked[claim.Owner] != unmarked
}

// InTx makes a handler out of one that has its effect in a transaction. The transaction commits together with the mark that the
// event is done, and is rolled back when the handler returns an error, panics, is cut short, or has lost its claim. So an event
// has one effect in the database, or none yet, whatever dies whenever. The handler must not end tx. It is as strict as
// [Claims.Mark], which it calls last.
func InTx[T any](c *Claims, h func(ctx context.Context, tx *sql.Tx, e *bus.Event[T]) error) bus.HandlerOf[T] {
	if c == nil || h == nil {
		return nil // reported by Run
	}
	return func(ctx context.Context, e *bus.Event[T]) error {
		return c.inTx(ctx, e.Delivery, func(tx *sql.Tx) error { return h(ctx, tx, e) })
	}
}

func (c *Claims) inTx(ctx context.Context, d *bus.Delivery, effect func(*sql.Tx) error) error {
	if c.err != nil {
		return c.err
	}
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sqlclaims: begin a transaction: %w", err)
	}
	end := unmarked
	defer func() {
		_ = tx.Rollback() // unless it is committed
		if claim, _, ok := middleware.ClaimOf(ctx, d); ok {
			c.note(claim, end)
		}
	}()
	if err := effect(tx); err != nil {
		return err
	}
	if err := c.Mark(ctx, tx, d); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("sqlclaims: commit: %w", err)
	}
	end = committed
	return nil
}

// note remembers how far the mark of a claim is.
func (c *Claims) note(claim transport.Claim, s stage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s == unmarked {
		delete(c.marked, claim.Owner)
		return
	}
	c.marked[claim.Owner] = s
}

// forget returns how far the mark of a claim is that is not held any more.
func (c *Claims) forget(claim transport.Claim) stage {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.marked[claim.Owner]
	delete(c.marked, claim.Owner)
	return s
}

// unmarked returns those claims that no transaction has.
func (c *Claims) unmarked(cs []transport.Claim) (free []transport.Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, claim := range cs {
		if c.marked[claim.Owner] == unmarked {
			free = append(free, claim)
		}
	}
	return free
}
