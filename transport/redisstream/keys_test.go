package redisstream

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/internal/redistest"
)

// slot is the Cluster slot of a key, as in the Redis Cluster specification: CRC16 (XMODEM) of the hash tag.
func slot(key string) uint16 {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '}'); j > 0 {
			key = key[i+1 : i+1+j]
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}

func TestSlotIsThatOfRedis(t *testing.T) {
	c := redistest.StartCluster(t, 1, 0).Client()
	for _, key := range []string{"orders.placed", "{orders.placed}:due", "{}x", "a{b}c{d}", "", "{x", "shop:a/b"} {
		n, err := c.ClusterKeySlot(t.Context(), key).Result()
		require.NoError(t, err)
		require.EqualValues(t, n, slot(key), key)
	}
}

const nameRule = `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`

// allKeys are those of a topic and two groups, by what they are.
func allKeys(prefix, topic string, groups ...string) map[string]string {
	k := topicKeys(prefix, topic)
	all := map[string]string{"stream": k.stream, "due": k.due, "due:body": k.dueBody, "outbox": k.outbox, "mark": k.mark("due")}
	for _, name := range groups {
		g := k.group(name)
		for what, key := range map[string]string{
			"retry": g.retry, "due": g.groupDue, "due:body": g.groupDueBody, "dead": g.dead, "cursor": g.cursor,
			"put": g.deadPut, "dropped": g.deadDropped, "acts": g.acts,
			"claim": claimKey(prefix, topic, name, "dead:put"), "long claim": claimKey(prefix, topic, name, strings.Repeat("}", 129)),
		} {
			all["group "+name+" "+what] = key
		}
	}
	return all
}

func TestKeysOfATopicShareItsSlot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringMatching(`[A-Za-z0-9._:/-]{0,20}`).Draw(t, "prefix")
		topic := rapid.StringMatching(nameRule).Draw(t, "topic")
		group := rapid.StringMatching(nameRule).Draw(t, "group")
		require.True(t, validPrefix(prefix))
		want := slot(topicKeys(prefix, topic).stream)
		for what, key := range allKeys(prefix, topic, group) {
			require.Equal(t, want, slot(key), what)
		}
	})
}

func TestNoTwoThingsShareAKey(t *testing.T) {
	// Names made of few characters, and of words that keys are made of, collide soonest.
	name := rapid.OneOf(rapid.StringMatching(`[ab][ab.-]{0,2}`), rapid.SampledFrom([]string{"due", "body", "retry", "dead", "outbox", "cursor", "acts", "put", "seen"}))
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.SampledFrom([]string{"", "a:", "due:"}).Draw(t, "prefix")
		topics := rapid.SliceOfNDistinct(name, 2, 4, rapid.ID).Draw(t, "topics")
		groups := rapid.SliceOfNDistinct(name, 2, 4, rapid.ID).Draw(t, "groups")
		seen := map[string]string{}
		for _, topic := range topics {
			for what, key := range allKeys(prefix, topic, groups...) {
				what = topic + ": " + what
				if other, ok := seen[key]; ok {
					t.Fatalf("%s and %s are both %s", other, what, key)
				}
				seen[key] = what
			}
		}
	})
}

func TestNoTwoClaimsShareAKey(t *testing.T) {
	long := strings.Repeat("a", maxClaimKey+1)
	sum := sha256.Sum256([]byte(long))
	seen := map[string][3]string{}
	for _, topic := range []string{"a", "seen"} {
		for _, group := range []string{"a", "seen", "seen256"} {
			for _, key := range []string{
				"", "a", ":", "}", "{a}:a", "seen:a", "\x00", "\xff", long[1:], long, long + "a", strings.Repeat("b", 5000), hex.EncodeToString(sum[:]),
			} {
				is := claimKey("", topic, group, key)
				require.NotContains(t, seen, is)
				seen[is] = [3]string{topic, group, key}
				require.Less(t, len(is), 200)
				require.Equal(t, slot(topic), slot(is))
			}
		}
	}
}

func TestKeysReadWell(t *testing.T) {
	k := topicKeys("shop:", "orders.placed").group("billing")
	require.Equal(t, "shop:orders.placed", k.stream)
	require.Equal(t, "{shop:orders.placed}:due", k.due)
	require.Equal(t, "{shop:orders.placed}:billing:retry", k.retry)
	require.Equal(t, "{shop:orders.placed}:billing:due:body", k.groupDueBody)
	require.Equal(t, "{shop:orders.placed}:billing:dead:dropped", k.deadDropped)
	require.Equal(t, "{shop:orders.placed}:billing:seen:42", claimKey("shop:", "orders.placed", "billing", "42"))
}

func TestPrefixes(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"": true, "shop:": true, "a/b-c_d.e:": true, strings.Repeat("x", 128): true,
		"{": false, "}": false, "a b": false, "*": false, "?": false, "[": false, "\\": false, "ü": false, "\n": false, strings.Repeat("x", 129): false,
	} {
		require.Equal(t, ok, validPrefix(prefix), "%q", prefix)
	}
}
