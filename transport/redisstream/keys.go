package redisstream

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// keys names everything a topic has in Redis. The stream's key is the prefix and the topic's name, without braces, so that
// it reads well in redis-cli and existing streams can be used; every other key carries the whole stream key as its hash tag,
// so that all of them share the stream's slot and one script may touch them. Topic and group names have no colon and no
// braces and prefixes have no braces, so no two things share a key.
type keys struct {
	stream  string // the topic's messages
	due     string // sorted set: delayed publishes, member by due time in milliseconds
	dueBody string // hash: member to the packed fields of its entry
	outbox  string // stream: staged messages on their way to a topic in another slot
	quiet   string // string: which groups nobody reads, see scripts/tend.lua
	tag     string // "{stream}:", the beginning of every key but the stream's
}

func topicKeys(prefix, topic string) keys {
	tag := "{" + prefix + topic + "}:"
	return keys{stream: prefix + topic, due: tag + "due", dueBody: tag + "due:body", outbox: tag + "outbox", quiet: tag + "quiet", tag: tag}
}

// known is the key that says that the topic knows the id of a message, see scripts/publish.lua. No group's name is empty, so no
// key of a group is like it.
func (k keys) known(id string) string {
	if len(id) > maxClaimKey {
		sum := sha256.Sum256([]byte(id))
		return k.tag + ":id256:" + hex.EncodeToString(sum[:])
	}
	return k.tag + ":id:" + id
}

// groupKeys are those of one group of a topic.
type groupKeys struct {
	keys
	retry        string // stream: what failed or was released and is due again, for this group only
	groupDue     string // sorted set: what failed or was deferred, member by due time in milliseconds
	groupDueBody string // hash: member to the packed fields of its retry entry
	dead         string // stream: the group's dead letters
	deadPut      string // sorted set: letters that were put, letter by when it died in milliseconds
	deadDropped  string // string: how many letters the bound has removed
	acts         string // stream: what was done with the letters
	cursor       string // string: where the group goes on if it is lost, see group.go
}

// mark is the key that says, for a day, that a consumer has settled an entry that is gone from its stream.
func (k groupKeys) mark(consumer, entry string) string {
	return strings.TrimSuffix(k.retry, "retry") + "once:" + consumer + ":" + entry
}

func (k keys) group(name string) groupKeys {
	g := k.tag + name + ":"
	return groupKeys{
		keys: k, retry: g + "retry", groupDue: g + "due", groupDueBody: g + "due:body", cursor: g + "cursor",
		dead: g + "dead", deadPut: g + "dead:put", deadDropped: g + "dead:dropped", acts: g + "acts",
	}
}

// maxClaimKey is how long a claim's key may be to be part of a key as it is; of a longer one the hash is.
const maxClaimKey = 128

// claimKey is the string that says who handles something or that it is handled, see claims.go.
func claimKey(prefix, topic, group, key string) string {
	kind := ":seen:"
	if len(key) > maxClaimKey {
		sum := sha256.Sum256([]byte(key))
		kind, key = ":seen256:", hex.EncodeToString(sum[:])
	}
	return "{" + prefix + topic + "}:" + group + kind + key
}
