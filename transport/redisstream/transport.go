// Package redisstream is the Redis Streams transport.
package redisstream

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// Options are the settings of a [Transport]; the zero value is ready for production.
type Options struct {
	// Prefix begins every key, as "shop:"; default none. It must not contain braces.
	Prefix string
	// Name begins the name of each consumer, so that XINFO CONSUMERS tells where it runs; default host name and process id.
	// Each subscription adds a random part: a name is never used twice.
	Name string
	// Mappings are the foreign formats, by topic.
	Mappings map[string]Mapping
}

// Transport stores topics in Redis streams.
type Transport struct {
	opts Options

	cmd    redis.UniversalClient // publishing, settling, scripts; given by the user or opened by Open
	reads  *readClients          // blocking reads, one connection each, never retried
	leases redis.UniversalClient // renewing leases: two connections that nothing else can starve

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // everything the transport started

	committer *committer // publish.go

	mu     sync.Mutex
	subs   map[*subscription]struct{}
	closed bool
}

var (
	_ transport.Transport   = (*Transport)(nil)
	_ transport.Lagger      = (*Transport)(nil)
	_ transport.DeadLetters = (*Transport)(nil)
	_ transport.Pulse       = (*subscription)(nil)
)

// mapping is the format of a topic's entries.
func (t *Transport) mapping(topic string) *Mapping {
	if m, ok := t.opts.Mappings[topic]; ok {
		return &m
	}
	return &native
}

func (t *Transport) keys(topic string) keys { return topicKeys(t.opts.Prefix, topic) }

const blockFor = 2 * time.Second // how long one blocked read lasts
