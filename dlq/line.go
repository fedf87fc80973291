package dlq

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// lineVersion is the version of the format, which [Queue.Export] describes. A reader refuses another.
const lineVersion = 1

// A line is a letter in the format.
type line struct {
	Version int    `json:"v"`
	Topic   string `json:"topic"`
	Group   string `json:"group"`

	LetterID      string    `json:"letter_id,omitempty"`
	Reason        string    `json:"reason,omitempty"`
	ReasonBytes   []byte    `json:"reason_base64,omitempty"`
	Error         string    `json:"error,omitempty"`
	ErrorBytes    []byte    `json:"error_base64,omitempty"`
	Attempt       int       `json:"attempt"`
	Redelivered   int       `json:"redelivered"`
	Replays       int       `json:"replays"`
	Consumer      string    `json:"consumer,omitempty"`
	ConsumerBytes []byte    `json:"consumer_base64,omitempty"`
	Died          time.Time `json:"died"`
	Time          time.Time `json:"time,omitzero"`
	ID            string    `json:"id,omitempty"`
	IDBytes       []byte    `json:"id_base64,omitempty"`
	Key           string    `json:"key,omitempty"`
	KeyBytes      []byte    `json:"key_base64,omitempty"`
	ContentType   string    `json:"content_type,omitempty"`
	TypeBytes     []byte    `json:"content_type_base64,omitempty"`
	Headers       []header  `json:"headers,omitempty"`
	Body          *string   `json:"body,omitempty"` // nil: the entry was malformed and has none
	BodyBytes     []byte    `json:"body_base64,omitempty"`
}

type header struct {
	Name       string `json:"name"`
	Value      string `json:"value,omitempty"`
	ValueBytes []byte `json:"value_base64,omitempty"`
}

// pairs are the fields that have two forms: text, and bytes that are no UTF-8.
func (ln *line) pairs(l *Letter, each func(value *string, text *string, raw *[]byte)) {
	each(&l.Reason, &ln.Reason, &ln.ReasonBytes)
	each(&l.Error, &ln.Error, &ln.ErrorBytes)
	each(&l.Consumer, &ln.Consumer, &ln.ConsumerBytes)
	each(&l.ID, &ln.ID, &ln.IDBytes)
	each(&l.Key, &ln.Key, &ln.KeyBytes)
	each(&l.ContentType, &ln.ContentType, &ln.TypeBytes)
	for i := range ln.Headers {
		each(&l.Headers[i].Value, &ln.Headers[i].Value, &ln.Headers[i].ValueBytes)
	}
}

// newLine writes a letter of q.
func (q *Queue) newLine(l *Letter) *line {
	ln := &line{
		Version: lineVersion, Topic: q.topic.Name, Group: q.group, LetterID: l.LetterID,
		Attempt: l.Attempt, Redelivered: l.Redelivered, Replays: l.Replays, Died: writable(l.Died), Time: writable(l.Time),
		Headers: make([]header, len(l.Headers)),
	}
	for i := range l.Headers {
		ln.Headers[i].Name = l.Headers[i].Name
	}
	ln.pairs(l, func(value, text *string, raw *[]byte) {
		if utf8.ValidString(*value) {
			*text = *value
		} else {
			*raw = []byte(*value)
		}
	})
	switch {
	case l.Body == nil:
	case utf8.Valid(l.Body):
		body := string(l.Body)
		ln.Body = &body
	default:
		ln.BodyBytes = l.Body
	}
	return ln
}

// lastTime is the last that RFC 3339 can tell.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC)

// writable is t, or the last time there is: entries that other programs store may have ids that are no milliseconds.
func writable(t time.Time) time.Time {
	if t.After(lastTime) {
		return lastTime
	}
	return t.UTC()
}

// parseLine reads a letter of q. Its errors show nothing of the line but names of fields and headers.
func (q *Queue) parseLine(text []byte) (*Letter, error) {
	ln, err := decodeLine(text)
	if err != nil {
		return nil, err
	}
	if ln.Topic != q.topic.Name || ln.Group != q.group {
		return nil, errors.New("a letter of another topic or group")
	}
	return ln.letter()
}

func decodeLine(text []byte) (*line, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	var ln line
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&ln); err != nil {
		return nil, cmp.Or(otherVersion(text), inWords(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	if halfSurrogate(text) {
		return nil, errors.New(`half of a \u surrogate pair, which is no text: use the base64 field`)
	}
	return &ln, otherVersion(text)
}

// otherVersion refuses what this version does not understand.
func otherVersion(text []byte) error {
	var any struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(text, &any) != nil || any.Version == lineVersion {
		return nil
	}
	return fmt.Errorf("version %d of the format, and this reads %d", any.Version, lineVersion)
}

// inWords says what is wrong without quoting it.
func inWords(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var date *time.ParseError
	var code base64.CorruptInputError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("cut off")
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("the field %s has another type", kind.Field)
	case errors.As(err, &kind):
		return errors.New("no JSON object")
	case errors.As(err, &date):
		return errors.New("a time that is not RFC 3339")
	case errors.As(err, &code):
		return errors.New("bad base64")
	}
	return fmt.Errorf("a field that version %d does not have", lineVersion)
}

// letter checks what was decoded.
func (ln *line) letter() (*Letter, error) {
	l := &Letter{
		Message:  &bus.Message{Time: ln.Time, Headers: make(transport.Headers, len(ln.Headers))},
		LetterID: ln.LetterID, Attempt: ln.Attempt, Redelivered: ln.Redelivered, Replays: ln.Replays, Died: ln.Died,
	}
	for i, h := range ln.Headers {
		l.Headers[i].Name = h.Name
	}
	twice := ln.Body != nil && len(ln.BodyBytes) > 0
	ln.pairs(l, func(value, text *string, raw *[]byte) {
		twice = twice || *text != "" && len(*raw) > 0
		*value = *text + string(*raw)
	})
	if l.Body = ln.BodyBytes; ln.Body != nil {
		l.Body = []byte(*ln.Body)
	}
	switch {
	case twice:
		return nil, errors.New("a field both as text and as base64")
	case ln.Died.IsZero():
		return nil, errors.New("no died")
	case min(ln.Attempt, ln.Redelivered, ln.Replays) < 0:
		return nil, errors.New("a negative count")
	}
	return l, storable(l.Message)
}

// halfSurrogate finds what a JSON decoder would silently make a replacement character of.
func halfSurrogate(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		switch u := unit(text[i:]); {
		case isLow(u), isHigh(u) && !isLow(unit(text[i+6:])):
			return true
		case isHigh(u):
			i += 11
		default:
			i++
		}
	}
	return false
}

func isHigh(u uint64) bool { return 0xd800 <= u && u < 0xdc00 }
func isLow(u uint64) bool  { return 0xdc00 <= u && u < 0xe000 }

// unit reads a \uXXXX; 0 if there is none.
func unit(text []byte) uint64 {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	u, _ := strconv.ParseUint(string(text[2:6]), 16, 16)
	return u
}
