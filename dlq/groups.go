package dlq

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// A Group is letters that died of the same: their reason and the [Fingerprint] of their error are equal.
type Group struct {
	Reason      string // "(none)" if they have none
	Fingerprint string
	Count       int
	Example     string // the id of the letter that died last
	First, Last time.Time
}

// Groups sums up the letters that match, the largest group first. It reads all letters.
func (q *Queue) Groups(ctx context.Context, f Filter) ([]Group, error) {
	type key struct{ reason, fingerprint string }
	found := make(map[key]*Group)
	for l, err := range q.find(ctx, f, "") {
		if err != nil {
			return nil, q.failed("groups", err)
		}
		k := key{orNone(l.Reason), Fingerprint(l.Error)}
		g := found[k]
		if g == nil {
			g = &Group{Reason: k.reason, Fingerprint: k.fingerprint, First: l.Died}
			found[k] = g
		}
		g.add(l)
	}
	groups := make([]Group, 0, len(found))
	for _, g := range found {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return groups, nil
}

func (g *Group) add(l *Letter) {
	g.Count++
	if l.Died.Before(g.First) {
		g.First = l.Died
	}
	if !l.Died.Before(g.Last) {
		g.Last, g.Example = l.Died, l.LetterID
	}
}
