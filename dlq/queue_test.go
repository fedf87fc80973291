package dlq_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

func TestFilter(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		bury(t, tr,
			corpse{name: "a", reason: dlq.Exhausted, err: "timeout after 31ms on 10.0.0.7"},
			corpse{name: "b", reason: dlq.Exhausted, err: "timeout after 1.2s on 10.0.0.8"},
			corpse{name: "c", reason: dlq.Permanent, err: "no such Customer", body: `{"ID":"Größe"}`},
			corpse{name: "d", headers: transport.Headers{{Name: "Tenant", Value: "ACME\xff"}}},
			corpse{name: "KEY-e", body: "\x00\xfe\xff binary"},
		)
		q := queue(tr)
		ls := letters(t, q, dlq.Filter{})
		require.Equal(t, []string{"a", "b", "c", "d", "KEY-e"}, keys(ls), "oldest first")
		id := func(i int) string { return ls[i].LetterID }
		hour := time.Hour
		for _, c := range []struct {
			name string
			f    dlq.Filter
			want string
		}{
			{"all", dlq.Filter{All: true}, "a b c d KEY-e"},
			{"reason", dlq.Filter{Reason: dlq.Exhausted}, "a b"},
			{"all with a condition", dlq.Filter{All: true, Reason: dlq.Exhausted}, "a b"},
			{"no reason", dlq.Filter{Reason: "(none)"}, "d KEY-e"},
			{"fingerprint", dlq.Filter{Fingerprint: dlq.Fingerprint("timeout after 5m on 1.2.3.4")}, "a b"},
			{"no error", dlq.Filter{Fingerprint: dlq.Fingerprint("")}, "d KEY-e"},
			{"text in the error", dlq.Filter{Text: "CUSTOMER"}, "c"},
			{"text in the body", dlq.Filter{Text: "gRÖSSE"}, ""},
			{"text in the body, whose case has two bytes", dlq.Filter{Text: "gRÖßE"}, "c"},
			{"text in a header's name", dlq.Filter{Text: "tenant"}, "d"},
			{"text in a header's value", dlq.Filter{Text: "acme"}, "d"},
			{"text in the key", dlq.Filter{Text: "key-"}, "KEY-e"},
			{"text in the id", dlq.Filter{Text: strings.ToUpper(ls[1].ID)}, "b"},
			{"text that is no text", dlq.Filter{Text: "\xfe\xff"}, "KEY-e"},
			{"other bytes", dlq.Filter{Text: "\xff\xff"}, ""},
			{"text at the end", dlq.Filter{Text: "0.8"}, "b"},
			{"since", dlq.Filter{Since: ls[0].Died}, "a b c d KEY-e"},
			{"since later", dlq.Filter{Since: time.Now().Add(hour)}, ""},
			{"until", dlq.Filter{Until: ls[0].Died}, ""},
			{"until later", dlq.Filter{Until: time.Now().Add(hour)}, "a b c d KEY-e"},
			{"never replayed", dlq.Filter{MaxReplays: -1}, "a b c d KEY-e"},
			{"replayed once", dlq.Filter{MinReplays: 1}, ""},
			{"ids", dlq.Filter{IDs: []string{id(3), "99-9", "x", id(0), id(3)}}, "d a"},
			{"ids and more", dlq.Filter{IDs: []string{id(3), id(0)}, Reason: dlq.Exhausted}, "a"},
			{"a list of ids that came out empty", dlq.Filter{IDs: []string{}}, ""},
			{"two conditions", dlq.Filter{Reason: dlq.Exhausted, Text: "10.0.0.7"}, "a"},
		} {
			assert.Equal(t, c.want, strings.Join(keys(letters(t, q, c.f)), " "), c.name)
		}
	})
}

// TestTextIsFoundAsStringsSays: like strings.Contains of texts in lower case, where case is a matter of ASCII.
func TestTextIsFoundAsStringsSays(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	q := queue(tr)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[abAB@\x60ö]{1,3}`)
		body, find := strings.Join(rapid.SliceOfN(text, 0, 5).Draw(t, "body"), ""), text.Draw(t, "text")
		ctx, topic := context.Background(), transport.Topic{Name: orders.Name()}
		id, err := tr.PutLetter(ctx, topic, "billing", &transport.Letter{Message: &transport.Message{ID: "1", Body: []byte(body)}, Died: time.Now()}, "")
		require.NoError(t, err)
		page, _, err := q.List(ctx, dlq.Filter{IDs: []string{id}, Text: find}, "", 1)
		require.NoError(t, err)
		if want := strings.Contains(strings.ToLower(body), strings.ToLower(find)); want != (len(page) == 1) {
			t.Fatalf("%q in %q: found is %v", find, body, !want)
		}
	})
}

func TestListGoesThroughAllPages(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		cs := named(60)
		for i := range cs {
			cs[i].reason = []string{"even", "odd"}[i%2]
		}
		bury(t, tr, cs...)
		q := queue(tr)
		all := letters(t, q, dlq.Filter{})
		require.Len(t, all, 60)
		var ids []string
		for _, l := range all {
			ids = append(ids, l.LetterID)
		}
		slices.Reverse(ids)
		for name, c := range map[string]struct {
			f    dlq.Filter
			want int
		}{
			"all": {dlq.Filter{}, 60}, "odd": {dlq.Filter{Reason: "odd"}, 30}, "by id": {dlq.Filter{IDs: ids}, 60}, "none": {dlq.Filter{Reason: "x"}, 0},
		} {
			for _, limit := range []int{0, 1, 7, 30, 60, 61} {
				got := []string{}
				for after, pages := "", 0; ; pages++ {
					require.LessOrEqual(t, pages, 61, name)
					page, next, err := q.List(t.Context(), c.f, after, limit)
					require.NoError(t, err)
					require.True(t, limit == 0 || len(page) <= limit)
					got = append(got, keys(page)...)
					if after = next; after == "" {
						break
					}
				}
				want := keys(letters(t, q, c.f))
				require.Len(t, want, c.want, name)
				assert.Equal(t, want, got, "%s, limit %d", name, limit)
			}
		}
	})
}

// TestAnIDTwice: pages of ids that occur twice come to an end.
func TestAnIDTwice(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	bury(t, tr, named(2)...)
	q, got, after := queue(tr), []string{}, ""
	for range 3 {
		page, next, err := q.List(t.Context(), dlq.Filter{IDs: []string{"1", "2", "1"}}, after, 1)
		require.NoError(t, err)
		got, after = append(got, keys(page)...), next
	}
	assert.Equal(t, []string{"0", "1"}, got)
	assert.Empty(t, after)
}

func TestGetAndCount(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		q := queue(tr)
		count(t, q, 0)
		assert.Empty(t, letters(t, q, dlq.Filter{}), "a group that nobody has subscribed to")
		bury(t, tr, named(3)...)
		count(t, q, 3)
		want := letters(t, q, dlq.Filter{})[1]
		got, err := q.Get(t.Context(), want.LetterID)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		for _, id := range []string{"", "99-9", "999", "no id"} {
			_, err = q.Get(t.Context(), id)
			assert.ErrorIs(t, err, dlq.ErrNoLetter, id)
			assert.ErrorContains(t, err, "dlq: get orders.placed/billing: ")
		}
	})
}

func TestGroups(t *testing.T) {
	onBoth(t, func(t *testing.T, tr transport.Transport) {
		bury(t, tr,
			corpse{name: "1", reason: dlq.Exhausted, err: "timeout after 31ms"},
			corpse{name: "2", reason: dlq.Permanent, err: "timeout after 31ms"},
			corpse{name: "3"},
			corpse{name: "4", reason: dlq.Exhausted, err: "timeout after 1m3s"},
		)
		q := queue(tr)
		groups, err := q.Groups(t.Context(), dlq.Filter{})
		require.NoError(t, err)
		require.Len(t, groups, 3)
		var got []string
		for _, g := range groups {
			got = append(got, fmt.Sprint(g.Reason, ": ", g.Fingerprint, ": ", g.Count))
			assert.False(t, g.First.After(g.Last))
			of := letters(t, q, dlq.Filter{Reason: g.Reason, Fingerprint: g.Fingerprint})
			assert.Len(t, of, g.Count, "reason and fingerprint ask for the group, and nothing else")
			last := of[len(of)-1]
			assert.Equal(t, last.LetterID, g.Example)
			assert.True(t, last.Died.Equal(g.Last) && of[0].Died.Equal(g.First))
		}
		assert.Equal(t, []string{"exhausted: timeout after #: 2", "(none): (none): 1", "permanent: timeout after #: 1"}, got)
		groups, err = q.Groups(t.Context(), dlq.Filter{Text: "31ms"})
		require.NoError(t, err)
		assert.Len(t, groups, 2)
	})
}

// plain is a transport without any power, and browsable one that can only show pages.
type (
	plain     struct{ transport.Transport }
	browsable struct {
		transport.Transport
		transport.DeadLetters
	}
)

func TestWhatIsWrongIsSaidByEveryCall(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	bury(t, tr, named(2)...)
	for name, c := range map[string]struct {
		q           *dlq.Queue
		browse, act string // in the error; "": none
	}{
		"bad names": {dlq.NewQueue(tr, "a b", "", dlq.QueueOptions{}), `bad topic name "a b"`, `bad group name ""`},
		"nil":       {dlq.NewQueue(nil, "a", "b", dlq.QueueOptions{}), "nil transport", "nil transport"},
		"no power":  {queue(plain{tr}), "dlq_test.plain cannot show dead letters: it is no transport.DeadLetters", "no transport.DeadLetters"},
		"one power": {queue(browsable{tr, tr}), "", "dlq_test.browsable can only show pages of dead letters: it is no transport.LetterArchive"},
	} {
		for call, err := range everyCall(t.Context(), c.q) {
			want := c.act
			if slices.Contains([]string{"count", "list", "all", "groups"}, call) {
				want = c.browse
			}
			if want == "" {
				assert.NoError(t, err, "%s: %s", name, call)
			} else {
				assert.ErrorContains(t, err, want, "%s: %s", name, call)
				assert.ErrorContains(t, err, "dlq: "+call+" ", name)
			}
		}
	}
	count(t, queue(tr), 2)
}

// everyCall calls all methods and returns their errors.
func everyCall(ctx context.Context, q *dlq.Queue) map[string]error {
	errs := map[string]error{}
	_, errs["count"] = q.Count(ctx)
	_, errs["get"] = q.Get(ctx, "1")
	_, _, errs["list"] = q.List(ctx, dlq.Filter{}, "", 1)
	_, errs["groups"] = q.Groups(ctx, dlq.Filter{})
	for _, err := range q.All(ctx, dlq.Filter{}) {
		errs["all"] = err
	}
	for _, err := range q.Acts(ctx) {
		errs["acts"] = err
	}
	_, errs["replay"] = q.Replay(ctx, dlq.Filter{All: true}, dlq.ReplayOptions{})
	_, errs["discard"] = q.Discard(ctx, dlq.Filter{All: true}, dlq.DiscardOptions{})
	_, errs["edit"] = q.Edit(ctx, "1", func(*transport.Message) error { return nil })
	_, errs["export"] = q.Export(ctx, &strings.Builder{}, dlq.Filter{})
	_, errs["import"] = q.Import(ctx, strings.NewReader("\n"))
	return errs
}

func TestAClosedTransportIsReportedByEveryCall(t *testing.T) {
	tr := memory.New()
	bury(t, tr, named(1)...)
	require.NoError(t, tr.Close())
	for call, err := range everyCall(t.Context(), queue(tr)) {
		assert.ErrorIs(t, err, transport.ErrClosed, call)
	}
}

// TestAScanEnds: a queue that grows with every page has an end all the same.
func TestAScanEnds(t *testing.T) {
	tr := memory.New()
	defer tr.Close()
	bury(t, tr, named(40)...)
	seen := 0
	for l, err := range queue(tr).All(t.Context(), dlq.Filter{}) {
		require.NoError(t, err)
		_, err = tr.PutLetter(t.Context(), transport.Topic{Name: orders.Name()}, "billing", l, "")
		require.NoError(t, err)
		seen++
	}
	assert.Equal(t, 40, seen)
}
