package redisstream

import (
	"bytes"
	"encoding/json"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// python runs testdata/interop.py against s. JSON has bytes as base64 on both sides.
func python(t *testing.T, s *redistest.Server, entries []map[string][]byte, args ...string) (got []map[string][]byte) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Addr)
	require.NoError(t, err)
	in, err := json.Marshal(entries)
	require.NoError(t, err)
	cmd := exec.CommandContext(bounded(t), "/usr/bin/python3", append([]string{"testdata/interop.py", host, port}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "interop.py: %s\nPython or its redis module may be missing: `make setup` installs them", stderr.String())
	if len(out) > 0 {
		require.NoError(t, json.Unmarshal(out, &got))
	}
	return got
}

// receiveAll settles n deliveries as done.
func receiveAll(t *testing.T, tr *Transport, topic transport.Topic, n int) (ds []*transport.Delivery) {
	t.Helper()
	ctx := bounded(t)
	sub, err := tr.Subscribe(ctx, topic, transport.Group{Name: "billing"})
	require.NoError(t, err)
	for len(ds) < n {
		got, err := sub.Receive(ctx, n-len(ds))
		require.NoError(t, err)
		for _, d := range got {
			require.NoError(t, sub.Settle(ctx, []transport.Settlement{{Delivery: d, Verdict: transport.Done}}))
		}
		ds = append(ds, got...)
	}
	require.NoError(t, sub.Close(ctx))
	return ds
}

const binary = "\x00\x01\xff\r\n$5\r\n"

func TestPythonPublishesAndWeReceive(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	python(t, s, []map[string][]byte{
		{"id": []byte("id-1"), "ct": []byte("application/json"), "key": []byte("customer-7"), "data": []byte(`{"id":"42"}`), "h.traceparent": []byte("00-1")},
		{"data": []byte(binary), "other": []byte("ignored"), "typedbus.attempt": []byte("99")},
		{"id": []byte("id-3")},
	}, "publish", "orders.placed")
	ds := receiveAll(t, tr, orders1, 3)

	m := ds[0]
	require.Equal(t, []string{"id-1", "application/json", "customer-7", `{"id":"42"}`}, []string{m.ID, m.ContentType, m.Key, string(m.Body)})
	require.Equal(t, transport.Headers{{Name: "traceparent", Value: "00-1"}}, m.Headers)
	require.NoError(t, m.Malformed)
	require.Equal(t, binary, string(ds[1].Body))
	require.Regexp(t, `^orders\.placed/\d+-\d+$`, ds[1].ID)
	require.Empty(t, ds[1].Headers)
	require.Equal(t, 1, ds[1].Attempt, "what a producer says about attempts means nothing")
	require.Equal(t, "id-3", ds[2].ID)
	require.ErrorContains(t, ds[2].Malformed, `has no field "data"`)
}

func TestWePublishAndPythonReads(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	ms := []*transport.Message{
		{ID: "id-1", Key: "k", ContentType: "application/json", Body: []byte(`{}`), Headers: transport.Headers{{Name: "traceparent", Value: "00-1"}, {Name: "bin", Value: binary}}},
		{ID: "id-2", Body: []byte(binary)},
	}
	require.NoError(t, tr.Publish(bounded(t), orders1, ms))
	got := python(t, s, nil, "consume", "orders.placed", strconv.Itoa(len(ms)))
	require.Equal(t, []map[string][]byte{
		{"id": []byte("id-1"), "key": []byte("k"), "ct": []byte("application/json"), "data": []byte(`{}`), "h.traceparent": []byte("00-1"), "h.bin": []byte(binary)},
		{"id": []byte("id-2"), "data": []byte(binary)},
	}, got)
	require.Len(t, receiveAll(t, tr, orders1, 2), 2, "both groups get all")
}

// A stream that another program made, with fields of its own.
func TestPythonWithForeignFields(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	tr := New(c, Options{Mappings: map[string]Mapping{"events": {
		Data: "payload", DefaultContentType: "application/json", Set: map[string]string{"event_type": "order.placed"},
	}}})
	defer tr.Close()
	events := transport.Topic{Name: "events"}
	python(t, s, []map[string][]byte{{"event_type": []byte("order.paid"), "payload": []byte(`{"id":"42"}`)}}, "publish", "events")

	d := receiveAll(t, tr, events, 1)[0]
	require.Equal(t, []string{"application/json", `{"id":"42"}`}, []string{d.ContentType, string(d.Body)})
	require.Equal(t, transport.Headers{{Name: "event_type", Value: "order.paid"}}, d.Headers)
	require.Regexp(t, `^events/\d+-\d+$`, d.ID)

	require.NoError(t, tr.Publish(bounded(t), events, []*transport.Message{{ID: "not stored", Body: []byte(`{"id":"43"}`)}}))
	got := python(t, s, nil, "consume", "events", "2")
	require.Equal(t, []map[string][]byte{
		{"event_type": []byte("order.paid"), "payload": []byte(`{"id":"42"}`)},
		{"event_type": []byte("order.placed"), "payload": []byte(`{"id":"43"}`)},
	}, got)
}

// The script of docs/wire-format.md that delays a message.
func TestForeignDelayedMessage(t *testing.T) {
	s := redistest.Start(t)
	tr := producing(t, s.Addr, 0)
	const script = `
local now = redis.call('TIME')
local due = now[1] * 1000 + math.ceil(now[2] / 1000) + ARGV[1]
local fields = {}
for i = 3, #ARGV do fields[i - 2] = ARGV[i] end
redis.call('HSET', KEYS[2], ARGV[2], cmsgpack.pack(fields))
redis.call('ZADD', KEYS[1], due, ARGV[2])
return due
`
	due, err := s.Client().Eval(t.Context(), script, []string{"{orders.placed}:due", "{orders.placed}:due:body"}, 100, "m-1", "id", "1", "data", "x").Int64()
	require.NoError(t, err)
	d := receiveAll(t, tr, orders1, 1)[0]
	require.Equal(t, "x", string(d.Body))
	require.GreaterOrEqual(t, d.Time.UnixMilli(), due)
}
