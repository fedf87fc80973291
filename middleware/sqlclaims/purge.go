package sqlclaims

import (
	"context"
	"fmt"
)

const (
	purgeEvery = 500  // calls of Finish, of which each leaves at most one row
	purgeBatch = 1000 // rows that one statement deletes
)

// Purge deletes what is to be forgotten, a thousand rows a statement, and returns how many. [Claims.Finish] does so by the way
// with as much as comes, so that it is needed only where nothing comes any more.
func (c *Claims) Purge(ctx context.Context) (int64, error) {
	if c.err != nil {
		return 0, c.err
	}
	var all int64
	for {
		n, err := c.purge(ctx)
		if all += n; err != nil {
			return all, fmt.Errorf("sqlclaims: purge: %w", err)
		}
		if n < purgeBatch {
			return all, nil
		}
	}
}

// purge deletes one batch.
func (c *Claims) purge(ctx context.Context) (int64, error) {
	res, err := c.db.ExecContext(ctx, c.sql.purge, purgeBatch)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
