package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/sqlclaims"
	"github.com/typedbus/typedbus/transport/memory"
)

// A handler writes in a transaction that commits together with the mark that the event is done. What is published twice, or comes
// again because a process died, has one effect.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	db, _ := sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	defer db.Close()
	_, _ = db.ExecContext(ctx, "CREATE TABLE charges (order_id text, cents int)")
	claims := sqlclaims.New(db, sqlclaims.SQLite, sqlclaims.Options{})
	if err := claims.Migrate(ctx); err != nil {
		fmt.Println(err)
		return
	}

	type Order struct {
		ID    string
		Cents int
	}
	placed := bus.NewTopic("orders.placed", codec.JSON[Order]())
	charge := func(ctx context.Context, tx *sql.Tx, e *bus.Event[Order]) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO charges VALUES (?, ?)", e.Payload.ID, e.Payload.Cents)
		if e.Payload.ID == "o-2" {
			stop()
		}
		return err
	}
	b := bus.New(memory.New())
	placed.Subscribe(b, "billing", sqlclaims.InTx(claims, charge), bus.Concurrency(1),
		bus.Use(middleware.Idempotent(claims, middleware.IdempotentOptions{})))
	for range 3 {
		_ = placed.Publish(ctx, b, Order{"o-1", 995}, bus.ID("placed-o-1"))
	}
	_ = placed.Publish(ctx, b, Order{"o-2", 1250}, bus.ID("placed-o-2"))
	_ = b.Run(ctx)

	var charges, cents int
	_ = db.QueryRow("SELECT count(*), sum(cents) FROM charges").Scan(&charges, &cents)
	fmt.Println(charges, "charges of", cents, "cents")
	// Output: 2 charges of 2245 cents
}
