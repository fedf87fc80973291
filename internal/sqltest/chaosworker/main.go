// Command chaosworker has the processes of a chaos run whose handlers have their effects in PostgreSQL: the database, its
// consumers, and the one that reads the effects in the end. It lives here because of the driver.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/childtest"
	"github.com/typedbus/typedbus/internal/sqltest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/sqlclaims"
	"github.com/typedbus/typedbus/transport/redisstream"
)

var roles = map[string]func(context.Context, child.Spec) error{"database": serve, "consumer": consume, "effects": effects}

func main() {
	role := os.Getenv(childtest.Name)
	if err := child.Play(context.Background(), roles[role]); err != nil {
		fmt.Fprintln(os.Stderr, "chaosworker:", role, err)
		os.Exit(1)
	}
}

// Nothing in the table of effects keeps one from being there twice. The other one has the deliveries of what was done.
const tables = "CREATE TABLE effects (event text NOT NULL); CREATE TABLE passed_over (event text NOT NULL)"

// serve runs a database until ctx ends, and prints where it is.
func serve(ctx context.Context, _ child.Spec) error {
	server, err := sqltest.StartPostgres()
	if err != nil {
		return err
	}
	defer server.Stop()
	source, err := server.Database(ctx)
	if err != nil {
		return err
	}
	db, err := sql.Open("pgx", source)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := sqlclaims.New(db, sqlclaims.PostgreSQL, sqlclaims.Options{}).Migrate(ctx); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, tables); err != nil {
		return err
	}
	fmt.Println("source", source)
	<-ctx.Done()
	return nil
}

// consume handles events. A handler lingers in its transaction, and again when that is committed: it may be killed in both places.
func consume(ctx context.Context, s child.Spec) error {
	db, err := sql.Open("pgx", s.Sink)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(2 * s.Concurrency)
	db.SetMaxIdleConns(2 * s.Concurrency)
	claims := sqlclaims.New(db, sqlclaims.PostgreSQL, sqlclaims.Options{})
	inTx := sqlclaims.InTx(claims, func(ctx context.Context, tx *sql.Tx, e *bus.Event[child.Job]) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO effects (event) VALUES ($1)", e.ID)
		s.Lingers(ctx)
		return err
	})
	return child.Logging(s, func(log history.Log) error {
		c := child.Consumer{Spec: s, Log: log}
		c.Use = func(*redisstream.Transport) []bus.Middleware { return []bus.Middleware{observed(db), s.Once(claims)} }
		c.Do = func(ctx context.Context, e *bus.Event[child.Job]) error {
			err := inTx(ctx, e)
			s.Lingers(ctx)
			return err
		}
		return c.Run(ctx)
	})
}

// observed has an observer told what is passed over.
func observed(db *sql.DB) bus.Middleware {
	return func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			return next(middleware.Observed(ctx, observer{db}), d)
		}
	}
}

type observer struct{ db *sql.DB }

func (observer) Retried(context.Context, *bus.Delivery, int, time.Duration, error) {}

func (o observer) Duplicate(ctx context.Context, d *bus.Delivery, done bool) {
	if done {
		_, _ = o.db.ExecContext(ctx, "INSERT INTO passed_over (event) VALUES ($1)", d.ID) // it is for the table only
	}
}

// effects writes down every effect that the database has, and prints how many deliveries were passed over.
func effects(ctx context.Context, s child.Spec) error {
	db, err := sql.Open("pgx", s.Sink)
	if err != nil {
		return err
	}
	defer db.Close()
	var over int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM passed_over").Scan(&over); err != nil {
		return err
	}
	fmt.Println("over", over)
	rows, err := db.QueryContext(ctx, "SELECT event FROM effects")
	if err != nil {
		return err
	}
	defer rows.Close()
	return child.Logging(s, func(log history.Log) error {
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			log.Log(history.Record{What: history.Effect, ID: id})
		}
		return rows.Err()
	})
}
