package redisstream

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// How often a topic is tended, and its groups are rid of consumers that are gone.
const (
	tendTick     = 5 * time.Second
	tendTickIdle = 30 * time.Second // where nothing happens
	reapTick     = 10 * time.Minute
	reapIdle     = time.Hour
	tendMost     = 10000 // entries removed in one step
)

// tending are the topics that a transport subscribes to. It looks after their soft retention, the cursors of their groups, and
// what those lost unread. Each process does; one that comes right after another finds nothing to do.
//
// Processes that only publish need not: what may be removed is what groups have acknowledged, and that changes only while
// somebody consumes.
type tending struct {
	mu     sync.Mutex
	topics map[string]*tended // by stream
}

// tended is one topic.
type tended struct {
	topic  transport.Topic // of the subscription that came last
	keys   keys
	subs   map[*subscription]struct{}
	reapAt time.Time
	failed bool // and reported
}

func (td *tending) add(s *subscription) {
	td.mu.Lock()
	defer td.mu.Unlock()
	if td.topics == nil {
		td.topics = map[string]*tended{}
	}
	e := td.topics[s.keys.stream]
	if e == nil {
		e = &tended{keys: s.keys.keys, subs: map[*subscription]struct{}{}, reapAt: time.Now().Add(jittered(reapTick))}
		td.topics[s.keys.stream] = e
	}
	e.topic = s.topic
	e.subs[s] = struct{}{}
}

func (td *tending) remove(s *subscription) {
	td.mu.Lock()
	defer td.mu.Unlock()
	if e := td.topics[s.keys.stream]; e != nil {
		delete(e.subs, s)
		if len(e.subs) == 0 {
			delete(td.topics, s.keys.stream)
		}
	}
}

// get returns a topic and one subscription for each of its groups here: it tells what concerns its group.
func (td *tending) get(stream string) (e *tended, topic transport.Topic, subs []*subscription) {
	td.mu.Lock()
	defer td.mu.Unlock()
	if e = td.topics[stream]; e == nil {
		return nil, topic, nil
	}
	for s := range e.subs {
		if !slices.ContainsFunc(subs, func(o *subscription) bool { return o.group.Name == s.group.Name }) {
			subs = append(subs, s)
		}
	}
	return e, e.topic, subs
}

// A tendJob is what is to be done for a topic.
type tendJob struct {
	*tended
	topic transport.Topic
	subs  []*subscription // one of each group
}

// tend does what is due for topics, in one round trip. Only it touches when a topic is to be reaped, and whether it failed.
func (t *Transport) tend(ctx context.Context, streams []string) {
	var jobs []tendJob
	for _, stream := range streams {
		if e, topic, subs := t.tending.get(stream); e != nil {
			jobs = append(jobs, tendJob{e, topic, subs})
		}
	}
	for i, cmd := range scriptTend.each(ctx, t.cmd, len(jobs), func(i int) ([]string, []any) { return jobs[i].script() }) {
		j := jobs[i]
		t.tendFailed(j, cmd.Err())
		if cmd.Err() == nil {
			t.tendedTopic(ctx, j, list(cmd.Val()))
		}
	}
}

// script returns the keys and arguments of scripts/tend.lua.
func (j *tendJob) script() ([]string, []any) {
	var keep int64
	var age time.Duration
	if !j.topic.Retention.Hard { // hard bounds are kept by publishing
		keep, age = j.topic.Retention.Limits()
	}
	keys, args := []string{j.keys.stream}, []any{keep, age.Milliseconds(), tendMost}
	for _, s := range j.subs {
		keys, args = append(keys, s.keys.cursor), append(args, s.group.Name)
	}
	return keys, args
}

// tendedTopic reports what the script found, and plans the next look.
func (t *Transport) tendedTopic(ctx context.Context, j tendJob, answer []any) {
	for i, s := range j.subs {
		g := list(at(list(at(answer, 1)), i))
		s.gap(g)
		s.wentBack(text(at(g, 3)))
	}
	if !time.Now().Before(j.reapAt) {
		j.reapAt = time.Now().Add(jittered(reapTick))
		t.reap(ctx, j.subs)
	}
	switch trimmed, changed := number(at(answer, 0)), number(at(answer, 2)) == 1; {
	case trimmed > tendMost/2: // there is more than one step may remove
		t.tends.next(j.keys.stream, 100*time.Millisecond)
	case trimmed > 0 || changed:
		t.tends.next(j.keys.stream, tendTick)
	default:
		t.tends.nothing(j.keys.stream)
	}
}

// tendFailed reports that the server refuses, once until it does not.
func (t *Transport) tendFailed(j tendJob, err error) {
	if err != nil && isAnswer(err) && !j.failed {
		t.warn(t.clarify("retention of "+j.topic.Name, j.keys.stream, err))
	}
	j.failed = err != nil
}

// gap reports what was trimmed before the group read it, as the scripts gaps and tend return it.
func (s *subscription) gap(g []any) {
	if n := number(at(g, 0)); n > 0 {
		s.warn(s.loss("entries were trimmed from the stream before the group read them", int(n), text(at(g, 1)), text(at(g, 2))))
	}
}

// wentBack reports that the server knows less than it did.
func (s *subscription) wentBack(what string) {
	switch what {
	case "stream":
		s.warn(s.loss("the stream has fewer entries than it had, as after a failover to a replica that was behind", 0, "", ""))
	case "group":
		s.warn(s.loss("the group stands before where it stood, as after a failover to a replica that was behind: "+
			"messages may come again", 0, "", ""))
	}
}

// reap removes consumers of processes that were killed (XGROUP DELCONSUMER).
func (t *Transport) reap(ctx context.Context, subs []*subscription) {
	for _, s := range subs {
		// What fails now is done in ten minutes.
		_, _ = scriptReap.run(ctx, t.cmd, []string{s.keys.stream, s.keys.retry}, s.group.Name, reapIdle.Milliseconds(), scriptBatch)
	}
}

// lookForGaps is for topics with a hard bound, whose entries may go at any time: the read loop looks before each read that
// follows one.
func (s *subscription) lookForGaps(ctx context.Context) error {
	var reply any
	err := s.do(ctx, answerWithin, func(ctx context.Context, c *readConn) (err error) {
		reply, err = scriptGaps.run(ctx, c, []string{s.keys.stream, s.keys.cursor}, s.group.Name)
		return err
	})
	if err != nil && (!isAnswer(err) || strings.HasPrefix(err.Error(), "NOGROUP")) {
		return err
	}
	s.reader.gapped = true
	s.gap(list(reply))
	return nil
}
