package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/childtest"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/sqlclaims"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

const (
	kills    = 16
	eachKill = 60 // events published before it
	patience = 2 * time.Minute
	lease    = time.Second
)

// TestNoDoubleEffects: events are published two or three times, and consumers killed (kill -9) in the midst of them, again and
// again. At the end each event has one effect.
func TestNoDoubleEffects(t *testing.T) {
	for name, d := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, db, _ := d.setup(t)
			run(t, db, "CREATE TABLE tries (event text NOT NULL)")
			server := redistest.Start(t)
			tr, err := redisstream.Open(t.Context(), server.URL, redisstream.Options{})
			require.NoError(t, err)
			defer tr.Close()
			b := bus.New(tr, bus.Logger(silent))

			consumers := [2]child{start(t, name, source, server.URL), start(t, name, source, server.URL)}
			for n := range kills {
				publishCopies(t, b, n*eachKill, eachKill)
				victim := &consumers[n%2]
				for range 1 + rand.IntN(eachKill) {
					if !victim.handles(t) {
						break
					}
				}
				victim.kill()
				*victim = start(t, name, source, server.URL)
			}
			nothingLeft(t, tr)
			for _, c := range consumers {
				c.stop(t)
			}
			const events = kills * eachKill
			assert.Equal(t, events, effects(t, db), "one effect for each event")
			assert.Equal(t, events, number(t, db, "SELECT count(DISTINCT event) FROM effects"))
			assert.Equal(t, events, number(t, db, "SELECT count(*) FROM typedbus_claims WHERE done"))
			tries := number(t, db, "SELECT count(*) FROM tries")
			t.Logf("%d events, %d effects, %d tries, %d processes killed", events, effects(t, db), tries, kills)
			assert.Greater(t, tries, events, "no process was killed in the midst of an event: this has shown nothing")
		})
	}
}

// publishCopies publishes events two or three times each, in any order.
func publishCopies(t *testing.T, b *bus.Bus, from, n int) {
	t.Helper()
	var ids []string
	for i := range n {
		for range 2 + rand.IntN(2) {
			ids = append(ids, fmt.Sprintf("event-%05d", from+i))
		}
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, id := range ids {
		require.NoError(t, orders.Publish(t.Context(), b, "x", bus.ID(id)))
	}
}

// nothingLeft waits until the group has nothing to do.
func nothingLeft(t *testing.T, tr *redisstream.Transport) {
	t.Helper()
	require.NoError(t, redistest.Eventually(patience, func(ctx context.Context) error {
		lag, err := tr.Lag(ctx, transport.Topic{Name: orders.Name()}, "billing")
		if err == nil && lag.Undelivered+lag.Pending+lag.Waiting != 0 {
			err = fmt.Errorf("%+v", lag)
		}
		return err
	}))
}

// A child is a consumer, a process of the test binary. It prints a line each time it handles an event.
type child struct{ *childtest.Process }

func start(t *testing.T, name, source, redis string) child {
	t.Helper()
	return child{childtest.Start(t, name, "TYPEDBUS_SOURCE="+source, "TYPEDBUS_URL="+redis)}
}

// handles waits until the child handles another event; false if there is none left for it.
func (c child) handles(t *testing.T) bool {
	t.Helper()
	select {
	case _, ok := <-c.Lines:
		require.True(t, ok, "a consumer ended by itself")
		return true
	case <-time.After(5 * time.Second):
	}
	return false
}

func (c child) kill() {
	c.Kill()
	c.Wait()
}

func (c child) stop(t *testing.T) {
	t.Helper()
	c.Terminate()
	assert.True(t, c.Wait(), "a consumer ended with an error")
}

// runChild is a consumer. It counts tries outside the transaction, and effects in it.
func runChild(d database) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := consume(ctx, d); err != nil {
		fmt.Fprintln(os.Stderr, "consumer:", err)
		os.Exit(1)
	}
}

func consume(ctx context.Context, d database) error {
	db, err := sql.Open(d.driver, os.Getenv("TYPEDBUS_SOURCE"))
	if err != nil {
		return err
	}
	defer db.Close()
	tr, err := redisstream.Open(ctx, os.Getenv("TYPEDBUS_URL"), redisstream.Options{})
	if err != nil {
		return err
	}
	defer tr.Close()
	claims := sqlclaims.New(db, d.dialect, sqlclaims.Options{})
	var out sync.Mutex
	inTx := sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[string]) error {
		if err := charge(ctx, tx, e); err != nil {
			return err
		}
		out.Lock()
		fmt.Println(e.ID)
		out.Unlock()
		<-time.After(rand.N(5 * time.Millisecond))
		return nil
	})
	b := bus.New(tr, bus.Logger(silent))
	orders.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[string]) error {
		if _, err := db.ExecContext(ctx, "INSERT INTO tries (event) VALUES ('"+e.ID+"')"); err != nil {
			return err
		}
		return inTx(ctx, e)
	}, bus.Use(middleware.Idempotent(claims, middleware.IdempotentOptions{Expiry: lease, Logger: silent})),
		bus.Lease(lease), bus.Concurrency(4), bus.Redeliver(bus.Backoff{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}))
	return b.Run(ctx)
}
