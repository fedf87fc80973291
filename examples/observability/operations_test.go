package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/typedbus/typedbus/internal/redistest"
)

const document = "../../docs/observability.md"

func promtool(t *testing.T, args ...string) {
	t.Helper()
	_, err := exec.LookPath("promtool")
	require.NoError(t, err, "promtool is part of Prometheus: sudo apt-get install prometheus, or make setup")
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	require.NoError(t, err, "promtool %s\n%s", strings.Join(args, " "), out)
}

func TestAlertRules(t *testing.T) {
	promtool(t, "check", "config", "prometheus.yml") // with alerts.yml
	promtool(t, "test", "rules", "alerts_test.yml")

	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	decode(t, "alerts.yml", &rules)
	tests := read(t, "alerts_test.yml")
	for _, r := range rules.Groups[0].Rules {
		require.Regexp(t, `(?m)^\s+alertname: `+r.Alert+`\n\s+exp_alerts:`, tests, "alerts_test.yml shows the alert raised")
		require.Regexp(t, `alertname: `+r.Alert+`}`, tests, "and not raised")
	}
}

// dashboard is what the test looks at in a dashboard of Grafana.
type dashboard struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		Targets []struct{ Expr string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func (d dashboard) expressions() (all []string) {
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(read(t, "dashboard.json")), &d))
	return d
}

func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	ids := map[int]bool{}
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "two panels have the id %d", p.ID)
		ids[p.ID] = true
		require.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
	}
	checkQueries(t, d.expressions())
}

// checkQueries has promtool read queries as it reads rules.
func checkQueries(t *testing.T, queries []string) {
	t.Helper()
	require.NotEmpty(t, queries)
	type rule struct{ Record, Expr string }
	var rules []rule
	for i, q := range queries {
		q = strings.NewReplacer("$__rate_interval", "5m", "$topic", ".*", "$group", ".*").Replace(q)
		rules = append(rules, rule{fmt.Sprintf("query_%d", i), q})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "queries", "rules": rules}}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "queries.yml")
	require.NoError(t, os.WriteFile(file, text, 0o644))
	promtool(t, "check", "rules", file)
}

func TestFilesForCompose(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Image   string
			Volumes []string
		}
	}
	decode(t, "compose.yaml", &compose)
	for _, name := range []string{"redis", "jaeger", "prometheus", "grafana", "shop"} {
		require.Contains(t, compose.Services, name)
		require.Regexp(t, `^[a-z/]+:[v0-9.]+$`, compose.Services[name].Image, "a pinned image")
	}
	for _, s := range compose.Services {
		for _, v := range s.Volumes {
			if from, _, _ := strings.Cut(v, ":"); strings.HasPrefix(from, ".") {
				_, err := os.Stat(from)
				require.NoError(t, err)
			}
		}
	}
	var any map[string]any
	decode(t, "grafana/datasources.yml", &any)
	decode(t, "grafana/dashboards.yml", &any)
}

// Every name in rules, dashboard and document is one that the services export.
func TestNamesExist(t *testing.T) {
	exported := scrape(t)
	var queries []string
	for _, f := range []string{"alerts.yml", "alerts_test.yml"} {
		queries = append(queries, read(t, f))
	}
	d := readDashboard(t)
	queries = append(queries, d.expressions()...)
	for _, v := range d.Templating.List {
		queries = append(queries, v.Definition)
	}
	documented := promql(t)
	checkQueries(t, documented)
	queries = append(queries, read(t, document))
	used := map[string]bool{}
	for _, q := range queries {
		for _, name := range metricName.FindAllString(q, -1) {
			used[name] = true
			assert.True(t, exported[name] || exported[name+"_bucket"], "%s: nobody exports it; in: %.200s", name, q)
		}
	}
	require.Greater(t, len(used), 20)
	for name := range exported {
		if series := strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_bucket"); series && strings.HasPrefix(name, "typedbus_") {
			assert.True(t, used[name], "%s is exported, and nothing says what to do with it", name)
		}
	}
}

// metricName is a series of ours, or a label.
var metricName = regexp.MustCompile(`\b(?:messaging|typedbus)_[a-z_]+[a-z]`)

// promql are the queries of the document: one a paragraph.
func promql(t *testing.T) (queries []string) {
	t.Helper()
	for _, block := range regexp.MustCompile("(?ms)^```promql\n(.*?)^```").FindAllStringSubmatch(read(t, document), -1) {
		for q := range strings.SplitSeq(block[1], "\n\n") {
			queries = append(queries, regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(q, ""))
		}
	}
	return queries
}

var (
	seriesName = regexp.MustCompile(`(?m)^([a-z_]+)\{`)
	labelName  = regexp.MustCompile(`[{,]([a-z_]+)="`)
)

// scrape runs the services and returns the names of all series and labels that they have when each kind of event has happened.
func scrape(t *testing.T) map[string]bool {
	t.Helper()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	redis := redistest.Start(t)
	var addrs []string
	for _, name := range []string{"billing", "shipping", "orders"} {
		port := freePort(t)
		addrs = append(addrs, "http://localhost:"+port+"/metrics")
		start(t, []string{"OTEL_METRICS_EXPORTER=prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT=" + port}, "-redis", redis.URL, "-every", "5ms", name)
	}
	names := map[string]bool{}
	last := []string{"typedbus_retries_total", "typedbus_duplicates_total", "typedbus_dead_letter_moved_total", "typedbus_group_lag", "error_type", "typedbus_breaker_state"}
	require.NoError(t, redistest.Eventually(time.Minute, func(ctx context.Context) error {
		for _, addr := range addrs {
			text, err := get(ctx, addr)
			if err != nil {
				return err
			}
			for _, expression := range []*regexp.Regexp{seriesName, labelName} {
				for _, m := range expression.FindAllStringSubmatch(text, -1) {
					names[m[1]] = true
				}
			}
		}
		if i := slices.IndexFunc(last, func(name string) bool { return !names[name] }); i >= 0 {
			return fmt.Errorf("nobody exports %s", last[i])
		}
		return nil
	}))
	return names
}

func get(ctx context.Context, url string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return "", err
	}
	q.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

func decode(t *testing.T, file string, to any) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(read(t, file)), to), file)
}
