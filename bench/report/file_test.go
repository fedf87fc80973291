package report_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bench/report"
)

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, sample().Write(path))
	got, err := report.Read(path)
	require.NoError(t, err)

	want := sample()
	want.Ratios["e2e_json_vs_watermill"], want.Ratios["e2e_standard_vs_bare"] = 12.35, 0.8496
	want.Figures["typedbus-json.e2e_per_second"], want.Figures["typedbus-batch-bytes.e2e_per_second"] = 212300, 604300
	want.Figures["watermill.e2e_per_second"] = 14210
	want.Spread["e2e_json_vs_watermill"] = [2]float64{11.9, 12.8}
	assert.Equal(t, want, got, "four digits of what was measured, all of what was set")
	assert.InDelta(t, 12.34567, sample().Ratios["e2e_json_vs_watermill"], 0, "Write changes a copy")

	first, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, got.Write(path))
	second, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(first), string(second))
	assert.Contains(t, string(first), "\n  \"ratios\": {\n    \"e2e_json_vs_watermill\": 12.35,")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode().Perm())
}

func TestWriteNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, (&report.Results{}).Write(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, map[string]any{}, got["ratios"])
	assert.Equal(t, []any{}, got["sweeps"])
}

func TestWhatIsNoNumberHasAName(t *testing.T) {
	r := sample()
	r.Ratios["idle_cpu"] = math.NaN()
	r.Figures["asynq.e2e_per_second"] = math.Inf(1)
	r.Spread["e2e_json_vs_watermill"] = [2]float64{1, math.Inf(-1)}
	r.Sweeps[0].Lines[2].Points[1].Y = math.NaN()
	dir := t.TempDir()
	path := filepath.Join(dir, "results.json")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	for _, err := range []error{r.Write(path), report.Charts(dir, r)} {
		require.Error(t, err)
		for _, what := range []string{
			"ratio idle_cpu is NaN", "figure asynq.e2e_per_second is +Inf", "largest of e2e_json_vs_watermill is -Inf",
			"sweep payload, line watermill, point 1: y is NaN",
		} {
			assert.ErrorContains(t, err, what)
		}
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(text))
	assertOnly(t, dir, "results.json")
}

func TestReadFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	_, err := report.Read(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte(`{"ratios":`), 0o600))
	_, err = report.Read(path)
	assert.ErrorContains(t, err, path)
}

func TestSplice(t *testing.T) {
	for _, c := range []struct{ name, text, want, err string }{
		{"empty", "a\n<!-- bench:x --><!-- /bench:x -->\nb", "a\n<!-- bench:x -->\n\n| new |\n\n<!-- /bench:x -->\nb", ""},
		{"another is left", "<!-- bench:y -->y<!-- /bench:y --> <!-- bench:x -->old\nold<!-- /bench:x -->",
			"<!-- bench:y -->y<!-- /bench:y --> <!-- bench:x -->\n\n| new |\n\n<!-- /bench:x -->", ""},
		{"none", "a", "", "0 times the line <!-- bench:x -->: put <!-- bench:x --> once above"},
		{"no end", "<!-- bench:x -->", "", "0 times the line <!-- /bench:x -->"},
		{"twice", "<!-- bench:x --><!-- bench:x --><!-- /bench:x -->", "", "2 times the line <!-- bench:x -->"},
		{"wrong order", "<!-- /bench:x --><!-- bench:x -->", "", "swap them"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "doc.md")
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			for range 2 { // the second time changes nothing
				err := report.Splice(path, "x", []byte("| new |\n"))
				got, readErr := os.ReadFile(path)
				require.NoError(t, readErr)
				if c.err != "" {
					require.ErrorContains(t, err, c.err)
					assert.ErrorContains(t, err, path)
					assert.Equal(t, c.text, string(got))
					continue
				}
				require.NoError(t, err)
				assert.Equal(t, c.want, string(got))
			}
			assertOnly(t, dir, "doc.md")
		})
	}
	assert.ErrorIs(t, report.Splice(filepath.Join(t.TempDir(), "none.md"), "x", nil), os.ErrNotExist)
}

// assertOnly wants no temporary files to be left.
func assertOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	assert.Equal(t, names, got)
}
