package codec_test

import (
	"mime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/codec"
)

func TestAccept(t *testing.T) {
	for declared, ok := range map[string]bool{
		"":                                 true,
		"application/json":                 true,
		"Application/JSON":                 true,
		"application/json; charset=utf-8":  true,
		"application/json;charset=utf-8":   true,
		" application/json ; charset=utf8": true,
		"application/x-json":               true,
		"application/cloudevents+json":     false,
		"application/jsonx":                false,
		"text/json":                        false,
		"json":                             false,
		";":                                false,
		" ":                                false,
	} {
		err := codec.Accept(declared, "application/json", "application/x-json")
		assert.Equal(t, ok, err == nil, "%q: %v", declared, err)
	}
}

func TestAcceptDoesNotAllocate(t *testing.T) {
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_ = codec.Accept("Application/JSON; charset=utf-8", "application/x-json", "application/json")
	}))
}

func TestContentTypeErrorSaysWhatToDo(t *testing.T) {
	_, err := codec.JSON[order]().Decode("text/csv", nil)
	assert.EqualError(t, err, `codec: content type "text/csv" is not read here, only "application/json": `+
		`let the producer declare what it writes, or add a codec for it with codec.Reads`)
	assert.Equal(t, &codec.ContentTypeError{Got: "text/csv", Want: []string{"application/json"}}, err)
}

func TestContentTypeErrorIsShort(t *testing.T) {
	err := codec.Accept(strings.Repeat("x\n", 1<<20), "application/json")
	assert.Less(t, len(err.Error()), 500)
}

func FuzzAccept(f *testing.F) {
	for _, declared := range []string{"", ";", "application/json", "APPLICATION/JSON; charset=utf-8", "text/html; a=\";\"", "ſ/K"} {
		f.Add(declared)
	}
	f.Fuzz(func(t *testing.T, declared string) {
		err := codec.Accept(declared, "application/json")
		if err != nil {
			_ = err.Error()
		}
		// Where the standard library finds a media type, ours is the same.
		if media, _, bad := mime.ParseMediaType(declared); bad == nil && media != "" {
			if want := media == "application/json"; want != (err == nil) {
				t.Errorf("%q is %q, but Accept returns %v", declared, media, err)
			}
		}
	})
}
