package sqltest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/typedbus/typedbus/internal/childtest"
	"github.com/typedbus/typedbus/middleware/sqlclaims"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childtest.Name); name != "" {
		runChild(databases[name])
		return
	}
	code := m.Run()
	if running != nil {
		running.Stop()
	}
	if err := goleak.Find(goleak.IgnoreTopFunction("github.com/redis/go-redis/v9/internal/pool.startGlobalTimeCache.func1")); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// A database is a kind of database, and makes one for a test: its source may be opened many times, as by many processes.
type database struct {
	dialect sqlclaims.Dialect
	driver  string
	source  func(t testing.TB) string
}

var databases = map[string]database{
	"postgres": {sqlclaims.PostgreSQL, "pgx", postgresSource},
	"sqlite":   {sqlclaims.SQLite, "sqlite", sqliteSource},
}

// running is one server for all tests, nil before the first that needs it.
var (
	running  *Postgres
	starting sync.Mutex
)

func postgresSource(t testing.TB) string {
	t.Helper()
	starting.Lock()
	defer starting.Unlock()
	if running == nil {
		p, err := StartPostgres()
		require.NoError(t, err)
		running = p
	}
	source, err := running.Database(t.Context())
	require.NoError(t, err)
	return source
}

func sqliteSource(t testing.TB) string { return sqliteFile(filepath.Join(t.TempDir(), "db")) }

func sqliteFile(name string) string {
	settings := url.Values{
		"_pragma": {"busy_timeout(20000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
	}
	return "file:" + name + "?" + settings.Encode()
}

func (d database) open(t testing.TB, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.driver, source)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// setup is a database with a table of claims, and one of effects that keeps nothing from being there twice.
func (d database) setup(t testing.TB) (source string, db *sql.DB, claims *sqlclaims.Claims) {
	t.Helper()
	source = d.source(t)
	db = d.open(t, source)
	claims = sqlclaims.New(db, d.dialect, sqlclaims.Options{})
	require.NoError(t, claims.Migrate(t.Context()))
	run(t, db, "CREATE TABLE effects (event text NOT NULL)")
	return source, db, claims
}

func run(t testing.TB, db *sql.DB, query string) {
	t.Helper()
	_, err := db.ExecContext(context.WithoutCancel(t.Context()), query)
	require.NoError(t, err, query)
}

// number is the one number that a query returns.
func number(t testing.TB, db *sql.DB, query string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&n), query)
	return n
}

func onEach(t *testing.T, f func(t *testing.T, d database)) {
	for name, d := range databases {
		t.Run(name, func(t *testing.T) { f(t, d) })
	}
}
