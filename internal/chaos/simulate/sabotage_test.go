package simulate_test

import (
	"slices"

	"github.com/typedbus/typedbus/transport"
)

// sabotage is a way to break what lies between the engine and the broker, to see that it is noticed.
type sabotage string

const (
	sound          sabotage = ""
	forgetsStages  sabotage = "forgets what is staged"
	endsFailures   sabotage = "acknowledges what failed"
	repeatsDone    sabotage = "gives back what is done"
	dropsDead      sabotage = "drops dead letters"
	endsReleases   sabotage = "acknowledges what was not begun"
	doublesOutputs sabotage = "stores twice what is staged"
)

// settle is what the broker gets to see.
func (s sabotage) settle(ss []transport.Settlement) []transport.Settlement {
	if s == sound {
		return ss
	}
	ss = slices.Clone(ss)
	for i := range ss {
		s.alter(&ss[i])
	}
	return ss
}

func (s sabotage) alter(st *transport.Settlement) {
	switch v := st.Verdict; {
	case s == forgetsStages:
		st.Stage = nil
	case s == doublesOutputs:
		st.Stage = slices.Repeat(st.Stage, 2)
	case s == endsFailures && v == transport.Failed,
		s == dropsDead && v == transport.Dead,
		s == endsReleases && v == transport.Deferred && st.After == 0:
		st.Verdict = transport.Done
	case s == repeatsDone && v == transport.Done && len(st.ID)%2 == 0:
		st.Verdict, st.Stage = transport.Deferred, nil
	}
}
