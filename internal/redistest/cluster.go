package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Cluster is a Redis Cluster of servers on 127.0.0.1. Nodes[i] of the first Masters nodes has the i-th equal part of the slots.
type Cluster struct {
	Nodes   []*Server // the masters, then their replicas in the same order
	Masters int
	URL     string // redis+cluster://..., with all nodes

	t testing.TB
}

const clusterSlots = 16384

// noSyncDelay: a master waits 5 s for more replicas before it sends the first its data.
const noSyncDelay = "--repl-diskless-sync-delay"

// StartCluster runs masters servers, and replicas more for each of them, and waits until all of them serve the cluster.
func StartCluster(t testing.TB, masters, replicas int, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, Masters: masters}
	for range masters * (1 + replicas) {
		own := []string{"--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-node-timeout", "2000", noSyncDelay, "0"}
		c.Nodes = append(c.Nodes, Start(t, append(own, args...)...))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c.join(ctx)
	check(t, Eventually(30*time.Second, func(ctx context.Context) error { return c.ready(ctx, len(c.Nodes)) }))
	c.attachReplicas(ctx)
	check(t, Eventually(30*time.Second, func(ctx context.Context) error { return c.ready(ctx, len(c.Nodes)) }))

	c.URL = "redis+cluster://" + c.Nodes[0].Addr
	for i, n := range c.Nodes[1:] {
		c.URL += [...]string{"?", "&"}[min(i, 1)] + "addr=" + n.Addr
	}
	return c
}

// Client returns a new client of the cluster, closed when the test ends.
func (c *Cluster) Client() *redis.ClusterClient {
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr)
	}
	cl := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	c.t.Cleanup(func() { cl.Close() })
	return cl
}

// join gives the masters their slots and has the nodes meet. redis-cli --cluster create does the same, with more waiting.
func (c *Cluster) join(ctx context.Context) {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(c.Nodes[0].Addr)
	bus := c.busPort(ctx, c.Nodes[0])
	for i, n := range c.Nodes {
		cl := n.Client()
		check(c.t, cl.Do(ctx, "cluster", "set-config-epoch", i+1).Err())
		if i < c.Masters {
			from, to := i*clusterSlots/c.Masters, (i+1)*clusterSlots/c.Masters-1
			check(c.t, cl.ClusterAddSlotsRange(ctx, from, to).Err())
		}
		if i > 0 {
			check(c.t, cl.Do(ctx, "cluster", "meet", host, port, bus).Err())
		}
	}
}

func (c *Cluster) busPort(ctx context.Context, n *Server) string {
	v, err := n.Client().ConfigGet(ctx, "cluster-port").Result()
	check(c.t, err)
	return v["cluster-port"]
}

func (c *Cluster) attachReplicas(ctx context.Context) {
	c.t.Helper()
	for i, n := range c.Nodes[c.Masters:] {
		id, err := c.Nodes[i%c.Masters].Client().Do(ctx, "cluster", "myid").Text()
		check(c.t, err)
		check(c.t, Eventually(10*time.Second, func(ctx context.Context) error { return n.Client().ClusterReplicate(ctx, id).Err() }))
		check(c.t, Eventually(20*time.Second, func(ctx context.Context) error {
			info, err := n.Client().Info(ctx, "replication").Result()
			if err == nil && !strings.Contains(info, "master_link_status:up") {
				err = errors.New("a replica does not reach its master")
			}
			return err
		}))
	}
}

// ready says whether every node knows all others and finds all slots served.
func (c *Cluster) ready(ctx context.Context, nodes int) error {
	for _, n := range c.Nodes {
		info, err := n.Client().ClusterInfo(ctx).Result()
		if err != nil {
			return err
		}
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(nodes)+"\r") {
			return fmt.Errorf("node %s is not ready: %.300s", n.Addr, info)
		}
	}
	return nil
}

// MoveSlot moves the slot of key, with all its keys, from the node that has it to the next master.
func (c *Cluster) MoveSlot(key string) {
	c.t.Helper()
	m := c.BeginMove(key)
	m.Keys(1 << 30)
	m.End()
}

// A SlotMove is a slot on its way from one master to another. Both answer for the keys that they have.
type SlotMove struct {
	c        *Cluster
	slot     int64
	from, to *Server
}

// BeginMove begins to move the slot of key, from the node that has it to the next master.
func (c *Cluster) BeginMove(key string) *SlotMove {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	slot, err := c.Nodes[0].Client().ClusterKeySlot(ctx, key).Result()
	check(c.t, err)
	at := c.master(ctx, slot)
	m := &SlotMove{c, slot, c.Nodes[at], c.Nodes[(at+1)%c.Masters]}
	check(c.t, m.to.Client().Do(ctx, "cluster", "setslot", slot, "importing", c.id(ctx, m.from)).Err())
	check(c.t, m.from.Client().Do(ctx, "cluster", "setslot", slot, "migrating", c.id(ctx, m.to)).Err())
	return m
}

// Keys moves up to n keys, those named first if they are there, one after the other.
func (m *SlotMove) Keys(n int, first ...string) {
	m.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	from := m.from.Client()
	host, port, _ := net.SplitHostPort(m.to.Addr)
	for n > 0 {
		keys := first
		if first = nil; len(keys) == 0 {
			var err error
			keys, err = from.ClusterGetKeysInSlot(ctx, int(m.slot), 100).Result()
			check(m.c.t, err)
		}
		if len(keys) == 0 {
			return
		}
		keys = keys[:min(n, len(keys))]
		n -= len(keys)
		for _, k := range keys {
			check(m.c.t, from.Do(ctx, "migrate", host, port, k, 0, 5000).Err())
		}
	}
}

// End gives the slot to the node that now has its keys.
func (m *SlotMove) End() {
	m.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	to := m.c.id(ctx, m.to)
	check(m.c.t, m.to.Client().Do(ctx, "cluster", "setslot", m.slot, "node", to).Err())
	check(m.c.t, m.from.Client().Do(ctx, "cluster", "setslot", m.slot, "node", to).Err())
}

func (c *Cluster) id(ctx context.Context, n *Server) string {
	id, err := n.Client().Do(ctx, "cluster", "myid").Text()
	check(c.t, err)
	return id
}

// master is the index of the node that serves slot.
func (c *Cluster) master(ctx context.Context, slot int64) int {
	c.t.Helper()
	for i, n := range c.Nodes[:c.Masters] {
		id := c.id(ctx, n)
		shards, err := n.Client().ClusterShards(ctx).Result()
		check(c.t, err)
		for _, sh := range shards {
			own := slices.ContainsFunc(sh.Nodes, func(o redis.Node) bool { return o.ID == id })
			if own && slices.ContainsFunc(sh.Slots, func(r redis.SlotRange) bool { return r.Start <= slot && slot <= r.End }) {
				return i
			}
		}
	}
	c.t.Fatalf("redistest: nobody serves slot %d", slot)
	return 0
}
