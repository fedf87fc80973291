package memory

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// letters are the dead letters of a group, in the order of their numbers. The group's lock guards them.
type letters struct {
	all   []letter // those that were removed have no message, until the next sweep
	live  int
	count uint64
}

// A letter is a dead letter as it is kept.
type letter struct {
	transport.Letter
	number uint64
}

func (ls *letters) add(it *item, st *transport.Settlement, consumer string) {
	ls.count++
	ls.live++
	ls.all = append(ls.all, letter{number: ls.count, Letter: transport.Letter{
		Message:     it.msg.Clone(),
		LetterID:    strconv.FormatUint(ls.count, 10),
		Reason:      st.Reason,
		Error:       cut(st.Error),
		Attempt:     it.attempt,
		Redelivered: it.redelivered,
		Consumer:    consumer,
		Died:        time.Now(),
	}})
}

// cut shortens an error text to what a letter keeps, at the end of a character.
func cut(s string) string {
	if len(s) <= transport.MaxErrorText {
		return s
	}
	return strings.ToValidUTF8(s[:transport.MaxErrorText], "")
}

// after returns the index of the first letter with a higher number.
func (ls *letters) after(number uint64) int {
	i, _ := slices.BinarySearchFunc(ls.all, number+1, func(l letter, n uint64) int {
		switch {
		case l.number < n:
			return -1
		case l.number > n:
			return 1
		}
		return 0
	})
	return i
}

// remove takes a letter out, and says whether it was there.
func (ls *letters) remove(id string) (*transport.Message, bool) {
	number, err := strconv.ParseUint(id, 10, 64)
	if err != nil || number == 0 {
		return nil, false
	}
	i := ls.after(number - 1)
	if i == len(ls.all) || ls.all[i].number != number || ls.all[i].Message == nil {
		return nil, false
	}
	m := ls.all[i].Message
	ls.all[i].Letter = transport.Letter{}
	ls.live--
	if ls.live < len(ls.all)/2 {
		ls.all = slices.DeleteFunc(ls.all, func(l letter) bool { return l.Message == nil })
	}
	return m, true
}

// page returns copies of up to limit letters.
func (ls *letters) page(after uint64, limit int) (page []*transport.Letter) {
	for _, l := range ls.all[ls.after(after):] {
		if len(page) >= limit {
			break
		}
		if l.Message == nil {
			continue
		}
		c := l.Letter
		c.Message = l.Message.Clone()
		page = append(page, &c)
	}
	return page
}

// withGroup calls f with a group that exists, under its lock.
func (t *Transport) withGroup(ctx context.Context, topic transport.Topic, name string, f func(*group)) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	g := t.broker.group(topic.Name, name)
	if g == nil {
		return transport.ErrNoGroup
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
	return nil
}
