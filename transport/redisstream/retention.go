package redisstream

import (
	"cmp"
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
	reapTick     = 2 * time.Minute
	reapIdle     = 10 * time.Minute // a consumer that lives is idle for idleBlock at most; before Redis 7.2 also one that gets nothing
	reapMost     = 500              // consumers removed in one step
	reapSteps    = 40
	tendMost     = 10000 // entries removed in one step
)

// tending are the topics that a transport subscribes to. It looks after their soft retention, the cursors of their groups, and
// what those lost unread. Each process does; one that comes right after another finds nothing to do.
//
// Processes that only publish need not: what may be removed is what groups have acknowledged, and that changes only while
// somebody consumes.
type tending struct {
	turn   sync.Mutex    // held by the one who tends
	idle   time.Duration // reapIdle, but for tests
	reaps  time.Duration // reapTick, but for tests
	mu     sync.Mutex
	topics map[string]*tended // by stream
}

// tended is one topic.
type tended struct {
	topic  transport.Topic // of the subscription that came last
	keys   keys
	subs   map[*subscription]struct{}
	last   position // up to where the stream went when it was last tended
	lasts  trail    // and before that
	added  int64    // and how many entries it had ever had
	pin    pin
	reapAt time.Time
	failed bool // and reported
}

func (td *tending) add(s *subscription) {
	td.mu.Lock()
	defer td.mu.Unlock()
	if td.topics == nil {
		td.topics = map[string]*tended{}
		td.idle, td.reaps = cmp.Or(td.idle, reapIdle), cmp.Or(td.reaps, reapTick)
	}
	e := td.topics[s.keys.stream]
	if e == nil {
		e = &tended{keys: s.keys.keys, subs: map[*subscription]struct{}{}, reapAt: time.Now().Add(jittered(td.reaps))}
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

// get returns what is to be done for a topic, false if nobody here subscribes to it any more.
func (td *tending) get(stream string) (j tendJob, ok bool) {
	td.mu.Lock()
	defer td.mu.Unlock()
	e := td.topics[stream]
	if e == nil {
		return j, false
	}
	j = tendJob{tended: e, topic: e.topic, sight: e.sightOf()}
	for s := range e.subs {
		if !slices.ContainsFunc(j.subs, func(o *subscription) bool { return o.group.Name == s.group.Name }) {
			j.subs = append(j.subs, s)
		}
	}
	return j, true
}

// A tendJob is what is to be done for a topic.
type tendJob struct {
	*tended
	topic transport.Topic
	subs  []*subscription // one of each group here: it tells what concerns its group
	sight sight
}

// tend does what is due for topics, in one round trip. Only it touches when a topic is to be reaped, and whether it failed.
func (t *Transport) tend(ctx context.Context, streams []string) {
	t.tending.turn.Lock()
	defer t.tending.turn.Unlock()
	var jobs []tendJob
	for _, stream := range streams {
		if j, ok := t.tending.get(stream); ok {
			jobs = append(jobs, j)
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
	keys := []string{j.keys.stream, j.keys.quiet}
	args := []any{keep, age.Milliseconds(), tendMost, j.sight.marks(), j.sight.added, j.topic.Retention.AbandonAfter.Milliseconds()}
	for _, s := range j.subs {
		keys, args = append(keys, s.keys.cursor), append(args, s.group.Name, j.sight.groups[s.group.Name].String())
	}
	return keys, append(args, j.sight.last.String())
}

// tendedTopic reports what the script found, and plans the next look.
func (t *Transport) tendedTopic(ctx context.Context, j tendJob, answer []any) {
	stands := map[string]position{}
	for i, s := range j.subs {
		g := list(at(list(at(answer, 1)), i))
		s.gap(g)
		s.gap(g[min(7, len(g)):])
		s.wentBack(g)
		if where := text(at(g, 1)); where != "" {
			stands[s.group.Name] = positionOf(where)
		}
	}
	if last := text(at(answer, 3)); last != "" {
		t.tending.checked(j.tended, j.sight, last, number(at(answer, 4)), stands, list(at(answer, 7)))
	}
	t.pinned(&j, list(at(answer, 5)), time.Now())
	for _, p := range list(at(answer, 6)) {
		t.warn(passed(j.topic.Name, list(p)))
	}
	if !time.Now().Before(j.reapAt) {
		j.reapAt = time.Now().Add(jittered(t.tending.reaps))
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
	if j.failed = err != nil; j.failed && (!isAnswer(err) || classify(err) == passing) {
		t.tends.next(j.keys.stream, time.Second)
	}
}

// gap reports what was trimmed before the group read it, as the scripts gaps and tend return it: how many is -1 where that is not known.
func (s *subscription) gap(g []any) {
	if n := number(at(g, 0)); n != 0 {
		s.warn(s.loss("entries were trimmed from the stream before the group read them", int(max(n, 0)), text(at(g, 1)), text(at(g, 2))))
	}
}

// reap removes consumers of processes that were killed (XGROUP DELCONSUMER). What fails now is done next time.
func (t *Transport) reap(ctx context.Context, subs []*subscription) {
	for _, s := range subs {
		for range reapSteps {
			reaped, err := scriptReap.run(ctx, t.cmd, []string{s.keys.stream, s.keys.retry}, s.group.Name,
				t.tending.idle.Milliseconds(), reapMost)
			if err != nil || number(reaped) < reapMost {
				break
			}
		}
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
