package sqlclaims

import (
	"cmp"
	"slices"
	"strings"

	"github.com/typedbus/typedbus/transport"
)

// renewAtOnce is how many claims go into one statement.
const renewAtOnce = 200

// apart takes claims with different names, no more than go into one statement, in the order in which everybody locks them. Two
// owners of one claim may be in one call, of which at least one has lost it.
func apart(cs []transport.Claim) (now, rest []transport.Claim) {
	cs = slices.Clone(cs)
	slices.SortStableFunc(cs, func(a, b transport.Claim) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), strings.Compare(a.Group, b.Group), strings.Compare(a.Key, b.Key))
	})
	for i, c := range cs {
		if len(now) == renewAtOnce || i > 0 && rowOf(c) == rowOf(cs[i-1]) {
			rest = append(rest, c)
			continue
		}
		now = append(now, c)
	}
	return now, rest
}
