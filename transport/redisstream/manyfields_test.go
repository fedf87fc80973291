package redisstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// TestAnEntryOfTenThousandFieldsGoesEveryWay: Lua's stack has no room for so many arguments, and it must not stand in the way of
// what waits behind it.
func TestAnEntryOfTenThousandFieldsGoesEveryWay(t *testing.T) {
	s := redistest.Start(t)
	tr := New(s.Client(), Options{})
	t.Cleanup(func() { tr.Close() })
	topic := transport.Topic{Name: "orders"}
	sub, err := tr.Subscribe(t.Context(), topic, transport.Group{Name: "billing"})
	require.NoError(t, err)
	values := []any{"id", "1", "data", "body", fieldFields, "3:bad3:bad"}
	for i := range 10000 {
		values = append(values, fmt.Sprintf("h.name-%d", i), fmt.Sprintf("value:%d", i))
	}
	require.NoError(t, s.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", Values: values}).Err())

	receive := func() *transport.Delivery {
		ds, err := sub.Receive(t.Context(), 1)
		require.NoError(t, err)
		assert.Len(t, ds[0].Headers, 10000)
		assert.Equal(t, "value:9999", ds[0].Headers.Get("name-9999"))
		assert.Equal(t, "body", string(ds[0].Body))
		assert.Equal(t, "1", ds[0].ID)
		return ds[0]
	}
	settle := func(st transport.Settlement) { require.NoError(t, sub.Settle(t.Context(), []transport.Settlement{st})) }
	settle(transport.Settlement{Delivery: receive(), Verdict: transport.Deferred})
	settle(transport.Settlement{Delivery: receive(), Verdict: transport.Failed, After: time.Millisecond})
	settle(transport.Settlement{Delivery: receive(), Verdict: transport.Failed})
	d := receive()
	assert.Equal(t, 3, d.Attempt)
	settle(transport.Settlement{Delivery: d, Verdict: transport.Dead, Reason: "many"})

	letters, err := tr.Letters(t.Context(), topic, "billing", "", 10)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	assert.Len(t, letters[0].Headers, 10000)
	n, err := tr.Replay(t.Context(), topic, "billing", letters[0].LetterID)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.Equal(t, 1, receive().Attempt)
}

func TestPackedFieldsThatAreBrokenAreNoFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := fields{{fieldFields, rapid.OneOf(rapid.String(), rapid.StringMatching(`([0-9]:[a-z:]{0,3}){0,6}`)).Draw(t, "packed")}}
		if fs.unpacked().index(fieldFields) >= 0 { // and it does not panic
			t.Fatal("the packed field stays")
		}
	})
}
