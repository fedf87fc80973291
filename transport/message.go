package transport

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// A Message is an event at rest: everything about it is headers and bytes.
type Message struct {
	ID          string // made before the first try and the same in every copy; never empty in a delivery
	Key         string // what the event is about (a customer, a device); may be empty
	ContentType string // of Body, as "application/json"; empty if the producer did not say
	Headers     Headers
	Body        []byte

	// Time is when the message was stored, by the broker's clock. The transport sets it; publishing ignores it. That of a
	// message which NotBefore held back is when its time had come.
	Time time.Time

	// NotBefore holds delivery back until then. It is judged by the broker's clock, counted from the publisher's: a message
	// published with NotBefore an hour from now is delivered an hour later even if the two clocks disagree.
	// It is not stored, so deliveries do not have it.
	NotBefore time.Time
}

// Clone returns a copy that shares nothing with m.
func (m *Message) Clone() *Message {
	c := *m
	c.Headers = slices.Clone(m.Headers)
	c.Body = slices.Clone(m.Body)
	return &c
}

// NewID returns a new message id: a UUIDv7, unique, and in the order of its making within a process.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// A Header is one name and its value. Names are 1 to 128 printable ASCII characters without spaces; values are any bytes.
type Header struct{ Name, Value string }

// Headers are what travels beside the body. Copies of a message may share them, so change them only through Set and Del,
// which write into a copy. A name occurs at most once.
type Headers []Header

// Get returns the value of a header, "" if there is none.
func (h Headers) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the value of a header and whether it is there.
func (h Headers) Lookup(name string) (string, bool) {
	for i := range h {
		if h[i].Name == name {
			return h[i].Value, true
		}
	}
	return "", false
}

// Set gives a header its value, in a new backing array: others who hold h see no change.
func (h *Headers) Set(name, value string) {
	c := slices.Grow(slices.Clone(*h), 1)
	i := slices.IndexFunc(c, func(x Header) bool { return x.Name == name })
	if i < 0 {
		*h = append(c, Header{name, value})
		return
	}
	c[i].Value = value
	*h = c
}

// Del removes a header, in a new backing array.
func (h *Headers) Del(name string) {
	*h = slices.DeleteFunc(slices.Clone(*h), func(x Header) bool { return x.Name == name })
}

// ValidHeaderName says whether name may name a header.
func ValidHeaderName(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return true
}
