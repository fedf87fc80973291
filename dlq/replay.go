package dlq

import (
	"context"
	"fmt"
	"iter"
	"time"

	"golang.org/x/time/rate"

	"github.com/typedbus/typedbus/transport"
)

// A Report is what an act is known to have done, also when it ended with an error. Then up to 100 letters more may be done,
// those of the step that had no answer.
type Report struct {
	Matched int // letters that the filter matched, at most Max; of an import, lines
	Done    int // letters replayed, discarded or imported
	Skipped int // letters that were gone when their turn came; of an import, those that were there already
	Failed  int // of an import: lines that are no letters of this queue
}

// ReplayOptions are the settings of [Queue.Replay]. The zero value replays as fast as the transport can.
type ReplayOptions struct {
	Rate     float64      // letters a second; default no limit
	Burst    int          // letters that may go at once within the rate; default a tenth of a second's, at least 1 and at most 100
	Max      int          // at most so many letters, the oldest; default all that match
	DryRun   bool         // only count what matches
	Progress func(Report) // called after each step, in the goroutine of Replay; default nothing
}

// Replay hands the letters that match to the group that failed, and to no other, as new deliveries with all tries before them.
// It works on the letters that exist when it begins: what dies again meanwhile is not replayed again. A letter of an event
// published with [Expires] whose time is over dies again at once, unless the header is edited.
//
// When ctx ends it returns the context's error and a report of what was done. Each letter is removed and delivered in one
// step: after an error, or if the process is killed, the same Replay again goes on with what is left; none is lost, and none
// is delivered twice.
func (q *Queue) Replay(ctx context.Context, f Filter, o ReplayOptions) (Report, error) {
	r := removal{what: "replay", detail: "as fast as can be", size: maxStep, max: o.Max, dry: o.DryRun, progress: o.Progress}
	if o.Rate > 0 {
		r.size = o.burst()
		r.pace = rate.NewLimiter(rate.Limit(o.Rate), r.size)
		r.detail = fmt.Sprintf("%v a second", o.Rate)
	}
	if q.err == nil {
		r.step = q.letters.Replay
	}
	return q.remove(ctx, f, r)
}

// maxStep and stepBytes bound what goes in one call of the transport, and so how long a broker does nothing else.
const (
	maxStep   = 100
	stepBytes = 8 << 20
)

func (o *ReplayOptions) burst() int {
	if o.Burst > 0 {
		return min(o.Burst, maxStep)
	}
	return int(min(max(o.Rate/10, 1), maxStep))
}

// DiscardOptions are the settings of [Queue.Discard]. The zero value discards all that match.
type DiscardOptions struct {
	Max    int  // at most so many letters, the oldest; default all that match
	DryRun bool // only count what matches
}

// Discard removes the letters that match for good. [Queue.Export] them before, and discard by the IDs that were exported: what
// died meanwhile matches the same filter, and is in no file. When ctx ends it returns its error and a report of what was done.
func (q *Queue) Discard(ctx context.Context, f Filter, o DiscardOptions) (Report, error) {
	r := removal{what: "discard", detail: "for good", size: maxStep, max: o.Max, dry: o.DryRun}
	if q.err == nil {
		r.step = q.letters.Discard
	}
	return q.remove(ctx, f, r)
}

// A removal takes letters out of the queue, step by step.
type removal struct {
	what, detail string
	step         func(ctx context.Context, t transport.Topic, group string, ids ...string) (int, error)
	size, max    int
	pace         *rate.Limiter // nil: none
	dry          bool
	progress     func(Report)
}

func (q *Queue) remove(ctx context.Context, f Filter, r removal) (rep Report, err error) {
	if err := q.removable(&f); err != nil {
		return rep, q.failed(r.what, err)
	}
	found, err := q.matching(ctx, f, r.max)
	rep.Matched = len(found)
	if err != nil || r.dry || len(found) == 0 {
		return rep, q.failed(r.what, err)
	}
	detail := fmt.Sprintf("%d letters, %s: %s", len(found), r.detail, orAll(f.words()))
	err = q.act(ctx, r.what, &detail, func() (int, error) {
		err := q.removeAll(ctx, found, r, &rep)
		return rep.Done, err
	})
	return rep, q.failed(r.what, err)
}

func (q *Queue) removable(f *Filter) error {
	if err := q.archived(); err != nil {
		return err
	}
	return f.meant()
}

func orAll(words string) string {
	if words == "" {
		return "all"
	}
	return words
}

// A match is a letter that is to be removed.
type match struct {
	id   string
	size int
}

// matching returns the letters that match now.
func (q *Queue) matching(ctx context.Context, f Filter, most int) (found []match, err error) {
	for l, err := range q.find(ctx, f, "") {
		if err != nil {
			return found, err
		}
		if found = append(found, match{l.LetterID, size(l)}); len(found) == most {
			break
		}
	}
	return found, nil
}

// steps yields the ids, at most most at a time, and of large letters fewer.
func steps(found []match, most int) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		var ids []string
		sum := 0
		for _, m := range found {
			if len(ids) == most || len(ids) > 0 && sum+m.size > stepBytes {
				if !yield(ids) {
					return
				}
				ids, sum = nil, 0
			}
			ids, sum = append(ids, m.id), sum+m.size
		}
		if len(ids) > 0 {
			yield(ids)
		}
	}
}

func (q *Queue) removeAll(ctx context.Context, found []match, r removal, rep *Report) error {
	for step := range steps(found, r.size) {
		if err := wait(ctx, r.pace, len(step)); err != nil {
			return err
		}
		n, err := q.removeStep(ctx, step, r)
		rep.Done += n
		if err != nil {
			return err
		}
		rep.Skipped += len(step) - n
		if r.progress != nil {
			r.progress(*rep)
		}
	}
	return nil
}

// removeStep is not cut short: the report would not know what it did.
func (q *Queue) removeStep(ctx context.Context, ids []string, r removal) (int, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	return r.step(ctx, q.topic, q.group, ids...)
}

// wait waits until n letters may go.
func wait(ctx context.Context, pace *rate.Limiter, n int) error {
	if pace == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	delay := pace.ReserveN(time.Now(), n).Delay()
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
