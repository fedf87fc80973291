package sqlclaims

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Dialect is how a database speaks SQL.
type Dialect int

const (
	// PostgreSQL is 12 or later.
	PostgreSQL Dialect = iota + 1
	// SQLite is 3.42 or later.
	SQLite
)

// words are what differs between the dialects. Times are compared by the server, and given and asked for in microseconds.
type words struct {
	bytes, truth, time string // types
	now                string
	later              string // now and parameter 1
	left               string // from now to expires_at
	parameter          string // before its number
	lock               string // makes Migrate wait for others who migrate
	row                string // what identifies one, for a moment
	skip               string // rows that others have locked
}

var dialects = map[Dialect]words{
	PostgreSQL: {
		bytes: "bytea", truth: "boolean", time: "timestamptz",
		now:       "clock_timestamp()",
		later:     "clock_timestamp() + $1::bigint * interval '1 microsecond'",
		left:      "(extract(epoch FROM expires_at - clock_timestamp()) * 1000000)::bigint",
		parameter: "$",
		lock:      "SELECT pg_advisory_xact_lock(hashtext('{table}'))",
		row:       "ctid",
		skip:      "FOR UPDATE SKIP LOCKED",
	},
	SQLite: {
		bytes: "BLOB", truth: "INTEGER", time: "INTEGER",
		now:       sqliteNow,
		later:     sqliteNow + " + ?1",
		left:      "expires_at - " + sqliteNow,
		parameter: "?",
		row:       "rowid",
	},
}

// sqliteNow is in whole milliseconds, which is what the clock of SQLite has.
const sqliteNow = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000"

const (
	schema = `CREATE TABLE IF NOT EXISTS {table} (
	topic text NOT NULL,
	consumer_group text NOT NULL,
	claim_key {bytes} NOT NULL,
	owner text NOT NULL,
	done {truth} NOT NULL,
	expires_at {time} NOT NULL,
	PRIMARY KEY (topic, consumer_group, claim_key)
);
CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at);
`
	// Parameter 1 is a duration; those of the name follow, and the owner.
	begin = `INSERT INTO {table} AS c (topic, consumer_group, claim_key, owner, done, expires_at) VALUES {rows}
ON CONFLICT (topic, consumer_group, claim_key) DO UPDATE SET owner = excluded.owner, done = FALSE, expires_at = excluded.expires_at
WHERE c.expires_at <= {now} OR NOT c.done AND c.owner = excluded.owner
RETURNING topic, consumer_group, claim_key`
	beginRow = `({2}, {3}, {4}, {5}, FALSE, {later})`

	finish = `INSERT INTO {table} (topic, consumer_group, claim_key, owner, done, expires_at) VALUES ({2}, {3}, {4}, {5}, TRUE, {later})
ON CONFLICT (topic, consumer_group, claim_key) DO UPDATE SET owner = excluded.owner, done = TRUE, expires_at = excluded.expires_at`

	mark = `UPDATE {table} SET done = TRUE, expires_at = {later}
WHERE topic = {2} AND consumer_group = {3} AND claim_key = {4} AND owner = {5} AND NOT done`

	look    = `SELECT done, {left} FROM {table} WHERE topic = {1} AND consumer_group = {2} AND claim_key = {3}`
	release = `DELETE FROM {table} WHERE topic = {1} AND consumer_group = {2} AND claim_key = {3} AND owner = {4} AND NOT done`
	purge   = `DELETE FROM {table} WHERE {row} IN (SELECT {row} FROM {table} WHERE expires_at <= {now} LIMIT {1} {skip})`
)

// statements are the SQL of one table.
type statements struct {
	words
	schema, lock, begin, finish, mark, look, release, purge string
}

// tableName may have a schema before it. It goes into SQL as it is.
var tableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,50}$`)

func newStatements(d Dialect, table string) (*statements, error) {
	w, ok := dialects[d]
	if !ok {
		return nil, fmt.Errorf("dialect %d is none: give New PostgreSQL or SQLite", d)
	}
	if !tableName.MatchString(table) || d == SQLite && strings.Contains(table, ".") {
		return nil, fmt.Errorf("bad table name %.100q: it has letters, digits and underscores, at most 51; in PostgreSQL a schema and a dot may stand before it", table)
	}
	index := table[strings.LastIndex(table, ".")+1:] + "_expires_at"
	fill := func(s string) string {
		s = strings.ReplaceAll(s, "{later}", w.later)
		return numbered(w.parameter, 0, strings.NewReplacer("{table}", table, "{index}", index, "{bytes}", w.bytes, "{truth}", w.truth,
			"{time}", w.time, "{now}", w.now, "{left}", w.left, "{row}", w.row, "{skip}", w.skip).Replace(s))
	}
	return &statements{words: w, schema: fill(schema), lock: fill(w.lock), begin: fill(begin), finish: fill(finish), mark: fill(mark),
		look: fill(look), release: fill(release), purge: fill(purge)}, nil
}

// numbered puts the parameters of a dialect for {1} to {5}, counted from further on.
func numbered(parameter string, from int, s string) string {
	for n := 1; n <= 5; n++ {
		s = strings.ReplaceAll(s, "{"+strconv.Itoa(n)+"}", parameter+strconv.Itoa(from+n))
	}
	return s
}

// beginning is the statement that begins n claims.
func (s *statements) beginning(n int) string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = numbered(s.parameter, 4*i, strings.ReplaceAll(beginRow, "{later}", s.later))
	}
	return strings.ReplaceAll(s.begin, "{rows}", strings.Join(rows, ", "))
}
