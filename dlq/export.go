package dlq

import (
	"context"
	"encoding/json"
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
// Times are RFC 3339 with up to nine decimals, in UTC. What is empty is left out. Texts are JSON strings; what is no UTF-8
// stands in base64 in a field with _base64 at the end of its name, as body_base64 or value_base64, instead.
func (q *Queue) Export(ctx context.Context, w io.Writer, f Filter) (n int, err error) {
	if err := q.archived(); err != nil {
		return 0, q.failed("export", err)
	}
	detail := orAll(f.words())
	err = q.act(ctx, "export", &detail, func() (int, error) {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for l, err := range q.find(ctx, f, "") {
			if err == nil {
				err = enc.Encode(q.newLine(l))
			}
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	})
	return n, q.failed("export", err)
}
