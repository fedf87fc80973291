package sqltest

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/middleware/sqlclaims"
	"github.com/typedbus/typedbus/transport"
)

func claim(key, owner string) transport.Claim {
	return transport.Claim{Topic: "orders.placed", Group: "billing", Key: key, Owner: owner}
}

func TestManyMigrateAtTheSameTime(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		source := d.source(t)
		var all sync.WaitGroup
		for range 8 {
			claims := sqlclaims.New(d.open(t, source), d.dialect, sqlclaims.Options{Table: "claims"})
			all.Go(func() {
				for range 3 {
					assert.NoError(t, claims.Migrate(t.Context()))
				}
			})
		}
		all.Wait()
		claims := sqlclaims.New(d.open(t, source), d.dialect, sqlclaims.Options{Table: "claims"})
		_, _, err := claims.Begin(t.Context(), claim("k", "1"), time.Minute)
		require.NoError(t, err)
	})
}

func TestATableInASchema(t *testing.T) {
	d := databases["postgres"]
	db := d.open(t, d.source(t))
	run(t, db, "CREATE SCHEMA app")
	claims := sqlclaims.New(db, d.dialect, sqlclaims.Options{Table: "app.claims"})
	run(t, db, claims.Schema())
	_, _, err := claims.Begin(t.Context(), claim("k", "1"), time.Minute)
	require.NoError(t, err)
	assert.Equal(t, 1, number(t, db, "SELECT count(*) FROM app.claims"))
}

func TestAMissingTableIsReported(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		claims := sqlclaims.New(d.open(t, d.source(t)), d.dialect, sqlclaims.Options{})
		_, _, err := claims.Begin(t.Context(), claim("secret", "1"), time.Minute)
		require.ErrorContains(t, err, "sqlclaims: begin: ")
		assert.ErrorContains(t, err, "typedbus_claims")
		assert.NotContains(t, err.Error(), "secret")
	})
}

func TestPurge(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		for key, keep := range map[string]time.Duration{"done": time.Hour, "forgotten": time.Millisecond} {
			require.NoError(t, claims.Finish(t.Context(), claim(key, "1"), keep))
		}
		for key, expiry := range map[string]time.Duration{"running": time.Hour, "expired": time.Millisecond} {
			_, _, err := claims.Begin(t.Context(), claim(key, "1"), expiry)
			require.NoError(t, err)
		}
		run(t, db, `INSERT INTO typedbus_claims SELECT 't', 'g', CAST(n AS `+bytesOf(d)+`), 'o', TRUE, (SELECT min(expires_at) FROM typedbus_claims)
			FROM (WITH RECURSIVE c(n) AS (SELECT '1' UNION ALL SELECT n || '1' FROM c WHERE length(n) < 2500) SELECT n FROM c) AS numbers`)
		<-time.After(20 * time.Millisecond)
		n, err := claims.Purge(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 2500+2, n)
		assert.Equal(t, 2, number(t, db, "SELECT count(*) FROM typedbus_claims"))
		done, _, err := claims.Begin(t.Context(), claim("done", "2"), time.Minute)
		require.NoError(t, err)
		assert.True(t, done)
		_, wait, err := claims.Begin(t.Context(), claim("running", "2"), time.Minute)
		require.NoError(t, err)
		assert.Positive(t, wait)
	})
}

func bytesOf(d database) string {
	if d.dialect == sqlclaims.PostgreSQL {
		return "bytea"
	}
	return "BLOB"
}

func TestFinishDeletesByTheWay(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, db, claims := d.setup(t)
		for n := range 1200 {
			require.NoError(t, claims.Finish(t.Context(), claim(fmt.Sprint(n), "1"), time.Microsecond))
		}
		assert.LessOrEqual(t, number(t, db, "SELECT count(*) FROM typedbus_claims"), 700)
	})
}

// TestLongKeys: they are kept with a hash, which is the name of no other key.
func TestLongKeys(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		_, _, claims := d.setup(t)
		long := strings.Repeat("x", 300)
		_, _, err := claims.Begin(t.Context(), claim(long, "1"), time.Minute)
		require.NoError(t, err)
		hash := sha256.Sum256([]byte(long))
		for n := range 257 {
			_, wait, err := claims.Begin(t.Context(), claim(long[:n]+string(hash[:]), "2"), time.Minute)
			require.NoError(t, err)
			require.Zero(t, wait, "after %d bytes", n)
		}
	})
}
