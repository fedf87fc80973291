package compress_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/middleware/compress"
)

// allocated is how much f allocates, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// bomb is about 100 bytes for each MiB of zeros, which does not say how much that is.
func bomb(t testing.TB, mib int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	require.NoError(t, err)
	for range mib {
		_, err := w.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// TestABombTakesLittleMoreThanItMay: a buffer that doubles, and the last time to the bound, takes at most twice that at a time and
// three times with all that it grew out of.
func TestABombTakesLittleMoreThanItMay(t *testing.T) {
	const most = 9 << 20 // not what doubling arrives at
	c := compress.Zstd(compress.Options{MaxDecoded: most})
	body := encoded(bomb(t, 64))
	explode := func() {
		_, err := handled(t, c, body)
		assert.ErrorIs(t, err, bus.ErrTooLarge)
	}
	for range 2 * runtime.GOMAXPROCS(0) { // each decoder has its window then
		explode()
	}
	assert.Less(t, allocated(explode), uint64(3*most))
}

// FuzzRoundTrip: what is sent is handled as it was, however compressible and however near to the bounds.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("abc"), uint16(1000), "")
	f.Add([]byte{}, uint16(0), "gzip")
	f.Add([]byte{0}, uint16(5000), "ZSTD")
	f.Add(noise(200), uint16(25), "")
	const most = 5000
	c := compress.Zstd(compress.Options{MinSize: 1, MaxDecoded: most})
	f.Fuzz(func(t *testing.T, body []byte, times uint16, encoding string) {
		m := &bus.Message{ID: "1", Body: bytes.Repeat(body, int(times)%(1+most/(1+len(body))))}
		if encoding != "" {
			m.Headers.Set("content-encoding", encoding)
		}
		before := m.Clone()
		out := sent(t, c, m)[0]
		assert.Equal(t, before, m)
		if encoding != "" {
			assert.Equal(t, before, out, "its publisher has encoded it")
			return
		}
		got, err := handled(t, c, out)
		require.NoError(t, err)
		assert.Equal(t, string(m.Body), string(got.Body))
		assert.Empty(t, got.Headers)
	})
}

// FuzzCutFrames: of a body that is cut off, or followed by something, there is an error or all that there is, and in either
// case within bounds.
func FuzzCutFrames(f *testing.F) {
	f.Add(uint16(10), []byte(nil), true)
	f.Add(uint16(0), []byte("x"), false)
	f.Add(uint16(1), []byte{0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff}, true) // a frame to skip, of four gigabytes
	content := text(3000)
	const most = 10_000
	c := compress.Zstd(compress.Options{MaxDecoded: most})
	good := map[bool][]byte{true: frames(f, content, 1, true), false: frames(f, content, 1, false)}
	f.Fuzz(func(t *testing.T, off uint16, more []byte, known bool) {
		body := good[known]
		body = append(bytes.Clone(body[:len(body)-int(off)%len(body)]), more...)
		got, err := handled(t, c, encoded(body))
		if err != nil {
			assert.ErrorIs(t, err, bus.ErrUndecodable)
			assert.Less(t, len(err.Error()), 300)
			return
		}
		assert.LessOrEqual(t, len(got.Body), most)
	})
}
