package dlq

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// maxLine is the longest line that is read, and so held in memory.
const maxLine = 64 << 20

// A LineError is what is wrong with a line of an import. It does not show the line.
type LineError struct {
	Line int // the first is 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// maxLineErrors is how many of them an error tells.
const maxLineErrors = 20

// Import stores letters that [Queue.Export] wrote for the same topic and group. A letter that is there already, by the ID of
// its message and the millisecond in which it died, is passed over: an import that was killed is finished by doing it again.
// Two imports of the same letters at the same time may store them twice; so does one of a file to which a letter was exported
// twice, with an import or an edit in between: give each export a file of its own. The bound that the group has for its
// letters holds for those that are imported too.
//
// A line that is no letter of this queue, or longer than 64 MiB, is passed over, and the others are imported all the same: the
// error then holds a [*LineError] for each of the first 20, and the report counts them all. If r or the transport fails, or ctx
// ends, the import ends there. Empty lines are nothing.
func (q *Queue) Import(ctx context.Context, r io.Reader) (rep Report, err error) {
	if err := q.archived(); err != nil {
		return rep, q.failed("import", err)
	}
	detail := "JSON lines"
	err = q.act(ctx, "import", &detail, func() (int, error) {
		im := importer{q: q, rep: &rep, there: make(map[identity]int), read: make(map[lineIdentity]bool)}
		err := im.run(ctx, r)
		detail += fmt.Sprintf(", %d passed over, %d bad", rep.Skipped, rep.Failed)
		return rep.Done, err
	})
	return rep, q.failed("import", err)
}

// identity tells letters apart, but for those of messages with the same id which died at the same time.
type identity struct {
	message string
	died    int64 // in milliseconds, which is what every transport keeps
}

// lineIdentity tells the letters of a file apart, which may have the same line twice.
type lineIdentity struct {
	identity
	letter string
}

func identityOf(l *Letter) identity { return identity{l.ID, l.Died.UnixMilli()} }

type importer struct {
	q     *Queue
	rep   *Report
	there map[identity]int // how many such letters the queue had, less those that lines were found for
	read  map[lineIdentity]bool
	bad   []error
}

func (im *importer) run(ctx context.Context, r io.Reader) error {
	for l, err := range im.q.scan(ctx, "") {
		if err != nil {
			return err
		}
		im.there[identityOf(l)]++
	}
	lines := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		text, err := readLine(lines)
		if err == io.EOF {
			return im.badLines()
		}
		if err == nil {
			err = im.line(ctx, text)
		}
		if err != nil && !im.tolerates(number, err) {
			return errors.Join(im.badLines(), &LineError{number, err})
		}
	}
}

// badLine marks what is the fault of one line.
type badLine struct{ error }

// tolerates says whether the import goes on after err.
func (im *importer) tolerates(number int, err error) bool {
	bad, ok := err.(badLine)
	if !ok {
		return false
	}
	im.rep.Matched++
	if im.rep.Failed++; len(im.bad) < maxLineErrors {
		im.bad = append(im.bad, &LineError{number, bad.error})
	}
	return true
}

func (im *importer) badLines() error {
	if more := im.rep.Failed - len(im.bad); more > 0 {
		im.bad = append(im.bad, fmt.Errorf("and %d bad lines more", more))
	}
	return errors.Join(im.bad...)
}

// line imports the letter of one line, if there is one and it is not there yet.
func (im *importer) line(ctx context.Context, text []byte) error {
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil
	}
	l, err := im.q.parseLine(text)
	if err != nil {
		return badLine{err}
	}
	if im.isThere(l) {
		im.rep.Skipped++
	} else if err := im.q.put(ctx, l); err != nil {
		return err
	} else {
		im.rep.Done++
	}
	im.rep.Matched++
	return nil
}

func (im *importer) isThere(l *Letter) bool {
	id := identityOf(l)
	in := lineIdentity{id, l.LetterID}
	if im.read[in] {
		return true
	}
	im.read[in] = true
	if im.there[id] > 0 {
		im.there[id]--
		return true
	}
	return false
}

// put is not cut short: the report would not know whether the letter is stored.
func (q *Queue) put(ctx context.Context, l *Letter) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	_, err := q.archive.PutLetter(ctx, q.topic, q.group, l, "")
	return err
}

// readLine returns the next line, whatever its end. One that is too long is read to its end and not kept.
func readLine(r *bufio.Reader) (text []byte, err error) {
	size := 0
	for {
		part, err := r.ReadSlice('\n')
		if size += len(part); size <= maxLine {
			text = append(text, part...)
		} else {
			text = nil
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && size == 0, err != nil && err != io.EOF:
			return nil, err
		case size > maxLine:
			return nil, badLine{fmt.Errorf("longer than %d bytes", maxLine)}
		}
		return text, nil
	}
}
