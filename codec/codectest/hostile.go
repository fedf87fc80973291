package codectest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
)

// What one hostile body may cost: a bomb takes gigabytes, an honest decoder a multiple of the body.
const (
	freeBytes    = 16 << 20
	bytesPerByte = 1 << 10
)

// bombs are bodies that made some decoder of some format take all memory or overflow the stack.
var bombs = [][]byte{
	nil,
	{0xdd, 0xff, 0xff, 0xff, 0xff},                         // MessagePack: an array of four billion
	{0xdf, 0xff, 0xff, 0xff, 0xff},                         // a map
	{0xc6, 0xff, 0xff, 0xff, 0xff},                         // binary
	{0xdb, 0xff, 0xff, 0xff, 0xff},                         // a string
	{0xc9, 0xff, 0xff, 0xff, 0xff, 0xff},                   // an extension
	{0xd6, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff},             // a timestamp that a map reader takes for a map
	{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, // CBOR: an array
	{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f},                   // Protocol Buffers: a field of four gigabytes
	bytes.Repeat([]byte{0x91}, 1<<20),                      // nested arrays
	bytes.Repeat([]byte{0x81}, 1<<20),                      // nested maps
	bytes.Repeat([]byte("["), 1<<20),                       // JSON: nested arrays
	bytes.Repeat([]byte(`{"a":`), 1<<18),                   // nested objects
	bytes.Repeat([]byte{0x0a}, 1<<20),                      // nested messages
	[]byte(`{"a":1e999999999}`),
	[]byte("null"),
	[]byte(`"` + strings.Repeat(`\u0000`, 1<<10) + `"`),
}

func (s Suite[T]) garbage() error {
	for i, body := range bombs {
		if err := s.survives(body); err != nil {
			return fmt.Errorf("bomb %d (%.16x...): %w", i, body, err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) // always the same, so that a failure comes again
	for range 500 {
		body := make([]byte, random.IntN(64))
		for i := range body {
			body[i] = byte(random.Uint32())
		}
		if err := s.survives(body); err != nil {
			return fmt.Errorf("body %x: %w", body, err)
		}
	}
	return s.mutated(random)
}

// mutated changes a few bytes of sound bodies, which gets further into a decoder than noise.
func (s Suite[T]) mutated(random *rand.Rand) error {
	return s.eachEncoding(func(_ T, body []byte) error {
		for range 200 {
			bad := bytes.Clone(body)
			for range min(len(bad), 1+random.IntN(3)) {
				bad[random.IntN(len(bad))] = byte(random.Uint32())
			}
			if err := s.survives(bad); err != nil {
				return fmt.Errorf("with bytes changed: %w", err)
			}
		}
		return nil
	})
}

func (s Suite[T]) truncated() error {
	return s.eachEncoding(func(_ T, body []byte) error {
		step := max(1, len(body)/200)
		for n := 0; n < len(body); n += step {
			if err := s.survives(body[:n:n]); err != nil {
				return fmt.Errorf("after %d of %d bytes: %w", n, len(body), err)
			}
		}
		return nil
	})
}

func (s Suite[T]) trailing() error {
	return s.eachEncoding(func(_ T, body []byte) error {
		for _, tail := range []string{"\x00", "\xff", "}", "garbage"} {
			if err := s.survives(append(bytes.Clone(body), tail...)); err != nil {
				return fmt.Errorf("with %q behind: %w", tail, err)
			}
		}
		return nil
	})
}

// survives decodes body, and returns an error if that panics or takes much memory. What is decoded does not matter.
func (s Suite[T]) survives(body []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it makes Decode panic: %v", r)
		}
	}()
	before := allocated()
	_, _ = s.Codec.Decode("", body)
	if took, most := allocated()-before, uint64(freeBytes+bytesPerByte*len(body)); took > most {
		return fmt.Errorf("decoding %d bytes allocates %d, more than %d", len(body), took, most)
	}
	return nil
}

// allocated is what the process has allocated so far, of which garbage is a part.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// errorsShowNothing decodes bodies full of a word, and looks for it in the errors.
func (s Suite[T]) errorsShowNothing() error {
	const canary = "kanarienvogel"
	bodies := []string{
		canary, `"` + canary + `"`, `{"` + canary + `":"` + canary + `"}`, `["` + canary + `"]`,
		"\xad" + canary, "\x81\xad" + canary + "\xad" + canary, "\x91\xad" + canary,
		"\x0a\x0d" + canary, "<a>" + canary + "</a>",
	}
	for _, body := range bodies {
		_, err := s.Codec.Decode("", []byte(body))
		for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			if strings.Contains(text, canary) {
				return fmt.Errorf("the error for a body with %q in it is: %s", canary, text)
			}
		}
	}
	return nil
}
