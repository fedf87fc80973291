// Package rivals has what typedbus is measured against, each set up as its own documentation recommends for speed.
package rivals

import "github.com/typedbus/typedbus/bench/contest"

// All are those that a run can name, typedbus in its variants among them.
func All() []contest.Rival {
	return []contest.Rival{}
}
