package redisstream

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// New makes a transport of a client that stays the caller's: [Transport.Close] does not close it. It must be a
// *redis.Client, also one made by redis.NewFailoverClient, or a *redis.ClusterClient that does not send reads to replicas.
//
// The client carries what does not block. For blocking reads (one connection a subscription), for renewing leases (up to two) and
// for a publisher that is alone (one, on a Cluster one a node) the transport makes connections of its own from the client's
// options; hooks added to the client do not see those. With Sentinels it also connects once a second, with TLS every five, to see
// which server is the master: so they follow a failover that leaves the old one running. New connects to nothing. What is wrong
// with client or opts is reported by each use of the transport.
func New(client redis.UniversalClient, opts Options) *Transport {
	t := &Transport{opts: opts, cmd: client, subs: map[*subscription]struct{}{}, joining: make(chan struct{}, joinAtOnce)}
	t.ctx, t.stop = context.WithCancel(context.Background()) // the root of all that the transport does on its own
	c, err := newClients(t.ctx, client)
	t.reads, t.leases = c.reads, c.leases
	t.err = errors.Join(opts.check(), opts.access(), err)
	t.committer = newCommitter(t)
	t.initAgendas()
	return t
}

// Open connects to the Redis that url names, finds out whether it will do, and makes a transport of it. Close closes the
// connections. These are the forms of url:
//
//	redis://user:password@host:6379/0                          one server, database 0
//	rediss://user:password@host:6379                           the same with TLS
//	unix://user:password@/path/to/redis.sock?db=0              a Unix socket
//	redis+sentinel://user:password@host:26379?master_name=NAME&addr=host2:26379&username=U&password=P
//	                                                           Sentinel; user:password is for the sentinels, U and P for Redis
//	redis+cluster://user:password@host:6379?addr=host2:6379    a Cluster
//
// The last two also begin with rediss. addr gives one more address and may be repeated. Special characters of passwords are
// percent-encoded. The parameters of go-redis' ParseURL, ParseFailoverURL and ParseClusterURL are understood, such as
// read_timeout=5s and pool_size=20. Certificates and passwords that change are in [Options]; for other settings make a client and
// give it to [New].
//
// Open waits while Redis loads its data, as long as ctx lets it; all else that is wrong is an error at once, which says what
// to do. No error shows any part of url.
func Open(ctx context.Context, url string, opts Options) (*Transport, error) {
	client, err := newClient(url, &opts)
	if err != nil {
		return nil, err
	}
	opts.TLS, opts.Credentials = nil, nil // the client has them
	t := New(client, opts)
	t.owned = true
	err = t.usable()
	if err == nil {
		err = t.checkServer(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// usable returns why the transport cannot be used, or nil.
func (t *Transport) usable() error {
	if t.err != nil {
		return t.err
	}
	if t.ctx.Err() != nil {
		return transport.ErrClosed
	}
	return nil
}

// closeTimeout bounds how long Close waits for what subscriptions still have to tell the server.
const closeTimeout = 5 * time.Second

// Close implements [transport.Transport]. Publishes under way end: what was sent with what the server answers, what was not
// with [transport.ErrClosed]. While Redis does not answer it takes up to five seconds, or as long as a command of the client that New
// was given may take (its ReadTimeout), if that is longer.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.wg.Wait()
		return nil
	}
	t.closed = true
	subs := make([]*subscription, 0, len(t.subs))
	for s := range t.subs {
		subs = append(subs, s)
	}
	t.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), closeTimeout)
	defer cancel()
	for _, s := range subs {
		s.stop() // all at once: ending a read may take its second
	}
	var errs []error
	for _, s := range subs {
		errs = append(errs, s.Close(ctx))
	}
	t.stop()
	t.committer.close()
	if t.reads != nil {
		t.reads.close()
	}
	t.wg.Wait()
	errs = append(errs, t.committer.disconnect())
	if t.leases != nil {
		errs = append(errs, t.leases.Close())
	}
	if t.owned {
		errs = append(errs, t.cmd.Close())
	}
	return errors.Join(errs...)
}
