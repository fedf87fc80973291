// Package sqlclaims keeps the claims of [middleware.Idempotent] in a SQL database, and ends them in the application's own
// transaction: a handler's effect and the mark that it is done commit together, so that whatever dies whenever, no event has two
// effects.
//
//	claims := sqlclaims.New(db, sqlclaims.PostgreSQL, sqlclaims.Options{})
//	if err := claims.Migrate(ctx); err != nil { ... }
//
//	OrderPlaced.Subscribe(b, "billing", sqlclaims.InTx(claims, charge),
//		bus.Use(middleware.Idempotent(claims, middleware.IdempotentOptions{})))
//
//	func charge(ctx context.Context, tx *sql.Tx, e *bus.Event[Order]) error {
//		_, err := tx.ExecContext(ctx, "INSERT INTO charges ...", e.Payload.ID)
//		return err
//	}
//
// It needs no driver of its own, and is tested with github.com/jackc/pgx on PostgreSQL and modernc.org/sqlite.
//
// Time is the server's. Claims are rows of one table, two statements a delivery and three in a transaction; rows of what is to be
// forgotten are deleted by the way, see [Claims.Purge].
//
// The pool needs more connections than there are handlers, or claims are not renewed while all of them wait. Transactions are best
// left at READ COMMITTED: at higher levels one that takes longer than a third of the Expiry fails, because its claim was renewed
// meanwhile. SQLite has one writer at a time: open it with a busy timeout, in WAL mode, with transactions that begin
// IMMEDIATE.
package sqlclaims
