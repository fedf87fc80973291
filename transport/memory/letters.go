package memory

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// letters are the dead letters of a group, in the order of their numbers. The group's lock guards them.
type letters struct {
	all     []letter // those that were removed have no message, until the next tidy
	live    int
	count   uint64
	ages    schedule[uint64] // the numbers of the live ones, by when they died
	dropped int64            // by the bound
}

// A letter is a dead letter as it is kept.
type letter struct {
	transport.Letter
	number uint64
	age    *dueEntry[uint64]
}

// newLetter makes a letter of what died.
func newLetter(it *item, st *transport.Settlement, consumer string) transport.Letter {
	m := it.msg.Clone()
	if m.Body == nil {
		m.Body = []byte{} // none at all is what a malformed message has, and here is none
	}
	return transport.Letter{
		Message:     m,
		Reason:      st.Reason,
		Error:       cut(st.Error),
		Attempt:     it.attempt,
		Redelivered: it.redelivered,
		Replays:     it.replays,
		Consumer:    consumer,
		Died:        time.Now(),
	}
}

// copyLetter returns a letter that shares nothing with l.
func copyLetter(l *transport.Letter) (transport.Letter, error) {
	if l == nil {
		l = &transport.Letter{}
	}
	ms, err := copyAll(nil, []*transport.Message{l.Message})
	if err != nil {
		return transport.Letter{}, err
	}
	c := *l
	c.Message, c.Error = &ms[0], cut(l.Error)
	c.NotBefore = time.Time{}
	for _, at := range []*time.Time{&c.Time, &c.Died} {
		if at.IsZero() {
			*at = time.Now()
		}
	}
	return c, nil
}

// cut shortens an error text to what a letter keeps, at the end of a character.
func cut(s string) string {
	if len(s) <= transport.MaxErrorText {
		return s
	}
	return strings.ToValidUTF8(s[:transport.MaxErrorText], "")
}

// add keeps a letter and returns its id.
func (ls *letters) add(l transport.Letter) (id string) {
	ls.count++
	ls.live++
	l.LetterID = strconv.FormatUint(ls.count, 10)
	ls.all = append(ls.all, letter{Letter: l, number: ls.count, age: ls.ages.add(l.Died, ls.count)})
	return l.LetterID
}

// search returns the index of the first letter with this number or a higher one, and whether it has this one.
func (ls *letters) search(number uint64) (i int, found bool) {
	return slices.BinarySearchFunc(ls.all, number, func(l letter, n uint64) int { return cmp.Compare(l.number, n) })
}

// find returns the index of a letter, and whether it is there.
func (ls *letters) find(id string) (i int, ok bool) {
	number, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0, false
	}
	i, ok = ls.search(number)
	return i, ok && ls.all[i].Message != nil
}

// remove takes a letter out, and says whether it was there.
func (ls *letters) remove(id string) (l transport.Letter, ok bool) {
	i, ok := ls.find(id)
	if ok {
		l = ls.all[i].Letter
		ls.ages.remove(ls.all[i].age)
		ls.empty(i)
		ls.tidy()
	}
	return l, ok
}

// empty leaves nothing of a letter but its number. Its age is out of ages already.
func (ls *letters) empty(i int) {
	ls.all[i] = letter{number: ls.all[i].number}
	ls.live--
}

// tidy gives memory back when half of it is empty.
func (ls *letters) tidy() {
	if ls.live < len(ls.all)/2 {
		ls.all = slices.DeleteFunc(ls.all, func(l letter) bool { return l.Message == nil })
	}
}

// page returns copies of up to limit letters.
func (ls *letters) page(after uint64, limit int) (page []*transport.Letter) {
	i, found := ls.search(after)
	if found {
		i++
	}
	for _, l := range ls.all[i:] {
		if len(page) >= limit {
			break
		}
		if l.Message != nil {
			page = append(page, l.clone())
		}
	}
	return page
}

func (l *letter) clone() *transport.Letter {
	c := l.Letter
	c.Message = l.Message.Clone()
	return &c
}
