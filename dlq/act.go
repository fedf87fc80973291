package dlq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/typedbus/typedbus/transport"
)

// An Act is a line of the record: what was done with the letters, by whom, when.
type Act = transport.Act

// Acts yields the record of the group, oldest first. An act has two lines with the same number in their Detail: one when it
// begins, with Count -1, and one when it has ended, with how many letters it is known to have changed and the error that ended
// it: a step whose answer got lost, up to 100 letters, is not counted, and may have been done. An act without the second was
// killed. The newest 10,000 lines are kept at least. After an error the sequence ends.
func (q *Queue) Acts(ctx context.Context) iter.Seq2[Act, error] {
	return func(yield func(Act, error) bool) {
		err := q.archived()
		for after := ""; err == nil; {
			var page []Act
			page, err = q.archive.Acts(ctx, q.topic, q.group, after, maxPage)
			for _, a := range page {
				if !yield(a, nil) {
					return
				}
			}
			if len(page) < maxPage {
				break
			}
			after = page[len(page)-1].ActID
		}
		if err != nil {
			yield(Act{}, q.failed("acts", err))
		}
	}
}

// patience is how long the transport has for a step that must not be left half known because ctx has ended.
const patience = 10 * time.Second

// finishing makes a context for such a step.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}

// act does something that changes or copies letters, and records its beginning and its end. do may add to detail.
func (q *Queue) act(ctx context.Context, what string, detail *string, do func() (count int, err error)) error {
	number := transport.NewID()
	number = "act " + number[len(number)-8:] + ": "
	if err := q.record(ctx, what, number+*detail, -1); err != nil {
		return fmt.Errorf("refused, because it cannot be recorded: %w", err)
	}
	count, err := do()
	if err != nil {
		*detail = cut(*detail, transport.MaxErrorText/2) + ": failed: " + err.Error() // which no long filter may push out
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	if e := q.record(ctx, what, number+*detail, int64(count)); e != nil {
		err = errors.Join(err, fmt.Errorf("done to %d letters, but its end cannot be recorded: %w", count, e))
	}
	return err
}

func (q *Queue) record(ctx context.Context, what, detail string, count int64) error {
	return q.archive.RecordAct(ctx, q.topic, q.group, Act{Who: q.who, What: what, Detail: shorten(detail), Count: count})
}
