package redisstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// Transport stores topics in Redis streams.
type Transport struct {
	opts Options
	err  error // what is wrong with the options or the client; every use reports it

	cmd    redis.UniversalClient // publishing, settling, scripts; given by the user or opened by Open
	owned  bool                  // cmd was opened by Open, and Close closes it
	reads  *readClients          // blocking reads, one connection each, never retried
	leases redis.UniversalClient // renewing leases: two connections that nothing else can starve

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup // everything the transport started

	joining    chan struct{} // a token for each subscription that joins its group; see takeTurn
	targets    targets       // command.go
	committer  *committer    // lane.go
	checks     checkedOnce   // preflight.go
	fit        atomic.Bool   // the server was looked at and will do
	clockAhead atomic.Int64  // how far the server's clock is ahead of ours, in nanoseconds

	agendas // agenda.go

	quarantine quarantine // suspect.go

	// onDelayed, if not nil, is told that a message was stored in k.due, due at that time by the server's clock. It must
	// return at once.
	onDelayed func(k keys, due time.Time)

	mu     sync.Mutex
	subs   map[*subscription]struct{}
	unsaid []error // warn.go
	closed bool
}

var (
	_ transport.Transport     = (*Transport)(nil)
	_ transport.Lagger        = (*Transport)(nil)
	_ transport.DeadLetters   = (*Transport)(nil)
	_ transport.LetterArchive = (*Transport)(nil)
	_ transport.Pulse         = (*subscription)(nil)
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
