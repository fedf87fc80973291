package telemetry

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// classes are the values of error.type for errors whose Go type says nothing.
var classes = []struct {
	err   error
	class string
}{
	{bus.ErrUndecodable, "decode_error"},
	{bus.ErrTooLarge, "too_large"},
	{bus.ErrLeaseLost, classLeaseLost},
	{transport.ErrPublishUnknown, "publish_unknown"},
	{transport.ErrNoRoom, "no_room"},
	{transport.ErrRefused, "refused"},
	{transport.ErrClosed, "closed"},
	{context.DeadlineExceeded, "timeout"},
	{context.Canceled, "canceled"},
}

const (
	classPanic     = "panic"
	classLeaseLost = "lease_lost"
)

// errorType is the class of an error, for the attribute error.type: one of ours, or what package semconv says: what a method
// ErrorType() string of the error returns, or its Go type.
func errorType(err error) string {
	class, _ := classOf(err)
	return class
}

// classOf also says whether the class tells more than that there was a text.
func classOf(err error) (class string, telling bool) {
	if err == nil {
		return "", false
	}
	if p := (*bus.PanicError)(nil); errors.As(err, &p) {
		return classPanic, true
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.class, true
		}
	}
	own := interface{ ErrorType() string }(nil)
	says := errors.As(err, &own)
	if !says {
		err = unwrapped(err)
	}
	return semconv.ErrorType(err).Value.AsString(), says || !mute(err)
}

// unwrapped takes off the wrappers that only add words.
func unwrapped(err error) error {
	for inner := errors.Unwrap(err); inner != nil && mute(err); inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

const module = "github.com/typedbus/typedbus/"

// mute says whether the type of an error tells nothing: those of packages errors and fmt, and our own.
func mute(err error) bool {
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "errors" || t.PkgPath() == "fmt" || strings.HasPrefix(t.PkgPath(), module)
}

// maxText is the longest status description, in bytes.
const maxText = 1024

// fail gives a span the status Error. The text of err is its description only if [Options].ErrorText allows it.
func (t *Telemetry) fail(span trace.Span, class string, err error) {
	if !span.IsRecording() {
		return
	}
	text := ""
	if t.opts.ErrorText && err != nil {
		text = cut(err.Error())
	}
	span.SetStatus(codes.Error, text)
	span.SetAttributes(semconv.ErrorTypeKey.String(class))
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
