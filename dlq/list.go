package dlq

import (
	"context"
	"errors"
	"iter"
	"slices"
)

const defaultLimit = 100

// List returns up to limit letters, oldest first, that come after the letter with the id after ("" for the first page), and
// what to give as after for the next page; "" if there is none. A limit of 0 is 100. With IDs the order is theirs.
func (q *Queue) List(ctx context.Context, f Filter, after string, limit int) (page []*Letter, next string, err error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	for l, err := range q.find(ctx, f, after) {
		if err != nil {
			return nil, "", q.failed("list", err)
		}
		if page = append(page, l); len(page) == limit {
			return page, l.LetterID, nil
		}
	}
	return page, "", nil
}

// All yields the letters, oldest first, as many as there are when it begins: those that come meanwhile may be left out. After
// an error, which comes with a nil letter, it ends. It holds few letters in memory at a time.
func (q *Queue) All(ctx context.Context, f Filter) iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		for l, err := range q.find(ctx, f, "") {
			if !yield(l, q.failed("all", err)) {
				return
			}
		}
	}
}

// find yields what matches; with an error it ends.
func (q *Queue) find(ctx context.Context, f Filter, after string) iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		if q.err != nil {
			yield(nil, q.err)
			return
		}
		letters := q.scan(ctx, after)
		if f.IDs != nil {
			letters = q.lookUp(ctx, f.IDs, after)
		}
		for l, err := range letters {
			if (err != nil || f.match(l)) && !yield(l, err) {
				return
			}
		}
	}
}

// scan yields all letters after one, as many as there are when it begins: a queue that grows as fast as it is read, because
// what is replayed dies again, must come to an end.
func (q *Queue) scan(ctx context.Context, after string) iter.Seq2[*Letter, error] {
	return func(yield func(*Letter, error) bool) {
		left, err := q.letters.CountLetters(ctx, q.topic, q.group)
		for limit := firstPage; left > 0 && err == nil; {
			var page []*Letter
			page, err = q.letters.Letters(ctx, q.topic, q.group, after, limit)
			for _, l := range page[:min(int64(len(page)), left)] {
				if !yield(l, nil) {
					return
				}
			}
			if len(page) < limit {
				break
			}
			left -= int64(len(page))
			after = page[len(page)-1].LetterID
			limit = nextSize(page)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

const (
	firstPage = 16
	maxPage   = 500
	pageBytes = 4 << 20
)

// nextSize is how many letters like these are about 4 MiB.
func nextSize(page []*Letter) int {
	sum := 0
	for _, l := range page {
		sum += size(l)
	}
	return min(max(pageBytes*len(page)/sum, 1), maxPage)
}

// size is about how many bytes a letter has.
func size(l *Letter) int {
	n := len(l.Body) + 1<<10
	for i := range l.Headers {
		n += len(l.Headers[i].Name) + len(l.Headers[i].Value)
	}
	return n
}

// lookUp yields the letters with these ids that exist, each once, after one of them.
func (q *Queue) lookUp(ctx context.Context, ids []string, after string) iter.Seq2[*Letter, error] {
	first := make(map[string]int, len(ids))
	for i, id := range slices.Backward(ids) {
		first[id] = i
	}
	from := 0
	if i, ok := first[after]; ok {
		from = i + 1
	}
	return func(yield func(*Letter, error) bool) {
		for i, id := range ids[from:] {
			if first[id] != from+i { // it had its turn
				continue
			}
			l, err := q.get(ctx, id)
			if errors.Is(err, ErrNoLetter) {
				continue
			}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}
