package dlq_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestEditThenReplay(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		bury(t, tr,
			corpse{name: "a", body: `{"ID":"a"`, reason: dlq.DecodeError, err: "cut off", headers: transport.Headers{{Name: "x", Value: "1"}}},
			corpse{name: "b"})
		q := queue(tr)
		old := letters(t, q, dlq.Filter{})[0]
		newID, err := q.Edit(t.Context(), old.LetterID, func(m *bus.Message) error {
			m.Body = append(m.Body, `,"Cents":995}`...)
			m.Headers.Set("y", "2")
			m.Headers.Del("x")
			m.Key = "A"
			m.Time, m.NotBefore = m.Time.AddDate(1, 0, 0), m.Time.AddDate(1, 0, 0) // which it cannot change
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, []string{"b", "A"}, keys(letters(t, q, dlq.Filter{})), "the newest, and in place of the old one")
		l, err := q.Get(t.Context(), newID)
		require.NoError(t, err)
		want := *old
		want.LetterID = newID
		want.Message = &transport.Message{ID: old.ID, Key: "A", ContentType: old.ContentType, Time: old.Time,
			Headers: transport.Headers{{Name: "y", Value: "2"}}, Body: []byte(`{"ID":"a","Cents":995}`)}
		assert.Equal(t, &want, l)

		var mu sync.Mutex
		var got []Order
		b := bus.New(tr, quiet)
		orders.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, e.Payload)
			assert.Equal(t, old.ID, e.ID)
			return nil
		})
		_, err = q.Replay(t.Context(), dlq.Filter{IDs: []string{newID}}, dlq.ReplayOptions{})
		require.NoError(t, err)
		bustest.Start(t, b)
		bustest.Settle(t, b)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, []Order{{"a", 995}}, got)
		count(t, q, 1)
	})
}

func TestAnEditThatFailsChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		bury(t, tr, corpse{name: "a", body: "secret", headers: transport.Headers{{Name: "x", Value: "secret"}}})
		q := queue(tr)
		before := letters(t, q, dlq.Filter{})
		for name, f := range map[string]func(*bus.Message) error{
			"the card was declined":             func(m *bus.Message) error { m.Body[0] = 'S'; m.Headers[0].Value = "y"; return errCard },
			"the ID of the message was changed": func(m *bus.Message) error { m.ID = "other"; return nil },
			"bad header name":                   func(m *bus.Message) error { m.Headers.Set("a secret", "x"); return nil },
			"the header y is there twice": func(m *bus.Message) error {
				m.Headers = transport.Headers{{Name: "y", Value: "secret"}, {Name: "y"}}
				return nil
			},
		} {
			_, err := q.Edit(t.Context(), before[0].LetterID, f)
			assert.ErrorContains(t, err, name)
			assert.NotContains(t, err.Error(), "secret")
		}
		_, err := q.Edit(t.Context(), "99-9", func(*bus.Message) error { return nil })
		assert.ErrorIs(t, err, dlq.ErrNoLetter)
		assert.Equal(t, before, letters(t, q, dlq.Filter{}))
		assert.Empty(t, acts(t, q))
	})
}

// TestAnEditToAnEmptyBody: bytes.TrimSpace and others return nil, which for some transports is no body at all.
func TestAnEditToAnEmptyBody(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		bury(t, tr, corpse{name: "0", body: "  "})
		q := queue(tr)
		_, err := q.Edit(t.Context(), letters(t, q, dlq.Filter{})[0].LetterID, func(m *bus.Message) error { m.Body = bytes.TrimSpace(m.Body); return nil })
		require.NoError(t, err)
		_, err = q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
		require.NoError(t, err)
		sub, err := tr.Subscribe(t.Context(), transport.Topic{Name: orders.Name()}, transport.Group{Name: "billing"})
		require.NoError(t, err)
		defer func() { assert.NoError(t, sub.Close(context.WithoutCancel(t.Context()))) }()
		ds, err := sub.Receive(t.Context(), 1)
		require.NoError(t, err)
		assert.NoError(t, ds[0].Malformed)
		assert.Empty(t, ds[0].Body)
	})
}

// TestALetterThatWasReplayedMeanwhileIsNotEdited: it would be handled twice.
func TestALetterThatWasReplayedMeanwhileIsNotEdited(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		bury(t, tr, named(1)...)
		q := queue(tr)
		_, err := q.Edit(t.Context(), letters(t, q, dlq.Filter{})[0].LetterID, func(*bus.Message) error {
			_, err := q.Replay(t.Context(), dlq.Filter{All: true}, dlq.ReplayOptions{})
			return err
		})
		assert.ErrorIs(t, err, dlq.ErrNoLetter)
		count(t, q, 0)
		last := acts(t, q)[3]
		assert.Zero(t, last.Count)
		assert.Contains(t, last.Detail, "failed: ")
	})
}

func TestEditAs(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	bury(t, tr,
		corpse{name: "a", body: `{"ID":"a","Cents":1}`},
		corpse{name: "its own", body: `{"ID":"b","Cents":2}`},
		corpse{name: "c", body: `{"ID": secret`})
	q := queue(tr)
	for i, want := range []struct{ key, body string }{{"z", `{"ID":"z","Cents":11}`}, {"its own", `{"ID":"z","Cents":12}`}} {
		id, err := dlq.EditAs(t.Context(), q, orders, letters(t, q, dlq.Filter{})[0].LetterID, func(o *Order) error {
			o.ID, o.Cents = "z", o.Cents+10
			return nil
		})
		require.NoError(t, err)
		l, err := q.Get(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, want.key, l.Key, "%d: the key follows where it was the topic's", i)
		assert.JSONEq(t, want.body, string(l.Body))
		assert.Equal(t, "application/json", l.ContentType)
		// The other one comes next, when this is the newest but one.
		_, err = q.Replay(t.Context(), dlq.Filter{IDs: []string{id}}, dlq.ReplayOptions{})
		require.NoError(t, err)
	}
	id := letters(t, q, dlq.Filter{})[0].LetterID
	_, err := dlq.EditAs(t.Context(), q, orders, id, func(*Order) error { return nil })
	assert.ErrorIs(t, err, bus.ErrUndecodable)
	assert.NotContains(t, err.Error(), "secret")
	other := bus.NewTopic("orders.shipped", codec.JSON[Order]())
	_, err = dlq.EditAs(t.Context(), q, other, id, func(*Order) error { return nil })
	assert.ErrorContains(t, err, "the topic orders.shipped has other letters")
	count(t, q, 1)

	bury(t, tr, corpse{name: "d", body: `{"ID":"d"}`})
	id = letters(t, q, dlq.Filter{})[1].LetterID
	_, err = dlq.EditAs(t.Context(), q, orders, id, func(*Order) error { return errCard })
	assert.ErrorIs(t, err, errCard)
	small := bus.NewTopic("orders.placed", codec.JSON[Order](), bus.MaxBytes(25))
	_, err = dlq.EditAs(t.Context(), q, small, id, func(o *Order) error { o.ID = "a long one"; return nil })
	assert.ErrorIs(t, err, bus.ErrTooLarge)
	count(t, q, 2)
}

func TestEditWhoseAnswerIsLost(t *testing.T) {
	tr := &faulty{Transport: memory.New()}
	defer tr.Close()
	bury(t, tr, named(1)...)
	tr.put = func() error { return errors.New("connection reset") }
	q := queue(tr)
	_, err := q.Edit(t.Context(), "1", func(m *bus.Message) error { m.Key = "x"; return nil })
	assert.EqualError(t, err, "dlq: edit orders.placed/billing: connection reset")
	assert.Zero(t, acts(t, q)[1].Count)
}
