package codectest

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/typedbus/typedbus/codec"
)

// A broken codec is one of ours for strings with something changed.
type broken struct {
	codec.Codec[string]
	contentType func() string
	append      func(dst []byte, v string) ([]byte, error)
	decode      func(contentType string, body []byte) (string, error)
}

func (b broken) ContentType() string {
	if b.contentType != nil {
		return b.contentType()
	}
	return b.Codec.ContentType()
}

func (b broken) Append(dst []byte, v string) ([]byte, error) {
	if b.append != nil {
		return b.append(dst, v)
	}
	return b.Codec.Append(dst, v)
}

func (b broken) Decode(contentType string, body []byte) (string, error) {
	if b.decode != nil {
		return b.decode(contentType, body)
	}
	return b.Codec.Decode(contentType, body)
}

var plain = codec.JSON[string]()

// Each clause must catch the codec that breaks it: a suite that cannot fail proves nothing.
func TestClausesCatchBrokenCodecs(t *testing.T) {
	var shared []byte
	var calls atomic.Int32
	for clause, b := range map[string]broken{
		"round trip": {decode: func(string, []byte) (string, error) { return "other", nil }},
		"prefix":     {append: func(_ []byte, v string) ([]byte, error) { return plain.Append(nil, v) }},
		"dst kept": {append: func(dst []byte, v string) ([]byte, error) {
			shared, _ = plain.Append(shared[:0], v)
			return shared, nil
		}},
		"value kept": {decode: func(_ string, body []byte) (string, error) {
			if calls.Add(1) == 1 {
				return "not yet", nil
			}
			return plain.Decode("", body)
		}},
		"body": {decode: func(ct string, body []byte) (string, error) {
			v, err := plain.Decode(ct, body)
			body[0] = 'x'
			return v, err
		}},
		"content type": {contentType: func() string { return "json" }},
		"no content type": {decode: func(ct string, body []byte) (string, error) {
			if ct == "" {
				return "", errors.New("declare something")
			}
			return plain.Decode(ct, body)
		}},
		"foreign content type": {decode: func(_ string, body []byte) (string, error) { return plain.Decode("", body) }},
		"truncated":            {decode: panics(func(body []byte) bool { return body[0] == '"' && body[len(body)-1] != '"' })},
		"garbage":              {decode: panics(func(body []byte) bool { return body[0] == 0xdd })},
		"trailing":             {decode: panics(func(body []byte) bool { return bytes.HasSuffix(body, []byte("garbage")) })},
		"error shows nothing": {decode: func(_ string, body []byte) (string, error) {
			return "", fmt.Errorf("cannot decode %s", body)
		}},
	} {
		t.Run(clause, func(t *testing.T) {
			b.Codec = plain
			if err := run(t, clause, b); err == nil {
				t.Error("the clause holds for a codec that breaks it")
			} else {
				t.Log(err)
			}
		})
	}
}

// panics returns a Decode that panics over the bodies that are bad.
func panics(bad func([]byte) bool) func(string, []byte) (string, error) {
	return func(ct string, body []byte) (string, error) {
		if len(body) > 0 && bad(body) {
			panic("bad body")
		}
		return plain.Decode(ct, body)
	}
}

func TestGarbageCatchesAllocation(t *testing.T) {
	var keep []byte
	b := broken{Codec: plain, decode: func(ct string, body []byte) (string, error) {
		if len(body) == 5 {
			keep = make([]byte, 64<<20)
		}
		return plain.Decode(ct, body)
	}}
	if err := run(t, "garbage", b); err == nil {
		t.Errorf("no error after an allocation of %d bytes", len(keep))
	}
}

func TestConcurrentReportsErrors(t *testing.T) {
	b := broken{Codec: plain, decode: func(string, []byte) (string, error) { return "", errors.New("no") }}
	if err := run(t, "concurrent", b); err == nil {
		t.Error("the clause holds for a codec that breaks it")
	}
}

// run runs one clause against b.
func run(t *testing.T, name string, b broken) error {
	t.Helper()
	s := Suite[string]{Codec: b, Values: []string{"one", "another"}}.withDefaults()
	for _, c := range clauses[string]() {
		if c.name == name {
			return c.check(s)
		}
	}
	t.Fatalf("no clause %q", name)
	return nil
}

func TestEveryClauseIsASentence(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range clauses[string]() {
		if len(c.sentence) < 20 || seen[c.name] {
			t.Errorf("clause %q: %q", c.name, c.sentence)
		}
		seen[c.name] = true
	}
}
