package chaos

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/check"
	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// patience is how long what must come may take beyond its time.
const patience = 60 * time.Second

// A run is a row of the table that is being run.
type run struct {
	row
	*testing.T
	rand *rand.Rand
	n    int // events
	dir  string
	site
	tr  *redisstream.Transport
	log *history.Writer // of who injects faults

	publisher   *process
	consumers   []*process
	started     int
	faults      int
	end         check.End
	found       check.Report
	history     []history.Record
	notes       []string // extra measures, for the table
	looks       int      // for what is left
	connections int      // of all, at most
	late        bool     // something took longer than promised
	recovery    []time.Duration
	exits       []time.Duration   // how long drains took
	raw         map[string]string // bodies of poison, by id
	peaks       []int64           // bytes of memory that consumers had at most, of those that lived to the end
}

func newRun(t *testing.T, row row, n int) *run {
	dir, err := os.MkdirTemp("", "chaos-"+row.id+"-")
	require.NoError(t, err)
	return &run{T: t, row: row, n: n, dir: dir, rand: rand.New(rand.NewPCG(*seed, hash(row.id)))}
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// play runs the row and judges its history.
func (r *run) play() {
	r.begin()
	if r.nemesis != nil {
		r.nemesis(r)
	}
	r.settle()
	r.stop()
	r.look()
	p := r.promises
	p.Lease = int64(r.consuming.Lease)
	p.MaxDead += r.publishing.Dead(r.n) + r.mayBeVictims()
	r.found = check.Check(r.history, p, r.end)
}

// begin starts the server, and then the processes.
func (r *run) begin() {
	if r.at == nil {
		r.at = single(r.flags...)
	}
	r.site = r.at(r)
	var err error
	r.tr, err = child.Open(r.Context(), r.site.url)
	require.NoError(r, err)
	r.Cleanup(func() { r.tr.Close() })
	r.log, err = history.Open(r.dir, "nemesis")
	require.NoError(r, err)
	r.Cleanup(func() { r.log.Close() })
	for i := range r.row.consumers {
		r.consumers = append(r.consumers, nil)
		r.spawn(i)
	}
	for _, c := range r.consumers {
		<-c.ready
	}
	p := child.Spec{Name: "p", Dir: r.dir, URL: r.addr(publishers), Topics: r.topics, Publishing: r.publishing}
	p.Count = r.n
	r.publisher = start(r, ownProgram, "publisher", p)
	<-r.publisher.ready
}

// addr is the URL where a side finds the servers.
func (r *run) addr(who side) string {
	if r.behind&who != 0 {
		return "redis://" + r.proxy.Addr + r.params
	}
	return r.site.url
}

// spawn puts a new process in the place of consumer i.
func (r *run) spawn(i int) {
	r.started++
	c := child.Spec{Name: fmt.Sprintf("c%d-%d", i, r.started), Dir: r.dir, URL: r.addr(consumers), Topics: r.topics, Consuming: r.consuming}
	r.consumers[i] = start(r, r.program, "consumer", c)
}

// during waits, and says whether events are still published.
func (r *run) during(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.publisher.ended:
		return false
	case <-t.C:
		return true
	}
}

// busy waits, and says whether there is anything left to do.
func (r *run) busy(d time.Duration) bool {
	return r.during(d) || r.pause(d) && r.left(r.Context()) != nil
}

// pause is false if the test has ended.
func (r *run) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-t.C:
		return true
	}
}

func (r *run) progress(format string, args ...any) {
	fmt.Printf("%-4s %s\n", r.id, fmt.Sprintf(format, args...))
}

// settle waits until the publisher has ended and nothing is left to do.
func (r *run) settle() {
	assert.NoError(r, r.publisher.wait(), "the publisher")
	r.progress("published, %d faults", r.faults)
	said := time.Now()
	err := redistest.Eventually(patience+time.Duration(r.n)*time.Millisecond, func(ctx context.Context) error {
		err := r.left(ctx)
		if err != nil && time.Since(said) > 5*time.Second {
			said = time.Now()
			r.progress("%v", err)
		}
		return err
	})
	assert.NoError(r, err, "waiting until nothing is left")
}

// left is nil when nothing is left to do.
func (r *run) left(ctx context.Context) error {
	lag, err := r.lag(ctx)
	if err == nil && lag.Undelivered+lag.Pending+lag.Waiting+lag.Delayed != 0 {
		err = fmt.Errorf("left: %+v", lag)
	}
	return err
}

// lag is that of all topics.
func (r *run) lag(ctx context.Context) (sum transport.Lag, err error) {
	for i := range max(r.topics, 1) {
		r.looks++
		lag, err := r.tr.Lag(ctx, transport.Topic{Name: child.TopicName(i)}, child.Group)
		if err != nil {
			return sum, err
		}
		sum.Undelivered += lag.Undelivered
		sum.Pending += lag.Pending
		sum.Waiting += lag.Waiting
		sum.Delayed += lag.Delayed
	}
	return sum, nil
}

// stop ends the consumers, each of which must end well.
func (r *run) stop() {
	for _, c := range r.consumers {
		r.peaks = append(r.peaks, c.peak())
		c.signal(syscall.SIGTERM)
	}
	for _, c := range r.consumers {
		assert.NoError(r, c.wait(), "the end of a consumer")
	}
}

// look reads the history, and what the server has.
func (r *run) look() {
	lag, err := r.lag(r.Context())
	require.NoError(r, err)
	r.end = check.End{
		Pending: lag.Pending + lag.Waiting, Delayed: lag.Delayed, Undelivered: lag.Undelivered,
		Stored: map[string]int{}, Letters: map[string]int{},
	}
	for i := range max(r.topics, 1) {
		r.count(child.TopicName(i), r.end.Stored)
		r.count("{"+child.TopicName(i)+"}:"+child.Group+":dead", r.end.Letters)
	}
	r.history, err = history.Read(r.dir)
	require.NoError(r, err)
}

// count counts the entries of a stream by the ids of their events.
func (r *run) count(stream string, ids map[string]int) {
	const page = 200 // some entries are of megabytes
	for from := "-"; ; {
		entries, err := r.redis.XRangeN(r.Context(), stream, from, "+", page).Result()
		require.NoError(r, err)
		for _, e := range entries {
			id, _ := e.Values["id"].(string)
			ids[id]++
			from = "(" + e.ID
		}
		if len(entries) < page {
			return
		}
	}
}

// keep leaves the history of a run that failed where it can be read.
func (r *run) keep() {
	if !r.Failed() {
		os.RemoveAll(r.dir)
		return
	}
	r.progress("FAILED: the history is in %s", r.dir)
}

func (r *run) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}
