package sqlclaims

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// Options are the settings of [New]. The zero value works.
type Options struct {
	// Table is the table of the claims, in PostgreSQL perhaps with a schema and a dot before it; default "typedbus_claims".
	Table string
}

// Claims are [middleware.Claims] in a table of a SQL database. All methods may be called concurrently, by many processes on one
// table.
type Claims struct {
	db  *sql.DB
	sql *statements
	err error // what is wrong with the declaration, reported by first use

	finished atomic.Uint64 // counts from somewhere

	mu     sync.Mutex
	marked map[string]stage // by owner, until it is finished or released
}

var _ middleware.Claims = (*Claims)(nil)

// New makes claims in db, which it never closes. The table must be there: see [Claims.Migrate]. A bad dialect or table name is
// reported by first use.
func New(db *sql.DB, d Dialect, o Options) *Claims {
	c := &Claims{db: db, marked: make(map[string]stage)}
	c.finished.Store(rand.Uint64N(purgeEvery))
	if c.sql, c.err = newStatements(d, cmp.Or(o.Table, "typedbus_claims")); c.err != nil {
		c.err = fmt.Errorf("sqlclaims: %w", c.err)
	}
	return c
}

// Schema returns the SQL that makes the table and its index where they are not there yet, for those who have a tool for that. It
// is "" if the declaration is wrong.
func (c *Claims) Schema() string {
	if c.err != nil {
		return ""
	}
	return c.sql.schema
}

// Migrate runs [Claims.Schema]. Many processes may do that at the same time.
func (c *Claims) Migrate(ctx context.Context) error {
	if c.err != nil {
		return c.err
	}
	if err := c.migrate(ctx); err != nil {
		return fmt.Errorf("sqlclaims: migrate: %w", err)
	}
	return nil
}

func (c *Claims) migrate(ctx context.Context) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if c.sql.lock != "" {
		if _, err := tx.ExecContext(ctx, c.sql.lock); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, c.sql.schema); err != nil {
		return err
	}
	return tx.Commit()
}

// Begin is as [middleware.Claims] says.
func (c *Claims) Begin(ctx context.Context, claim transport.Claim, expiry time.Duration) (done bool, wait time.Duration, err error) {
	for range 3 {
		lost, err := c.begin(ctx, []transport.Claim{claim}, expiry)
		if err != nil {
			return false, 0, fmt.Errorf("sqlclaims: begin: %w", err)
		}
		if len(lost) == 0 {
			return false, 0, nil
		}
		var left int64
		topic, group, key := name(claim)
		switch err := c.db.QueryRowContext(ctx, c.sql.look, topic, group, key).Scan(&done, &left); {
		case errors.Is(err, sql.ErrNoRows): // it was released meanwhile
		case err != nil:
			return false, 0, fmt.Errorf("sqlclaims: begin: %w", err)
		case left > 0 && done:
			return true, 0, nil
		case left > 0:
			return false, time.Duration(left) * time.Microsecond, nil
		}
	}
	return false, time.Millisecond, nil // it changes hands quickly
}

// Renew is as [middleware.Claims] says. What was marked in a transaction is not renewed, and not lost: the transaction has it.
func (c *Claims) Renew(ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error) {
	for todo := c.unmarked(cs); len(todo) > 0; {
		var now []transport.Claim
		now, todo = apart(todo)
		gone, err := c.begin(ctx, now, expiry)
		if err != nil {
			return nil, fmt.Errorf("sqlclaims: renew: %w", err)
		}
		lost = append(lost, gone...)
	}
	return c.unmarked(lost), nil // one may have been marked meanwhile
}

// Finish is as [middleware.Claims] says. Now and then it deletes what is to be forgotten.
func (c *Claims) Finish(ctx context.Context, claim transport.Claim, keep time.Duration) error {
	if c.err != nil {
		return c.err
	}
	if c.forget(claim) != committed {
		topic, group, key := name(claim)
		if _, err := c.db.ExecContext(ctx, c.sql.finish, keep.Microseconds(), topic, group, key, claim.Owner); err != nil {
			return fmt.Errorf("sqlclaims: finish: %w", err)
		}
	}
	if c.finished.Add(1)%purgeEvery == 0 {
		_, _ = c.purge(ctx) // if not, another time
	}
	return nil
}

// Release is as [middleware.Claims] says.
func (c *Claims) Release(ctx context.Context, claim transport.Claim) error {
	if c.err != nil {
		return c.err
	}
	c.forget(claim)
	topic, group, key := name(claim)
	if _, err := c.db.ExecContext(ctx, c.sql.release, topic, group, key, claim.Owner); err != nil {
		return fmt.Errorf("sqlclaims: release: %w", err)
	}
	return nil
}

// begin begins claims with different names, in one statement, and returns those that it could not begin.
func (c *Claims) begin(ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error) {
	if c.err != nil {
		return nil, c.err
	}
	args := make([]any, 1, 1+4*len(cs))
	args[0] = expiry.Microseconds()
	for _, claim := range cs {
		topic, group, key := name(claim)
		args = append(args, topic, group, key, claim.Owner)
	}
	rows, err := c.db.QueryContext(ctx, c.sql.beginning(len(cs)), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	begun := make(map[row]bool, len(cs))
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.topic, &r.group, &r.key); err != nil {
			return nil, err
		}
		begun[r] = true
	}
	for _, claim := range cs {
		if !begun[rowOf(claim)] {
			lost = append(lost, claim)
		}
	}
	return lost, rows.Err()
}

// row is what names a claim in the table.
type row struct{ topic, group, key string }

func rowOf(c transport.Claim) row {
	topic, group, key := name(c)
	return row{topic, group, string(key)}
}

// maxKey is how long a key may be that is kept as it is. Longer ones end in a hash: indexes have limits.
const maxKey = 255

func name(c transport.Claim) (topic, group string, key []byte) {
	key = []byte(c.Key)
	if len(key) > maxKey {
		hash := sha256.Sum256(key)
		key = append(key[:maxKey+1-len(hash):maxKey], hash[:]...) // longer than any that is kept as it is
	}
	return c.Topic, c.Group, key
}
