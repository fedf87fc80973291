package redisstream

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/transport"
)

// partOf says whether s is a part of whole, so that it keeps whole in memory.
func partOf(s, whole string) bool {
	at := uintptr(unsafe.Pointer(unsafe.StringData(s))) - uintptr(unsafe.Pointer(unsafe.StringData(whole)))
	return at < uintptr(len(whole))
}

func TestIDsDoNotKeepLongBodies(t *testing.T) {
	s := &subscription{mapping: &native}
	for _, size := range []int{0, longBody - 1, longBody, 1 << 20} {
		body := strings.Repeat("x", size)
		fs := fields{{"id", "42"}, {"data", body}, {"h.a", "b"}}
		h := s.holdable(&entry{src: fromTopic, id: "1-0", count: 1, fields: slices.Clone(fs)}, time.Now())
		assert.NoError(t, h.Malformed)
		assert.True(t, string(h.Message.Body) == body)
		assert.Equal(t, transport.Headers{{Name: "a", Value: "b"}}, h.Message.Headers)
		assert.Less(t, len(h.kept), 2*longBody, "what ids are parts of")
		assert.ElementsMatch(t, fs, s.appendFields(nil, h))
	}
}

func TestLostReceiptsDoNotKeepEvents(t *testing.T) {
	s := &subscription{mapping: &native}
	s.held.init()
	h := s.holdable(&entry{src: fromTopic, id: "1-0", count: 1, fields: fields{{"id", "42"}, {"data", "x"}}}, time.Now())
	s.held.byKey[h.key] = h
	s.lose(h)
	assert.True(t, s.held.lost.has(h.Receipt))
	for receipt := range s.held.lost.set {
		assert.False(t, partOf(receipt, h.Receipt))
	}
	for key := range s.held.lost.keys {
		assert.False(t, partOf(key, h.Receipt))
	}
}
