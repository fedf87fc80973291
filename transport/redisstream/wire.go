package redisstream

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/typedbus/typedbus/transport"
)

// The fields of an entry, as docs/wire-format.md specifies them.
const (
	fieldID          = "id"
	fieldKey         = "key"
	fieldContentType = "ct"
	fieldData        = "data"
	headerPrefix     = "h."
	// ownPrefix begins the fields that retry entries and dead letters have besides those of the message.
	// They mean something only on keys that this package alone writes.
	ownPrefix = "typedbus."
)

// A Mapping reads and writes entries of a foreign format: streams that exist already, or that other programs feed or read.
//
// An entry without an id gets one from its stream and position, the same at each delivery.
type Mapping struct {
	Data        string // the field with the body; required
	ID          string // the field with the message id; "" if entries have none
	Key         string // the field with the key; "" if entries have none: then keys of published messages are not stored
	ContentType string // the field with the content type; "" if entries have none: then those of published messages are not stored

	// HeaderPrefix begins the fields that are headers. "" makes every other field a header of the same name.
	HeaderPrefix string
	// DefaultContentType is taken for the content type of entries that have none; "" leaves it to the topic's codec.
	DefaultContentType string
	// Set holds constant fields for each published entry, such as "event_type": "order.placed".
	Set map[string]string
}

var native = Mapping{ID: fieldID, Key: fieldKey, ContentType: fieldContentType, Data: fieldData, HeaderPrefix: headerPrefix}

// appendFields appends m as field, value, field, value. Empty parts are left out, except the body.
func (mp *Mapping) appendFields(args []any, m *transport.Message) []any {
	if m.Body == nil {
		c := *m
		c.Body = []byte{}
		m = &c
	}
	args = mp.appendParts(args, m)
	for name, value := range mp.constants(m) {
		args = append(args, name, value)
	}
	return args
}

// appendParts appends what m itself says. A body that is nil is none: the entry is malformed.
func (mp *Mapping) appendParts(args []any, m *transport.Message) []any {
	if mp.ID != "" {
		args = append(args, mp.ID, m.ID)
	}
	if mp.ContentType != "" && m.ContentType != "" {
		args = append(args, mp.ContentType, m.ContentType)
	}
	if mp.Key != "" && m.Key != "" {
		args = append(args, mp.Key, m.Key)
	}
	if m.Body != nil {
		args = append(args, mp.Data, m.Body)
	}
	for _, h := range m.Headers {
		args = append(args, mp.HeaderPrefix+h.Name, h.Value)
	}
	return args
}

// constants are the fields of Set that m has no header for.
func (mp *Mapping) constants(m *transport.Message) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, value := range mp.Set {
			header, ok := strings.CutPrefix(name, mp.HeaderPrefix)
			if ok {
				_, ok = m.Headers.Lookup(header)
			}
			if !ok && !yield(name, value) {
				return
			}
		}
	}
}

var errNoFields = errors.New("the entry was deleted")

// parse reads an entry into m. m has an id afterwards, made from the position where the entry has none, so that redis-cli can
// publish by hand. The error says what is missing.
func (mp *Mapping) parse(m *transport.Message, stream, entryID string, fs fields) error {
	m.ContentType, m.Time = mp.DefaultContentType, entryTime(entryID)
	hasData := false
	for i := range fs {
		if f := &fs[i]; f.name == mp.Data {
			m.Body, hasData = []byte(f.value), true
		} else {
			mp.parsePart(m, f, len(fs)-i)
		}
	}
	if m.ID == "" {
		m.ID = stream + "/" + entryID
	}
	if len(m.Headers) > 1 {
		slices.SortFunc(m.Headers, func(a, b transport.Header) int { return strings.Compare(a.Name, b.Name) })
	}
	switch {
	case fs == nil:
		return errNoFields
	case !hasData:
		return fmt.Errorf("redisstream: entry %s of %s has no field %q", entryID, stream, mp.Data)
	}
	return nil
}

// parsePart reads a field that is not the body. There are at most left headers.
func (mp *Mapping) parsePart(m *transport.Message, f *field, left int) {
	switch {
	case mp.ID != "" && f.name == mp.ID:
		m.ID = f.value
	case mp.Key != "" && f.name == mp.Key:
		m.Key = f.value
	case mp.ContentType != "" && f.name == mp.ContentType:
		m.ContentType = cmp.Or(f.value, m.ContentType)
	case strings.HasPrefix(f.name, ownPrefix): // bookkeeping, or a forgery of it
	case strings.HasPrefix(f.name, mp.HeaderPrefix) && transport.ValidHeaderName(f.name[len(mp.HeaderPrefix):]):
		if m.Headers == nil {
			m.Headers = make(transport.Headers, 0, left)
		}
		m.Headers = append(m.Headers, transport.Header{Name: f.name[len(mp.HeaderPrefix):], Value: f.value})
	}
}
