package dlq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Export writes the letters that match to w, oldest first, as JSON lines: one object and one Write a letter. It returns how
// many it wrote, and leaves the letters where they are. The format is for files, other programs, and [Queue.Import]:
//
//	v             1, the version of this format
//	topic, group  whose letter it is
//	letter_id     its id in this queue; another queue gives another
//	reason, error, attempt, redelivered, replays, consumer, died
//	time, id, key, content_type, body
//	headers       an array of objects {"name": ..., "value": ...}
//
// Times are RFC 3339 with up to nine decimals, in UTC, and 9999 at the latest. What is empty is left out. Texts are JSON
// strings; what is no UTF-8 stands in base64 in a field with _base64 at the end of its name, as body_base64 or value_base64,
// instead.
//
// A letter whose line is longer than the 64 MiB that Import reads is written all the same, and the error names it: leave it
// in the queue.
func (q *Queue) Export(ctx context.Context, w io.Writer, f Filter) (n int, err error) {
	if err := q.archived(); err != nil {
		return 0, q.failed("export", err)
	}
	detail := orAll(f.words())
	err = q.act(ctx, "export", &detail, func() (int, error) {
		n, err = q.export(ctx, w, f)
		return n, err
	})
	return n, q.failed("export", err)
}

func (q *Queue) export(ctx context.Context, w io.Writer, f Filter) (n int, err error) {
	lines := &lineWriter{w: w}
	enc := json.NewEncoder(lines)
	enc.SetEscapeHTML(false)
	var long []error
	for l, err := range q.find(ctx, f, "") {
		if err == nil {
			err = enc.Encode(q.newLine(l))
		}
		if err != nil {
			return n, errors.Join(append(long, err)...)
		}
		n++
		if lines.last > maxLine && len(long) < maxLineErrors {
			long = append(long, fmt.Errorf("letter %s: its line has %d bytes, and Import reads %d: do not discard it",
				l.LetterID, lines.last, maxLine))
		}
	}
	return n, errors.Join(long...)
}

// A lineWriter knows how long the last line was.
type lineWriter struct {
	w    io.Writer
	last int
}

func (lw *lineWriter) Write(line []byte) (int, error) {
	lw.last = len(line)
	return lw.w.Write(line)
}
