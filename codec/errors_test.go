package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/codec"
)

const canary = "kanarienvog!" // what no error may show

// A leak is an error that every way to print it shows in full: a pointer would hide it from %#v.
type leak string

func (l leak) Error() string { return "cannot read " + string(l) }

const errCanary = leak(canary)

// assertNoCanary looks for payload in all that commonly prints an error.
func assertNoCanary(t *testing.T, err error) {
	t.Helper()
	asJSON, _ := json.Marshal(err)
	for _, text := range []string{
		fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err), string(asJSON),
		fmt.Sprint(fmt.Errorf("wrapped: %w", err)), fmt.Sprint(errors.Join(err, err)),
	} {
		assert.NotContains(t, text, canary)
		assert.NotContains(t, text, "4711")
	}
	assert.Nil(t, errors.Unwrap(err), "what walks the chain would print the cause")
}

// allocates returns how many bytes are allocated while f runs.
func allocates(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestErrorTexts(t *testing.T) {
	asOrder := reflect.TypeFor[order]()
	for want, err := range map[string]error{
		"codec: decode text/csv into codec_test.order: is not sorted": &codec.DecodeError{
			ContentType: "text/csv", Type: asOrder, Reason: "is not sorted", Cause: errCanary},
		"codec: decode text/csv into codec_test.order: field A.B: is negative (after 7 bytes)": &codec.DecodeError{
			ContentType: "text/csv", Type: asOrder, Field: "A.B", Offset: 7, Reason: "is negative"},
		"codec: encode codec_test.order as text/csv: has commas": &codec.EncodeError{
			ContentType: "text/csv", Type: asOrder, Reason: "has commas", Cause: errCanary},
	} {
		assert.EqualError(t, err, want)
		assertNoCanary(t, err)
	}
}

func TestErrorsWithoutCauseMatchNothing(t *testing.T) {
	for _, err := range []error{&codec.DecodeError{}, &codec.EncodeError{}} {
		assert.NotErrorIs(t, err, errCanary)
		_, found := errors.AsType[*json.SyntaxError](err)
		assert.False(t, found)
	}
}
