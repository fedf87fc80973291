package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// deathsEach is how many processes an event may kill before it is dead: MaxCrashes of dlq.Route.
const deathsEach = 5

// TestPoison: each kind of it among good entries, with a consumer that is started again whenever it dies.
func TestPoison(t *testing.T) {
	t.Parallel()
	s, tr := setup(t)
	fl := &flood{forger: newForger(t, 1), c: s.Client(), sent: map[string]*forgery{}, seen: map[string][]string{}}
	all := fl.poison()
	for _, g := range all {
		topic := parcels[g.format].Name()
		id, err := fl.c.XAdd(t.Context(), &redis.XAddArgs{Stream: topic, Values: g.fields}).Result()
		require.NoError(t, err)
		fl.sent[place(topic, id)] = g
	}
	for format, deadly := range map[string]int{"json": 2, "msgpack": 1, "zstd": 0} {
		deaths := fl.untilSettled(t, tr, s, format)
		assert.LessOrEqual(t, deaths, deadly*deathsEach, format)
		assert.GreaterOrEqual(t, deaths, deadly, "%s: has nobody died?", format)
	}
	fl.judgePoison(t)
}

// poison is each kind, with good ones before and after.
func (f *forger) poison() (all []*forgery) {
	bad := func(kind, format, data string) {
		g := &forgery{kind: kind, format: format, fields: []string{"id", kind, "ct", contentTypes[format], "data", data}}
		all = append(all, f.plain(), g, f.plain())
	}
	bad("exit", "json", f.body("json", Parcel{Note: noteExit}))
	bad("exit too", "json", f.body("json", Parcel{Note: noteExit}))
	bad("panic", "json", f.body("json", Parcel{Note: notePanic}))
	bad("five bytes", "msgpack", "\xdd\xff\xff\xff\xff")
	bad("panic", "msgpack", f.body("msgpack", Parcel{Note: notePanic}))
	bad("exit", "msgpack", f.body("msgpack", Parcel{Note: noteExit}))
	for _, heavy := range f.heavy {
		g := &forgery{}
		heavy(f, g)
		all = append(all, f.plain(), g, f.plain())
	}
	return all
}

// untilSettled starts the consumer of a topic again until nothing is left, and counts how often it died.
func (fl *flood) untilSettled(t *testing.T, tr *redisstream.Transport, s *redistest.Server, format string) (deaths int) {
	t.Helper()
	for ; deaths < 100; deaths++ {
		c := start(t, "fragile "+format, s.URL)
		died := fl.listen(c)
		eventually(t, "an end or a death", func() error {
			select {
			case <-died:
				return nil
			default:
				return settled(t.Context(), tr, parcels[format].Name())
			}
		})
		c.Terminate()
		if <-died; c.Wait() {
			return deaths
		}
	}
	return deaths
}

// judgePoison wants each poison dead once and with its bytes, for its reason, and the good ones handled: each as the first
// attempt, because the death of a neighbour counts as none.
func (fl *flood) judgePoison(t *testing.T) {
	t.Helper()
	dead := map[string][]*forgery{}
	for _, topic := range parcels {
		for _, l := range lettersOf(t, fl.c, topic.Name()) {
			at := place(topic.Name(), l.get("typedbus.origin"))
			dead[at] = append(dead[at], l)
		}
	}
	for at, g := range fl.sent {
		if g.good {
			assert.Empty(t, dead[at], "%s: a good one is dead", at)
			assert.Contains(t, firsts(fl.seen[at]), fmt.Sprint(g.n, " 1"), "%s: a good one is not handled", at)
			continue
		}
		if assert.Len(t, dead[at], 1, "%s %s", g.kind, at) {
			l := dead[at][0]
			assert.True(t, maps.Equal(messageOf(g.fields), messageOf(l.fields)), "%s: not as it was stored", g.kind)
			assert.Equal(t, g.reason(), l.get("typedbus.reason"), g.kind)
		}
	}
}

// firsts cuts off how often each was delivered without an outcome.
func firsts(seen []string) (all []string) {
	for _, s := range seen {
		all = append(all, s[:strings.LastIndexByte(s, ' ')])
	}
	return all
}

// reason is what a poison's letter must say.
func (g *forgery) reason() string {
	switch g.kind {
	case "exit", "exit too":
		return dlq.Crashed
	case "panic":
		return dlq.Exhausted
	}
	return dlq.DecodeError
}
