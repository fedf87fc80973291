package dlq_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// FuzzExpires: only a time in RFC 3339 that is over keeps an event from its handler, whatever else a header says.
func FuzzExpires(f *testing.F) {
	for _, s := range []string{"", "2001-02-03T04:05:06Z", "2001-02-03T04:05:06.999999999+23:59", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "1e9", "\xff"} {
		f.Add(s)
	}
	handled := 0
	h := dlq.Route(dlq.RouteOptions{})(func(context.Context, *bus.Delivery) error { handled++; return nil })
	f.Fuzz(func(t *testing.T, value string) {
		m := &bus.Message{ID: "1", Headers: transport.Headers{{Name: "typedbus-expires", Value: value}}}
		before := handled
		err := h(t.Context(), bus.NewDelivery(&transport.Delivery{Message: m, Attempt: 1}, nil))
		at, bad := time.Parse(time.RFC3339, value)
		if bad == nil && time.Since(at) > 0 {
			v := bus.VerdictOf(err)
			require.Equal(t, bus.DeadLettered, v.Kind)
			require.Equal(t, dlq.Expired, v.Reason)
			require.Less(t, len(v.Err.Error()), 100)
			require.Equal(t, before, handled)
		} else if bad != nil {
			require.NoError(t, err)
			require.Equal(t, before+1, handled)
		}
	})
}

// FuzzFilterText: a letter is found by each part of what it holds, whatever the bytes.
func FuzzFilterText(f *testing.F) {
	f.Add("a", "secret", "b")
	f.Add("\xff", "\xc3", "\xa9")
	f.Add("ſ", "K", "İ")
	f.Fuzz(func(t *testing.T, before, text, after string) {
		if text == "" {
			return
		}
		tr := memory.New()
		defer tr.Close()
		put(t, tr, &dlq.Letter{Message: &transport.Message{ID: "1", Body: []byte(before + text + after)}, Died: died})
		page, _, err := queue(tr).List(t.Context(), dlq.Filter{Text: text}, "", 0)
		require.NoError(t, err)
		require.Len(t, page, 1)
	})
}
