package sqlclaims_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/middleware/sqlclaims"
	"github.com/typedbus/typedbus/transport"
)

// What needs a database is tested in internal/sqltest.

func TestSchema(t *testing.T) {
	postgres := sqlclaims.New(nil, sqlclaims.PostgreSQL, sqlclaims.Options{}).Schema()
	assert.Contains(t, postgres, "CREATE TABLE IF NOT EXISTS typedbus_claims (")
	assert.Contains(t, postgres, "claim_key bytea NOT NULL")
	assert.Contains(t, postgres, "expires_at timestamptz NOT NULL")
	assert.Contains(t, postgres, "CREATE INDEX IF NOT EXISTS typedbus_claims_expires_at ON typedbus_claims (expires_at);")
	sqlite := sqlclaims.New(nil, sqlclaims.SQLite, sqlclaims.Options{Table: "app_claims"}).Schema()
	assert.Contains(t, sqlite, "CREATE TABLE IF NOT EXISTS app_claims (")
	assert.Contains(t, sqlite, "app_claims_expires_at ON app_claims (")
	for _, s := range []string{postgres, sqlite} {
		assert.NotContains(t, s, "{")
	}
}

func TestAWrongDeclarationIsReportedByFirstUse(t *testing.T) {
	ctx, claim := t.Context(), transport.Claim{Topic: "orders.placed", Group: "billing", Key: "k", Owner: "1"}
	event := bustest.NewEvent(t, nil, bus.NewTopic("orders.placed", codec.JSON[int]()), 1)
	for _, c := range []struct {
		dialect sqlclaims.Dialect
		table   string
		says    string
	}{
		{0, "", "dialect 0 is none"},
		{3, "", "dialect 3 is none"},
		{sqlclaims.SQLite, "claims; DROP TABLE effects", "bad table name"},
		{sqlclaims.SQLite, "app.claims", "bad table name"},
		{sqlclaims.PostgreSQL, "a.b.c", "bad table name"},
		{sqlclaims.PostgreSQL, strings.Repeat("a", 52), "bad table name"},
	} {
		claims := sqlclaims.New(nil, c.dialect, sqlclaims.Options{Table: c.table})
		_, _, begin := claims.Begin(ctx, claim, time.Minute)
		_, renew := claims.Renew(ctx, []transport.Claim{claim}, time.Minute)
		_, purge := claims.Purge(ctx)
		inTx := sqlclaims.InTx(claims, func(context.Context, *sql.Tx, *bus.Event[int]) error { return nil })
		for what, err := range map[string]error{
			"Begin": begin, "Renew": renew, "Purge": purge, "Migrate": claims.Migrate(ctx), "InTx": inTx(ctx, event),
			"Mark": claims.Mark(ctx, nil, event.Delivery), "Finish": claims.Finish(ctx, claim, 0), "Release": claims.Release(ctx, claim),
		} {
			require.ErrorContains(t, err, c.says, what)
			assert.ErrorContains(t, err, "sqlclaims: ", what)
		}
		assert.Empty(t, claims.Schema())
	}
}

func TestWithoutClaimsOrHandlerThereIsNoHandler(t *testing.T) {
	claims := sqlclaims.New(nil, sqlclaims.SQLite, sqlclaims.Options{})
	assert.Nil(t, sqlclaims.InTx(nil, func(context.Context, *sql.Tx, *bus.Event[int]) error { return nil }))
	assert.Nil(t, sqlclaims.InTx[int](claims, nil))
}
