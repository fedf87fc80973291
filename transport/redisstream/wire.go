package redisstream

import (
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

// parse reads an entry. The message is never nil and always has an id, made from the position where the entry has none, so
// that redis-cli can publish by hand. The error says what is missing.
func (mp *Mapping) parse(stream, entryID string, values map[string]any) (*transport.Message, error) {
	m := &transport.Message{ID: stream + "/" + entryID, ContentType: mp.DefaultContentType, Time: entryTime(entryID)}
	if values == nil {
		return m, errNoFields
	}
	hasData := false
	for field, v := range values {
		s, _ := v.(string)
		switch {
		case field == mp.Data:
			m.Body, hasData = []byte(s), true
		case mp.ID != "" && field == mp.ID:
			if s != "" {
				m.ID = s
			}
		case mp.Key != "" && field == mp.Key:
			m.Key = s
		case mp.ContentType != "" && field == mp.ContentType:
			if s != "" {
				m.ContentType = s
			}
		case strings.HasPrefix(field, ownPrefix): // bookkeeping, or a forgery of it
		case strings.HasPrefix(field, mp.HeaderPrefix) && transport.ValidHeaderName(field[len(mp.HeaderPrefix):]):
			m.Headers = append(m.Headers, transport.Header{Name: field[len(mp.HeaderPrefix):], Value: s})
		}
	}
	slices.SortFunc(m.Headers, func(a, b transport.Header) int { return strings.Compare(a.Name, b.Name) })
	if !hasData {
		return m, fmt.Errorf("redisstream: entry %s of %s has no field %q", entryID, stream, mp.Data)
	}
	return m, nil
}
