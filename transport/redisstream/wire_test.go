package redisstream

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/transport"
)

// values are the arguments of XADD as XREADGROUP gives them back.
func values(args []any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(args); i += 2 {
		m[str(args[i])] = str(args[i+1])
	}
	return m
}

// parsed reads an entry; nil is one that was deleted.
func parsed(mp *Mapping, stream, id string, values map[string]any) (*transport.Message, error) {
	var fs fields
	if values != nil {
		fs = fieldsIn(values)
	}
	m := new(transport.Message)
	return m, mp.parse(m, stream, id, fs)
}

func str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case *string:
		return *v
	case []byte:
		return string(v)
	case *writtenBytes:
		return string(v.b)
	}
	panic(v)
}

var anyText = rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")) })

func drawMessage(t *rapid.T) *transport.Message {
	m := &transport.Message{
		ID:  rapid.StringN(1, 10, -1).Draw(t, "id"),
		Key: anyText.Draw(t, "key"), ContentType: anyText.Draw(t, "ct"), Body: []byte(anyText.Draw(t, "body")),
	}
	if len(m.Body) == 0 && rapid.Bool().Draw(t, "no body") {
		m.Body = nil
	}
	names := rapid.SliceOfDistinct(rapid.OneOf(rapid.StringMatching(`[!-~]{1,8}`), rapid.SampledFrom([]string{"h.x", "id", "data", "key", "typedbus.x"})), rapid.ID)
	for _, name := range names.Draw(t, "headers") {
		m.Headers = append(m.Headers, transport.Header{Name: name, Value: anyText.Draw(t, "value")})
	}
	slices.SortFunc(m.Headers, func(a, b transport.Header) int { return strings.Compare(a.Name, b.Name) })
	return m
}

var foreign = Mapping{Data: "payload", ID: "event_id", Key: "customer", ContentType: "mime", HeaderPrefix: "meta_"}

// Whatever can be published is received as it was.
func TestEntriesRoundTrip(t *testing.T) {
	bare := Mapping{Data: "payload", ID: "event_id", Key: "customer", ContentType: "mime"}
	for name, mp := range map[string]*Mapping{"native": &native, "foreign": &foreign, "no prefix": &bare} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, mp.check())
			rapid.Check(t, func(t *rapid.T) {
				m := drawMessage(t)
				if mp.accepts(m) != nil {
					t.Skip("refused")
				}
				got, err := parsed(mp, "s", "5-1", values(mp.appendFields(nil, m)))
				require.NoError(t, err)
				m.Time = entryTime("5-1")
				if len(m.Headers) == 0 {
					m.Headers = nil
				}
				if len(m.Body) == 0 {
					got.Body, m.Body = nil, nil
				}
				require.Equal(t, m, got)
			})
		})
	}
}

// Publish has an encoder of its own, which allocates less. It must say the same.
func TestBothEncodersAgree(t *testing.T) {
	set := foreign
	set.Set = map[string]string{"event_type": "order.placed", "meta_v": "1"}
	for _, mp := range []*Mapping{&native, &foreign, &set, {Data: "payload"}} {
		tg := newTarget(t.Context(), "t", topicKeys("", "t"), mp)
		c := newAdd(tg)
		rapid.Check(t, func(t *rapid.T) {
			m := drawMessage(t)
			c.recycle()
			c.fields(tg, m)
			var plain []string
			for _, v := range mp.appendFields(nil, m) {
				plain = append(plain, str(v))
			}
			var fast []string
			for _, v := range c.args {
				fast = append(fast, str(v))
			}
			if len(mp.Set) > 0 { // in any order
				require.Equal(t, values(mp.appendFields(nil, m)), values(c.args))
				return
			}
			require.Equal(t, plain, fast)
		})
	}
}

func TestMappingSet(t *testing.T) {
	mp := Mapping{Data: "payload", HeaderPrefix: "h.", Set: map[string]string{"event_type": "order.placed", "h.version": "2"}}
	require.NoError(t, mp.check())
	m := &transport.Message{Body: []byte("b")}
	require.Equal(t, map[string]any{"payload": "b", "event_type": "order.placed", "h.version": "2"}, values(mp.appendFields(nil, m)))
	m.Headers.Set("version", "3")
	require.Equal(t, map[string]any{"payload": "b", "event_type": "order.placed", "h.version": "3"}, values(mp.appendFields(nil, m)), "a header wins")
	m.Headers = transport.Headers{{Name: "event_type", Value: "x"}}
	require.Equal(t, "order.placed", values(mp.appendFields(nil, m))["event_type"], "another field")
}

func TestMappingCheck(t *testing.T) {
	for _, c := range []struct {
		mp   Mapping
		want string
	}{
		{Mapping{}, "Data is empty"},
		{Mapping{Data: "a", ID: "a"}, `Data and ID are both the field "a"`},
		{Mapping{Data: "a", Key: "b", ContentType: "b"}, `Key and ContentType are both`},
		{Mapping{Data: "typedbus.data"}, `Data is the field "typedbus.data"`},
		{Mapping{Data: "a", HeaderPrefix: "typedbus."}, "HeaderPrefix begins with"},
		{Mapping{Data: "a", Set: map[string]string{"a": ""}}, `Set cannot set the field "a"`},
		{Mapping{Data: "a", Set: map[string]string{"typedbus.x": ""}}, "Set cannot set"},
		{Mapping{Data: "a", Set: map[string]string{"": ""}}, "Set cannot set"},
	} {
		require.ErrorContains(t, c.mp.check(), c.want)
	}
	require.NoError(t, native.check())
}

func TestParseForeignAndBrokenEntries(t *testing.T) {
	mp := &Mapping{Data: "payload", DefaultContentType: "application/json"}
	m, err := parsed(mp, "events", "1526919030474-55", map[string]any{"event_type": "order.placed", "payload": "{}", "bad name": "x", "typedbus.attempt": "9"})
	require.NoError(t, err)
	require.Equal(t, &transport.Message{
		ID: "events/1526919030474-55", ContentType: "application/json", Body: []byte("{}"), Time: entryTime("1526919030474-55"),
		Headers: transport.Headers{{Name: "event_type", Value: "order.placed"}},
	}, m)

	m, err = parsed(&native, "events", "1-1", map[string]any{"x": "y"})
	require.ErrorContains(t, err, `entry 1-1 of events has no field "data"`)
	require.Equal(t, "events/1-1", m.ID)
	m, err = parsed(&native, "events", "1-1", nil)
	require.ErrorIs(t, err, errNoFields)
	require.Equal(t, "events/1-1", m.ID)
	m, _ = parsed(&native, "events", "1-1", map[string]any{"id": "", "data": ""})
	require.Equal(t, "events/1-1", m.ID, "an empty id is none")
}

func FuzzParseEntry(f *testing.F) {
	f.Add("1-1", "id", "x", "data", "y", "h.a", "z")
	f.Add("", "", "", "h.", "\x00", "typedbus.attempt", "-1")
	f.Fuzz(func(t *testing.T, id, f1, v1, f2, v2, f3, v3 string) {
		fields := map[string]any{f1: v1, f2: v2, f3: v3}
		for _, mp := range []*Mapping{&native, &foreign, {Data: "data"}} {
			m, err := parsed(mp, "stream", id, fields)
			require.NotNil(t, m)
			require.NotEmpty(t, m.ID)
			if _, has := fields[mp.Data]; has != (err == nil) {
				t.Fatalf("%v of %v", err, fields)
			}
			seen := map[string]bool{}
			for _, h := range m.Headers {
				require.True(t, transport.ValidHeaderName(h.Name))
				require.False(t, seen[h.Name], "a name occurs once")
				require.False(t, strings.HasPrefix(mp.HeaderPrefix+h.Name, ownPrefix))
				seen[h.Name] = true
			}
			if err == nil && mp.accepts(m) == nil {
				again, err := parsed(mp, "stream", id, values(mp.appendFields(nil, m)))
				require.NoError(t, err)
				require.Equal(t, m.Headers, again.Headers)
				require.Equal(t, string(m.Body), string(again.Body))
			}
		}
	})
}
