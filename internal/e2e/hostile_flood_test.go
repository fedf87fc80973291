package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// What a run of the flood may be told by the environment.
const (
	envEntries = "TYPEDBUS_HOSTILE_ENTRIES" // how many are hostile, and as many good ones stand between them; default 3,000
	envSeed    = "TYPEDBUS_HOSTILE_SEED"    // default: by chance
)

func number(t *testing.T, env string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, env)
	return n
}

// apart is how many hostile entries stand between two heavy ones, of 10 MB or more, and mostLaden how many of those there are at most.
const (
	apart     = 250
	mostLaden = 55
)

// TestAFloodOfHostileEntries: among entries that mean harm every good one is handled, once and as it was; every bad one is in
// the dead letters, once and as it was; the process lives, and in bounded memory. With more entries:
//
//	TYPEDBUS_HOSTILE_ENTRIES=100000 go test ./internal/e2e -run FloodOfHostileEntries -count 1 -v
func TestAFloodOfHostileEntries(t *testing.T) {
	t.Parallel()
	seed := number(t, envSeed, rand.Uint64())
	entries := int(number(t, envEntries, 3000))
	t.Logf("%s=%d %s=%d", envSeed, seed, envEntries, entries)
	s, tr := setup(t)
	fl := &flood{forger: newForger(t, seed), c: s.Client(), sent: map[string]*forgery{}, seen: map[string][]string{}}
	consumer := start(t, "parcels", s.URL)
	pid, err := strconv.Atoi(strings.TrimPrefix(consumer.await(t, "pid "), "pid "))
	require.NoError(t, err)
	done := fl.listen(consumer)

	began := time.Now()
	fl.store(t, entries)
	stored := time.Since(began)
	limit := patience + time.Duration(entries)*5*time.Millisecond
	for _, topic := range parcels {
		require.NoError(t, redistest.Eventually(limit, func(ctx context.Context) error { return settled(ctx, tr, topic.Name()) }))
	}
	peak := resident(t, pid)
	t.Logf("%d entries stored in %v, over after %v; the consumer took %d MiB", len(fl.sent), stored, time.Since(began), peak>>20)
	consumer.Terminate()
	<-done
	assert.True(t, consumer.Wait(), "the process lived until it was told to end")
	assert.Less(t, peak, maxResident())
	fl.judge(t)
}

func settled(ctx context.Context, tr *redisstream.Transport, topic string) error {
	lag, err := tr.Lag(ctx, transport.Topic{Name: topic}, "sorting")
	if err == nil && lag.Undelivered+lag.Pending+lag.Waiting != 0 {
		err = fmt.Errorf("%s: %+v", topic, lag)
	}
	return err
}

// A flood is what was stored and what came of it, by topic and entry id.
type flood struct {
	*forger
	c    *redis.Client
	sent map[string]*forgery

	mu   sync.Mutex
	seen map[string][]string // what handlers said
}

func place(topic, id string) string { return topic + " " + id }

// listen collects what handlers say, until the process ends.
func (fl *flood) listen(c child) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for line := range c.Lines {
			if words := strings.SplitN(line, " ", 4); words[0] == "unpacked" {
				fl.mu.Lock()
				at := place(words[1], words[2])
				fl.seen[at] = append(fl.seen[at], words[3])
				fl.mu.Unlock()
			}
		}
	}()
	return done
}

// store makes and stores entries hostile entries, and as many good ones in between.
func (fl *flood) store(t *testing.T, entries int) {
	t.Helper()
	every := max(entries/mostLaden, apart)
	for batch := range slices.Chunk(fl.plan(entries, every), 200) {
		pipe := fl.c.Pipeline()
		for _, g := range batch {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: parcels[g.format].Name(), Values: g.fields})
		}
		cmds, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		for i, cmd := range cmds {
			fl.sent[place(parcels[batch[i].format].Name(), cmd.(*redis.StringCmd).Val())] = batch[i]
		}
	}
}

func (fl *flood) plan(entries, every int) []*forgery {
	all := make([]*forgery, 0, 2*entries)
	for i := range entries {
		hostile := fl.forged
		if i%every == every-1 {
			hostile = func() *forgery { return fl.laden(i / every) }
		}
		all = append(all, fl.plain(), hostile())
	}
	return all
}

// judge compares what became of the entries with what must.
func (fl *flood) judge(t *testing.T) {
	t.Helper()
	dead := map[string]int{}
	for _, topic := range parcels {
		for _, l := range lettersOf(t, fl.c, topic.Name()) {
			at := place(topic.Name(), l.get("typedbus.origin"))
			dead[at]++
			if g := fl.sent[at]; assert.NotNil(t, g, "a letter of nothing: %s", at) && !g.good {
				assert.Contains(t, whyDead, l.get("typedbus.reason"), g.kind)
				assert.True(t, maps.Equal(messageOf(g.fields), messageOf(l.fields)), "%s %s: not as it was stored", g.kind, at)
			}
		}
	}
	became := map[string]int{}
	for at, g := range fl.sent {
		if problem := g.wrong(fl.seen[at], dead[at]); problem != "" {
			t.Errorf("%s %s: %s: %.300q", g.kind, at, problem, g.fields)
		}
		became[fmt.Sprintf("%s, good: %v", g.kind, g.good)]++
	}
	for _, kind := range slices.Sorted(maps.Keys(became)) {
		t.Logf("%6d %s", became[kind], kind)
	}
}

// wrong says what is wrong with what became of an entry.
func (g *forgery) wrong(seen []string, letters int) string {
	want := fmt.Sprint(g.n, " 1 0") // the first attempt, never redelivered, whatever the entry says
	switch {
	case g.good && (len(seen) != 1 || seen[0] != want || letters != 0):
		return fmt.Sprintf("it is good, handled as %q and not only as %q, with %d letters", seen, want, letters)
	case !g.good && (len(seen) != 0 || letters != 1):
		return fmt.Sprintf("it is bad, handled as %q, with %d letters", seen, letters)
	}
	return ""
}

// lettersOf reads all dead letters of a topic.
func lettersOf(t *testing.T, c *redis.Client, topic string) (all []*forgery) {
	t.Helper()
	for start := "-"; ; {
		page, err := c.XRangeN(t.Context(), "{"+topic+"}:sorting:dead", start, "+", 100).Result()
		require.NoError(t, err)
		for _, e := range page {
			l := &forgery{}
			for name, v := range e.Values {
				l.fields = append(l.fields, name, v.(string))
			}
			all = append(all, l)
			start = "(" + e.ID
		}
		if len(page) == 0 {
			return all
		}
	}
}

// messageOf is what of an entry's fields is the message's; too many for a script are packed, as docs/wire-format.md says.
func messageOf(fields []string) map[string]string {
	m := lastOf(fields)
	packed := m["typedbus.fields"]
	for name := range m {
		if strings.HasPrefix(name, "typedbus.") {
			delete(m, name)
		}
	}
	if len(m) > 0 {
		return m // whatever it says that is packed is forged
	}
	for packed != "" {
		var name string
		name, packed = cutPacked(packed)
		m[name], packed = cutPacked(packed)
	}
	return m
}

func cutPacked(s string) (first, rest string) {
	length, rest, _ := strings.Cut(s, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n > len(rest) {
		return s, ""
	}
	return rest[:n], rest[n:]
}
