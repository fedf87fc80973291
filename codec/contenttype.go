package codec

import (
	"fmt"
	"strings"
)

// Accept returns nil when declared names one of the formats in want, or is "", and a [*ContentTypeError] otherwise.
// Case and parameters do not count: "Application/JSON; charset=utf-8" is "application/json". want must be written in
// that plain form, without parameters.
//
// It is what a codec calls first in Decode. It may be called concurrently and allocates only to refuse.
func Accept(declared string, want ...string) error {
	if declared == "" {
		return nil
	}
	media := mediaType(declared)
	for _, w := range want {
		if strings.EqualFold(media, w) {
			return nil
		}
	}
	// A copy of want, so that the caller's slice does not move to the heap on every call.
	return &ContentTypeError{Got: declared, Want: append([]string(nil), want...)}
}

// mediaType is declared without its parameters.
func mediaType(declared string) string {
	media, _, _ := strings.Cut(declared, ";")
	return strings.TrimSpace(media)
}

// A ContentTypeError says that a codec does not read the declared content type. The body was not looked at.
type ContentTypeError struct {
	Got  string   // as the producer declared it
	Want []string // what the codec reads, the format it writes first
}

func (e *ContentTypeError) Error() string {
	want := make([]string, len(e.Want))
	for i, w := range e.Want {
		want[i] = quoted(w)
	}
	return fmt.Sprintf("codec: content type %s is not read here, only %s: "+
		"let the producer declare what it writes, or add a codec for it with codec.Reads",
		quoted(e.Got), strings.Join(want, ", "))
}

// quoted keeps a declared content type, which is whatever a producer sent, from flooding a log line.
func quoted(s string) string {
	const most = 100
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
