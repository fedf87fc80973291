package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/sqlclaims"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

var (
	orders = bus.NewTopic("orders.placed", codec.JSON[string]())
	silent = slog.New(slog.DiscardHandler)

	errBroken = errors.New("broken")
)

// charge is an effect in a transaction.
func charge(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO effects (event) VALUES ('"+e.ID+"')")
	return err
}

// once handles an event as a bus would, with Idempotent around the handler.
func once(t *testing.T, c middleware.Claims, o middleware.IdempotentOptions, id string, h bus.HandlerOf[string]) error {
	t.Helper()
	o.Logger = silent
	e := bustest.NewEvent(t, nil, orders, "x", bus.ID(id))
	e.Delivery.Delivery.Group = "billing"
	return middleware.Idempotent(c, o)(func(ctx context.Context, d *bus.Delivery) error {
		return h(ctx, &bus.Event[string]{Delivery: d, Payload: "x"})
	})(t.Context(), e.Delivery)
}

// stateOf says what a store says of a claim, and leaves it as it is.
func stateOf(t *testing.T, c middleware.Claims, id string) string {
	t.Helper()
	done, wait, err := c.Begin(t.Context(), claim(id, "somebody else"), time.Minute)
	require.NoError(t, err)
	switch {
	case done:
		return "done"
	case wait > 0:
		return "running"
	}
	require.NoError(t, c.Release(t.Context(), claim(id, "somebody else")))
	return "absent"
}

func effects(t *testing.T, db *sql.DB) int { return number(t, db, "SELECT count(*) FROM effects") }

func TestEffectAndMarkCommitTogether(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		calls := 0
		var mine transport.Claim
		h := sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
			calls++
			mine, _, _ = middleware.ClaimOf(ctx, e.Delivery)
			return charge(ctx, tx, e)
		})
		for range 3 {
			require.NoError(t, once(t, claims, middleware.IdempotentOptions{Keep: time.Hour}, "1", h))
		}
		assert.Equal(t, 1, calls)
		assert.Equal(t, 1, effects(t, db))
		assert.Equal(t, "done", stateOf(t, claims, "1"))
		assert.False(t, claims.Marked(mine), "nothing is left of it")
	})
}

// dying is a store of a process that dies when the transaction has committed.
type dying struct{ *sqlclaims.Claims }

func (dying) Finish(context.Context, transport.Claim, time.Duration) error { return errBroken }
func (dying) Release(context.Context, transport.Claim) error               { return errBroken }

func TestAProcessThatDiesAfterTheCommit(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		h := sqlclaims.InTx(claims, charge)
		err := once(t, dying{claims}, middleware.IdempotentOptions{}, "1", func(ctx context.Context, e *bus.Event[string]) error {
			require.NoError(t, h(ctx, e))
			return errBroken // the acknowledgement does not happen
		})
		require.ErrorIs(t, err, errBroken)
		require.NoError(t, once(t, claims, middleware.IdempotentOptions{}, "1", h))
		assert.Equal(t, 1, effects(t, db))
	})
}

func TestATransactionThatDoesNotCommit(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		for _, want := range []error{errBroken, bus.Snooze(time.Minute, nil), bus.Permanent(errBroken)} {
			got := once(t, claims, middleware.IdempotentOptions{}, "1", sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
				require.NoError(t, charge(ctx, tx, e))
				return want
			}))
			assert.True(t, got == want, "%v passes unchanged", want)
		}
		assert.Panics(t, func() {
			_ = once(t, claims, middleware.IdempotentOptions{}, "1", sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
				require.NoError(t, charge(ctx, tx, e))
				panic("ouch")
			}))
		})
		var ended sync.WaitGroup
		ended.Go(func() {
			_ = once(t, claims, middleware.IdempotentOptions{}, "1", sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
				_ = charge(ctx, tx, e)
				runtime.Goexit()
				return nil
			}))
		})
		ended.Wait()
		assert.Zero(t, effects(t, db))
		assert.Equal(t, "absent", stateOf(t, claims, "1"))
		assert.Zero(t, db.Stats().InUse, "no connection stays in a transaction")
	})
}

// TestACommitThatFails: a constraint is looked at only then. The next try, in the same claim, may do it.
func TestACommitThatFails(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		run(t, db, "CREATE TABLE customers (id int PRIMARY KEY)")
		run(t, db, "CREATE TABLE charges (customer int REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED)")
		try := func(customer string) bus.HandlerOf[string] {
			return sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
				require.NoError(t, charge(ctx, tx, e))
				_, err := tx.ExecContext(ctx, "INSERT INTO charges VALUES ("+customer+")")
				return err
			})
		}
		run(t, db, "INSERT INTO customers VALUES (1)")
		err := once(t, claims, middleware.IdempotentOptions{}, "1", try("2"))
		require.ErrorContains(t, err, "sqlclaims: commit: ")
		assert.Zero(t, effects(t, db))
		assert.Equal(t, "absent", stateOf(t, claims, "1"))

		require.NoError(t, once(t, claims, middleware.IdempotentOptions{}, "1", func(ctx context.Context, e *bus.Event[string]) error {
			require.Error(t, try("2")(ctx, e))
			mine, _, _ := middleware.ClaimOf(ctx, e.Delivery)
			assert.False(t, claims.Marked(mine), "it is renewed again")
			return try("1")(ctx, e)
		}))
		assert.Equal(t, 1, effects(t, db))
		assert.Equal(t, "done", stateOf(t, claims, "1"))
	})
}

func TestALostClaimRollsBack(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		for name, lose := range map[string]string{
			"another has it":  "UPDATE typedbus_claims SET owner = 'another'",
			"another did it":  "UPDATE typedbus_claims SET owner = 'another', done = TRUE",
			"it was purged":   "DELETE FROM typedbus_claims",
			"it did it twice": "UPDATE typedbus_claims SET done = TRUE",
		} {
			h := sqlclaims.InTx(claims, charge)
			err := once(t, claims, middleware.IdempotentOptions{}, name, func(ctx context.Context, e *bus.Event[string]) error {
				run(t, db, lose)
				return h(ctx, e)
			})
			require.ErrorIs(t, err, middleware.ErrClaimLost, name)
			require.ErrorContains(t, err, "sqlclaims: mark "+name, name)
			assert.Zero(t, effects(t, db), name)
			run(t, db, "DELETE FROM typedbus_claims")
		}
	})
}

func TestAnotherStoreUnderIdempotent(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		err := once(t, middleware.NewMemoryClaims(), middleware.IdempotentOptions{}, "1", sqlclaims.InTx(claims, charge))
		require.ErrorContains(t, err, "another store")
		e := bustest.NewEvent(t, nil, orders, "x", bus.ID("2"))
		require.ErrorContains(t, sqlclaims.InTx(claims, charge)(t.Context(), e), "put middleware.Idempotent")
		assert.Zero(t, effects(t, db))
	})
}

// onABus subscribes a handler under Idempotent, publishes events, and waits until they are handled.
func onABus(t *testing.T, c middleware.Claims, h bus.HandlerOf[string], ids []string, opts ...bus.SubscribeOption) *memory.Transport {
	t.Helper()
	tr := memory.New()
	t.Cleanup(func() { tr.Close() })
	b := bus.New(tr, bus.Logger(silent))
	mw := middleware.Idempotent(c, middleware.IdempotentOptions{Logger: silent})
	orders.Subscribe(b, "billing", h, append(opts, bus.Use(mw), bus.Redeliver(bus.Backoff{Min: time.Millisecond, Max: time.Millisecond}))...)
	for _, id := range ids {
		require.NoError(t, orders.Publish(t.Context(), b, "x", bus.ID(id)))
	}
	stop := bustest.Start(t, b)
	bustest.Settle(t, b)
	stop()
	return tr
}

func TestWhatIsPublishedThroughTheEventIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		var errs []error
		h := sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
			require.NoError(t, charge(ctx, tx, e))
			return orders.Publish(ctx, e, "staged")
		})
		onABus(t, claims, func(ctx context.Context, e *bus.Event[string]) error {
			errs = append(errs, h(ctx, e))
			if len(errs) < 3 {
				return errs[0]
			}
			return bus.DeadLetter("gives up", nil)
		}, []string{"1"})
		for _, err := range errs {
			require.ErrorContains(t, err, "sqlclaims: mark 1: 1 messages were published through it")
		}
		assert.Zero(t, effects(t, db))
		assert.Equal(t, "absent", stateOf(t, claims, "1"))
	})
}

// TestBatchesMarkEachEvent: one transaction for many events, some of which are duplicates.
func TestBatchesMarkEachEvent(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		var failed atomic.Bool
		h := bus.Batched(10, 10*time.Millisecond, func(ctx context.Context, es []*bus.Event[string]) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			for _, e := range es {
				if err := charge(ctx, tx, e); err != nil {
					return err
				}
				if err := claims.Mark(ctx, tx, e.Delivery); err != nil {
					return err
				}
			}
			if failed.CompareAndSwap(false, true) {
				return errBroken
			}
			return tx.Commit()
		})
		var ids []string
		for n := range 50 {
			ids = append(ids, "event-"+string(rune('a'+n%25)))
		}
		onABus(t, claims, h, ids)
		assert.Equal(t, 25, effects(t, db))
		assert.Equal(t, 25, number(t, db, "SELECT count(DISTINCT event) FROM effects"))
		assert.Equal(t, 25, number(t, db, "SELECT count(*) FROM typedbus_claims WHERE done"))
	})
}

// TestAMarkHoldsUpNobody: while a transaction has marked its claim others are renewed, and that one is not lost.
func TestAMarkHoldsUpNobody(t *testing.T) {
	d := databases["postgres"]
	_, db, claims := d.setup(t)
	ctx := t.Context()
	require.NoError(t, once(t, claims, middleware.IdempotentOptions{}, "1", func(ctx context.Context, e *bus.Event[string]) error {
		mine, keep, ok := middleware.ClaimOf(ctx, e.Delivery)
		require.True(t, ok)
		assert.Equal(t, 24*time.Hour, keep)
		assert.False(t, claims.Marked(mine))
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer tx.Rollback()
		require.NoError(t, claims.Mark(ctx, tx, e.Delivery))
		assert.True(t, claims.Marked(mine))
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_, _, err = claims.Begin(ctx, claim("2", "1"), time.Millisecond)
		require.NoError(t, err)
		lost, err := claims.Renew(ctx, []transport.Claim{mine, claim("2", "1")}, time.Hour)
		require.NoError(t, err)
		assert.Empty(t, lost)
		require.NoError(t, tx.Commit())
		lost, err = claims.Renew(ctx, []transport.Claim{mine}, time.Hour)
		require.NoError(t, err)
		assert.Empty(t, lost, "what is done by itself is not lost")
		return nil
	}))
	_, wait, err := claims.Begin(ctx, claim("2", "2"), time.Minute)
	require.NoError(t, err)
	assert.Greater(t, wait, time.Minute)
}

// TestALongTransactionIsRenewed: it takes several expiries, and another consumer wants the event meanwhile.
func TestALongTransactionIsRenewed(t *testing.T) {
	d := databases["postgres"]
	source, db, claims := d.setup(t)
	other := sqlclaims.New(d.open(t, source), d.dialect, sqlclaims.Options{})
	o := middleware.IdempotentOptions{Expiry: 600 * time.Millisecond}
	err := once(t, claims, o, "1", sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
		require.NoError(t, charge(ctx, tx, e))
		for range 4 {
			<-time.After(o.Expiry)
			assert.Equal(t, "running", stateOf(t, other, "1"))
		}
		return ctx.Err()
	}))
	require.NoError(t, err)
	assert.Equal(t, 1, effects(t, db))
}
