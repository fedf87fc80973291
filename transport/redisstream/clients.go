package redisstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// once makes a command go out at most once: go-redis re-sends others after a lost reply, up to MaxRetries times (clients
// and pipelines) or MaxRedirects times (Clusters, even with MaxRetries -1). One such command in a pipeline covers it whole.
type once struct{ redis.Cmder }

func (once) NoRetry() bool { return true }

// clients are what a transport needs besides the command client: its own connections, made from that client's options.
type clients struct {
	reads  *readClients
	leases redis.UniversalClient
}

// newClients makes them for as long as ctx. It refuses clients it cannot make its own connections from.
func newClients(ctx context.Context, given redis.UniversalClient) (clients, error) {
	switch c := given.(type) {
	case *redis.Client:
		if c != nil {
			f := newFollower(ctx, c.Options())
			leases := redis.NewClient(leaseOptions(f.options(c.Options())))
			reads := newReadClients(ctx, c, nil, leases)
			reads.follower = f
			return clients{reads, leases}, nil
		}
	case *redis.ClusterClient:
		if c == nil {
			break
		}
		o := c.Options()
		if o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return clients{}, errors.New("redisstream: the ClusterClient sends reads to replicas, which lag behind: " +
				"leave ReadOnly, RouteByLatency and RouteRandomly out of its options")
		}
		leases := redis.NewClusterClient(clusterLeaseOptions(o))
		return clients{newReadClients(ctx, nil, c, leases), leases}, nil
	case nil:
	default:
		return clients{}, fmt.Errorf("redisstream: cannot use a %T: give New a *redis.Client (also of Sentinel) or a *redis.ClusterClient", given)
	}
	return clients{}, errors.New("redisstream: the client is nil")
}

// cloneOptions copies the options of a living client for another one. A living client has its defaults resolved, so "off" is
// 0 there; given to a new client a 0 would mean "default" again.
func cloneOptions(o *redis.Options) *redis.Options {
	c := *o
	c.MaxRetries = -1
	c.DialerRetries = 2
	c.WriteTimeout = again(o.WriteTimeout)
	c.MinRetryBackoff, c.MaxRetryBackoff = again(o.MinRetryBackoff), again(o.MaxRetryBackoff)
	c.ContextTimeoutEnabled = true
	c.PipelinePoolSize = -1
	c.MinIdleConns, c.MaxIdleConns, c.MaxActiveConns, c.MaxConcurrentDials = 0, 0, 0, 0
	c.Limiter = nil
	c.ClientSideCache, c.ClientSideCacheConfig = nil, nil
	c.AutoPipelineOptions = nil
	c.MaintNotificationsConfig = noMaintNotifications()
	return &c
}

func noMaintNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// again turns a resolved timeout into the setting that resolves to it.
func again(d time.Duration) time.Duration {
	switch d {
	case 0: // none, was -1
		return -1
	case -1: // none and no deadline calls, was -2
		return -2
	}
	return d
}

// readMargin is how much longer than a blocked read its connection waits for the answer.
const readMargin = 5 * time.Second

func readOptions(o *redis.Options) *redis.Options {
	c := cloneOptions(o)
	c.PoolSize = 1
	c.PoolTimeout = 5 * time.Second
	c.ReadTimeout = idleBlock + readMargin        // contexts bound each call; see subscription.do
	c.ConnMaxLifetime, c.ConnMaxIdleTime = -1, -1 // replaced when it breaks, never while it is idle
	c.Protocol = 2                                // what readReply reads; nothing is pushed then
	c.ReadBufferSize, c.WriteBufferSize = smallBuffer, smallBuffer
	if p := c.StreamingCredentialsProvider; p != nil {
		c.StreamingCredentialsProvider, c.CredentialsProviderContext = nil, askNow(p)
	}
	return c
}

// askNow asks a provider that streams for what is valid now. A redis.Conn whose options have one panics when it connects, and
// could not log in again during a read.
func askNow(p auth.StreamingCredentialsProvider) provider {
	return func(context.Context) (user, password string, err error) {
		now, unsubscribe, err := p.Subscribe(&deaf{})
		if err != nil {
			return "", "", err
		}
		user, password = now.BasicAuth()
		return user, password, unsubscribe()
	}
}

// deaf takes no notice of later credentials. It has a size, so that each has an address of its own: providers tell listeners apart.
type deaf struct{ _ byte }

func (*deaf) OnNext(auth.Credentials) {}
func (*deaf) OnError(error)           {}

// leaseTimeout is how long renewing leases waits for the server: a third of the shortest sensible lease.
const leaseTimeout = 3 * time.Second

func leaseOptions(o *redis.Options) *redis.Options {
	c := cloneOptions(o)
	c.PoolSize = 2
	c.PoolTimeout, c.ReadTimeout = leaseTimeout, leaseTimeout
	return c
}

func clusterLeaseOptions(o *redis.ClusterOptions) *redis.ClusterOptions {
	c := *o
	if c.MaxRedirects == 0 {
		c.MaxRedirects = -1
	}
	c.DialerRetries = 2
	c.WriteTimeout = again(o.WriteTimeout)
	c.MinRetryBackoff, c.MaxRetryBackoff = again(o.MinRetryBackoff), again(o.MaxRetryBackoff)
	c.ContextTimeoutEnabled = true
	c.PoolSize, c.PipelinePoolSize = 2, -1
	c.MinIdleConns, c.MaxIdleConns, c.MaxActiveConns, c.MaxConcurrentDials = 0, 0, 0, 0
	c.PoolTimeout, c.ReadTimeout = leaseTimeout, leaseTimeout
	c.AutoPipelineOptions = nil
	c.MaintNotificationsConfig = noMaintNotifications()
	return &c
}

// readClients makes the connections of blocking reads. Each is a client of its own with one connection, so that reads that
// wait take nothing from commands (a shared pool starves acknowledgements) and closing one ends its read at once.
type readClients struct {
	ctx     context.Context       // ends with the transport
	single  *redis.Client         // the command client; nil on a Cluster
	cluster *redis.ClusterClient  // the command client; nil elsewhere
	leases  redis.UniversalClient // respects contexts, and is never busy for long

	follower *follower // nil without Sentinels

	mu     sync.Mutex
	open   map[*readConn]struct{}
	closed bool
}

func newReadClients(ctx context.Context, single *redis.Client, cluster *redis.ClusterClient, leases redis.UniversalClient) *readClients {
	return &readClients{ctx: ctx, single: single, cluster: cluster, leases: leases, open: map[*readConn]struct{}{}}
}

// A readConn is one connection for blocking reads of one stream. It never reconnects and never re-sends: after an error other
// than an answer of the server, and after MOVED, ASK and READONLY, close it and ask for another.
type readConn struct {
	*redis.Conn
	socket net.Conn      // what it speaks on, for ask
	id     int64         // CLIENT ID; 0 if the user may not ask for it
	node   *redis.Client // for commands to the same server, such as CLIENT UNBLOCK

	client *redis.Client
	owner  *readClients
}

// node is the client of the server that has key.
func (r *readClients) node(ctx context.Context, key string) (*redis.Client, error) {
	if r.cluster != nil {
		return r.cluster.MasterForKey(ctx, key)
	}
	return r.single, nil
}

// control is a client of the same server for what must not wait for anything the user's client is busy with.
func (r *readClients) control(ctx context.Context, key string) (*redis.Client, error) {
	if c, ok := r.leases.(*redis.ClusterClient); ok {
		return c.MasterForKey(ctx, key)
	}
	return r.leases.(*redis.Client), nil
}

// mayMove says whether there may soon be another server to speak to.
func (r *readClients) mayMove() bool { return r.cluster != nil || r.follower != nil }

// optionsOf are what other clients of the same server are made from.
func (r *readClients) optionsOf(node *redis.Client) *redis.Options {
	return r.follower.options(node.Options())
}

// conn connects to the server that has key.
func (r *readClients) conn(ctx context.Context, key string) (*readConn, error) {
	node, err := r.node(ctx, key)
	if err != nil {
		return nil, err
	}
	control, err := r.control(ctx, key)
	if err != nil {
		return nil, err
	}
	o := readOptions(r.optionsOf(node))
	socket := catchSocket(o)
	client := redis.NewClient(o)
	c := &readConn{Conn: client.Conn(), node: control, client: client, owner: r}
	if !r.add(c) {
		return nil, errors.Join(redis.ErrClosed, client.Close())
	}
	id := redis.NewIntCmd(ctx, "client", "id")
	if err := c.Process(ctx, once{id}); err != nil && !redis.IsPermissionError(err) {
		c.close()
		return nil, err
	}
	c.id, c.socket = id.Val(), *socket.Load()
	return c, nil
}

// catchSocket finds out what the one connection of a client speaks on: what it dialed last.
func catchSocket(o *redis.Options) *atomic.Pointer[net.Conn] {
	var socket atomic.Pointer[net.Conn]
	dial := o.Dialer
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			socket.Store(&conn)
		}
		return conn, err
	}
	return &socket
}

func (r *readClients) add(c *readConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.open[c] = struct{}{}
	}
	return !r.closed
}

// close ends all connections, and refuses new ones.
func (r *readClients) close() {
	r.mu.Lock()
	r.closed = true
	open := r.open
	r.open = nil
	r.mu.Unlock()
	for c := range open {
		c.client.Close()
	}
	r.follower.wait()
}

// unblock makes the blocked read of c return redis.Nil now. It does nothing while c is not blocked.
func (c *readConn) unblock(ctx context.Context) error {
	if c.id == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, unblockGrace)
	defer cancel()
	return c.node.Process(ctx, once{redis.NewIntCmd(ctx, "client", "unblock", c.id)})
}

// close ends the connection, and with it a read that waits. On a Cluster it also has the slots looked up again, because what
// ends a connection is often that its stream moved.
func (c *readConn) close() {
	c.owner.mu.Lock()
	_, open := c.owner.open[c]
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	if !open {
		return
	}
	c.client.Close()
	if c.owner.cluster != nil {
		c.owner.cluster.ReloadState(c.owner.ctx)
	}
}
