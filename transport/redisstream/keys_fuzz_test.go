package redisstream

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/transport"
)

// What names something in Redis.
type named struct{ prefix, topic, group, claim, consumer string }

func (n named) valid() bool {
	return validPrefix(n.prefix) && transport.CheckName("topic", n.topic) == nil && transport.CheckName("group", n.group) == nil
}

// keys are all that n has in Redis, by what they are and for whom: two that are the same thing have the same name here.
func (n named) keys() map[string]string {
	k := topicKeys(n.prefix, n.topic)
	g := k.group(n.group)
	topic := "of " + n.prefix + n.topic + " "
	group := topic + n.group + " "
	return map[string]string{
		topic + "stream": k.stream, topic + "due": k.due, topic + "due:body": k.dueBody, topic + "outbox": k.outbox,
		topic + "once " + n.consumer: k.mark(n.consumer),
		group + "retry":              g.retry, group + "due": g.groupDue, group + "due:body": g.groupDueBody, group + "dead": g.dead,
		group + "dead:put": g.deadPut, group + "dead:dropped": g.deadDropped, group + "acts": g.acts, group + "cursor": g.cursor,
		group + "claim " + n.claim: claimKey(n.prefix, n.topic, n.group, n.claim),
	}
}

// FuzzKeys: all keys of a topic are in its slot, and no two things of two topics and groups share one. The same stream by another
// cut between prefix and name is the same thing.
func FuzzKeys(f *testing.F) {
	f.Add("", "orders", "billing", "42", "due", "", "orders", "due", "body", "put")
	f.Add("shop:", "a", "dead", "", "x", "shop", "a", "dead:put", "dropped", "")
	f.Add("", "a", "seen", "256:x", "once", "a", "b", "seen256", strings.Repeat("x", 129), ":")
	f.Add("a:", "b", "outbox", "}", "{", "", "outbox", "once", "{", "}")
	f.Add("", "a", "g", strings.Repeat("a", 128), "c", "", "a", "g", strings.Repeat("a", 129), "d")
	f.Fuzz(func(t *testing.T, prefix1, topic1, group1, claim1, consumer1, prefix2, topic2, group2, claim2, consumer2 string) {
		seen := map[string]string{}
		for _, n := range []named{{prefix1, topic1, group1, claim1, consumer1}, {prefix2, topic2, group2, claim2, consumer2}} {
			if !n.valid() {
				continue
			}
			want := slot(n.prefix + n.topic)
			for what, key := range n.keys() {
				require.Equal(t, want, slot(key), "%s is in another slot than its stream: %q", what, key)
				if other, taken := seen[key]; taken {
					require.Equal(t, other, what, "both are %q", key)
				}
				seen[key] = what
			}
		}
	})
}

// FuzzEntryID: an id is read as Redis wrote it, and the one before it is less.
func FuzzEntryID(f *testing.F) {
	for _, id := range []string{"", "-", "0-0", "1526919030474-55", "18446744073709551615-18446744073709551615", "1", "01-1", "+1-1", "1-1-1", "9223372036854775808-0"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		ms, seq, ok := parseEntryID(id)
		_ = entryTime(id)
		start, pages := pageStart(id)
		require.Equal(t, ok || id == "", pages)
		require.NotEmpty(t, start)
		if !ok {
			require.False(t, isLetterID(id))
			return
		}
		before := entryIDBefore(ms, seq)
		require.True(t, isLetterID(before))
		if ms|seq != 0 {
			require.True(t, entryIDLess(before, id), "%s is not before %s", before, id)
		}
		require.False(t, entryIDLess(id, id))
	})
}
