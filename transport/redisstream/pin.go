package redisstream

import (
	"fmt"
	"time"
)

// A group that nobody reads any more holds back soft retention for good: what it has not acknowledged is never removed. That is
// said, again and again, so that somebody decides.
const (
	pinAfter = time.Hour // nobody has read for that long
	pinEvery = time.Hour
)

// A pin is the group that holds back the retention of a topic without reading.
type pin struct {
	group string
	since time.Time // when it was first found so
	said  time.Time
}

// pinned looks at the holder that scripts/tend.lua found and reports one that is abandoned.
func (t *Transport) pinned(j *tendJob, holder []any, now time.Time) {
	p, group, idle := &j.tended.pin, text(at(holder, 0)), time.Duration(number(at(holder, 1)))*time.Millisecond
	if group != p.group {
		*p = pin{group: group, since: now}
	}
	if idle >= 0 && idle < pinAfter {
		p.since = now.Add(-idle)
	}
	if group == "" || idle < pinAfter && now.Sub(p.since) < pinAfter || now.Sub(p.said) < pinEvery {
		return
	}
	p.said = now
	t.warn(abandoned(j.keys.stream, j.topic.Name, group, number(at(holder, 2)), max(idle, now.Sub(p.since))))
}

func abandoned(stream, topic, group string, lag int64, quiet time.Duration) error {
	behind := ""
	if lag > 0 {
		behind = fmt.Sprintf(" and is %d entries behind", lag)
	}
	return fmt.Errorf("redisstream: retention of %s: the group %s has not read for %v%s, and all that it has not acknowledged is kept: "+
		"start a consumer of it, or, if it is not needed any more, remove it with XGROUP DESTROY %s %s",
		topic, printable(group, 200), quiet.Round(time.Minute), behind, stream, printable(group, 200))
}

// passed says that trimming has passed a group that was given up, as scripts/tend.lua found it.
func passed(topic string, p []any) error {
	lost := ", and entries that it has not handled are removed"
	if n := number(at(p, 2)); n > 0 {
		lost = fmt.Sprintf(", and the first %d entries that it has not handled are removed", n)
	}
	quiet := time.Duration(number(at(p, 1))) * time.Millisecond
	return fmt.Errorf("redisstream: retention of %s: the group %s has not read for %v and does not hold back retention any more (AbandonAfter)%s: "+
		"start a consumer of it to keep the rest, or remove it with XGROUP DESTROY", topic, printable(text(at(p, 0)), 200), quiet.Round(time.Second), lost)
}
