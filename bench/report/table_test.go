package report_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/bench/report"
)

var goals = []report.Goal{
	{Name: "e2e_json_vs_watermill", What: "64 publishers | typed handler", AtLeast: 10},
	{Name: "e2e_standard_vs_bare", What: "the standard chain", AtLeast: 0.85},
	{Name: "idle_conns", What: "connections", AtMost: 1010},
	{Name: "idle_cpu", What: "cores used", AtMost: 0.05},
	{Name: "memory_vs_gochannel", What: "in memory", AtLeast: 2},
}

// verdicts are what the sample says about the goals, without the spaces between the columns.
var verdicts = [][]string{
	{"e2e_json_vs_watermill", ">= 10", "12.35", "11.9 to 12.8", "met"},
	{"e2e_standard_vs_bare", "the standard chain", ">= 0.85", "0.8496", "–", "missed"},
	{"idle_conns", "connections", "<= 1,010", "1,008", "–", "met"},
	{"idle_cpu", "cores used", "<= 0.05", "0.0512", "0.0401 to 0.0603", "missed"},
	{"memory_vs_gochannel", "in memory", ">= 2", "–", "–", "not measured"},
	{"typedbus-json", "212,300", "143.2", "410"},
	{"typedbus-batch-bytes", "604,300", "–", "–"},
	{"asynq", "15,800", "1,490", "11,200"},
}

func TestTable(t *testing.T) {
	var out strings.Builder
	report.Table(&out, goals, sample())
	for _, cells := range verdicts {
		assert.Regexp(t, inOrder(cells, `\s{2,}`), out.String())
	}
	assert.Less(t, strings.Index(out.String(), "\ntypedbus-json"), strings.Index(out.String(), "\nwatermill"), "the fastest first")
	assert.Contains(t, out.String(), "2026-11-23, medians of 5 rounds, Redis 7.0.15, Go 1.26.1, linux/amd64, 2 cores, Intel")
}

func TestMarkdown(t *testing.T) {
	var out strings.Builder
	report.Markdown(&out, goals, sample())
	for _, cells := range verdicts {
		assert.Regexp(t, inOrder(cells, ` \| `), out.String())
	}
	for line := range strings.Lines(out.String()) {
		if columns := strings.Count(line, "|") - strings.Count(line, `\|`); columns > 0 {
			assert.Contains(t, []int{5, 7}, columns, line)
		}
	}
}

// inOrder wants the cells in one line. After the first may be another one: a goal's words.
func inOrder(cells []string, between string) *regexp.Regexp {
	quoted := make([]string, len(cells))
	for i, c := range cells {
		quoted[i] = regexp.QuoteMeta(c)
	}
	first, rest := quoted[0], strings.Join(quoted[1:], between)
	return regexp.MustCompile(`(?m)^(\| )?` + first + between + `(.*` + between + `)?` + rest + `( \|)?$`)
}

func TestTableOfNothing(t *testing.T) {
	var out strings.Builder
	report.Table(&out, goals, &report.Results{})
	report.Markdown(&out, goals, &report.Results{})
	assert.Equal(t, 2*len(goals), strings.Count(out.String(), "not measured"))
}

func TestVerdictIsOfWhatIsPrinted(t *testing.T) {
	var out strings.Builder
	report.Table(&out, goals, &report.Results{Ratios: map[string]float64{"e2e_json_vs_watermill": 9.99996}})
	assert.Regexp(t, `10 .* met\n`, out.String())
}
