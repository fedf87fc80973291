package arch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A rule holds for every Go file. A file that breaks it makes a failure that tells the rule and what to do instead.
type rule struct {
	name    string
	says    string
	instead string
	find    func(*source) []string // the breaches, each "file:line: what"
}

var rules = []rule{
	arrows, examplesAreLeaves, thirdParties, testingInTests,
	noBackground, noSleep, noGrabBag, documented,
}

func TestRules(t *testing.T) {
	sources := readSources(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			var breaches []string
			for _, s := range sources {
				breaches = append(breaches, r.find(s)...)
			}
			report(t, r.says, r.instead, breaches)
		})
	}
}

func report(t *testing.T, says, instead string, breaches []string) {
	t.Helper()
	if len(breaches) > 0 {
		t.Errorf("%s\n\nrule:    %s\ninstead: %s", strings.Join(breaches, "\n"), says, instead)
	}
}

// A sample is code that a rule must, or must not, object to.
type sample struct {
	rule rule
	path string
	code string
	want string // part of the one breach; "" for none
}

func TestRulesObject(t *testing.T) {
	for _, samples := range [][]sample{importSamples, habitSamples, documentedSamples} {
		for _, c := range samples {
			t.Run(c.rule.name+"/"+c.path, func(t *testing.T) {
				s, err := parse(c.path, c.code)
				require.NoError(t, err)
				breaches := c.rule.find(s)
				if c.want == "" {
					assert.Empty(t, breaches)
					return
				}
				require.Len(t, breaches, 1)
				assert.Contains(t, breaches[0], c.want)
			})
		}
	}
}
