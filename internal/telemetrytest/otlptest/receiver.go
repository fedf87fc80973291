// Package otlptest is a backend of OpenTelemetry for tests: it receives what OTLP exporters send over HTTP, and keeps it to be looked
// at.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Receiver takes spans and metrics as OTLP in protobuf. It is stopped when the test ends. Its methods may be called concurrently.
type Receiver struct {
	URL string // the endpoint: http://host:port, with no path

	t testing.TB

	mu      sync.Mutex
	spans   []Span
	metrics []string
	text    strings.Builder
}

// Span is one span, and who sent it.
type Span struct {
	*trace.Span
	Service string // attribute service.name of the resource
	Scope   string // who made it
}

// Start starts a receiver on a free port of 127.0.0.1.
func Start(t testing.TB) *Receiver {
	r := &Receiver{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", receive(r, func() *collectortrace.ExportTraceServiceRequest { return new(collectortrace.ExportTraceServiceRequest) }, r.keepSpans))
	mux.HandleFunc("POST /v1/metrics", receive(r, func() *collectormetrics.ExportMetricsServiceRequest {
		return new(collectormetrics.ExportMetricsServiceRequest)
	}, r.keepMetrics))
	mux.HandleFunc("POST /v1/logs", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		t.Errorf("otlptest: %s %s is no endpoint of OTLP: the exporter would lose everything", q.Method, q.URL.Path)
		http.NotFound(w, q)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// receive decodes one request and hands it on.
func receive[M proto.Message](r *Receiver, empty func() M, keep func(M)) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		m := empty()
		if err := decode(q, m); err != nil {
			r.t.Errorf("otlptest: %s: %v", q.URL.Path, err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.text.WriteString(prototext.Format(m))
		keep(m)
		w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer is a valid one
	}
}

func decode(q *http.Request, m proto.Message) error {
	if ct := q.Header.Get("Content-Type"); ct != "application/x-protobuf" {
		return fmt.Errorf("content type %q: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", ct)
	}
	body := io.Reader(q.Body)
	if q.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = z
	}
	all, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return proto.Unmarshal(all, m)
}

func (r *Receiver) keepSpans(m *collectortrace.ExportTraceServiceRequest) {
	for _, rs := range m.ResourceSpans {
		service := Attributes(rs.Resource.GetAttributes())["service.name"]
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				r.spans = append(r.spans, Span{s, service, ss.Scope.GetName()})
			}
		}
	}
}

func (r *Receiver) keepMetrics(m *collectormetrics.ExportMetricsServiceRequest) {
	for _, rm := range m.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, one := range sm.Metrics {
				r.metrics = append(r.metrics, one.Name)
			}
		}
	}
}

// Spans returns the spans received until now.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Metrics returns the names of the metrics received until now, each once.
func (r *Receiver) Metrics() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := slices.Clone(r.metrics)
	slices.Sort(names)
	return slices.Compact(names)
}

// Text returns all that was received until now, as text, to look for what must not be in it.
func (r *Receiver) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// Attributes returns the values as text, by key.
func Attributes(as []*common.KeyValue) map[string]string {
	m := make(map[string]string, len(as))
	for _, a := range as {
		switch v := a.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[a.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			m[a.Key] = fmt.Sprint(v.BoolValue)
		default:
			m[a.Key] = a.Value.String()
		}
	}
	return m
}

// Trace is the spans of one trace.
type Trace []Span

// Traces sorts spans by trace, and in a trace by when they began.
func Traces(spans []Span) map[string]Trace {
	all := map[string]Trace{}
	for _, s := range spans {
		id := hex.EncodeToString(s.TraceId)
		all[id] = append(all[id], s)
	}
	for _, t := range all {
		slices.SortStableFunc(t, func(a, b Span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	}
	return all
}

// Roots are the spans with no parent.
func (t Trace) Roots() []Span {
	return slices.DeleteFunc(slices.Clone(t), func(s Span) bool { return len(s.ParentSpanId) > 0 })
}

// Orphans are the spans whose parent is not in the trace.
func (t Trace) Orphans() []Span {
	return slices.DeleteFunc(slices.Clone(t), func(s Span) bool { return len(s.ParentSpanId) == 0 || t.Parent(s) != nil })
}

// Parent returns the parent of a span, nil if the trace does not have it.
func (t Trace) Parent(s Span) *Span {
	i := slices.IndexFunc(t, func(p Span) bool { return string(p.SpanId) == string(s.ParentSpanId) })
	if i < 0 {
		return nil
	}
	return &t[i]
}

// Path is the names of a trace that is a chain, from its root on: "send a > process a". Of another it says what it is instead.
func (t Trace) Path() string {
	roots := t.Roots()
	if len(roots) != 1 || len(t.Orphans()) > 0 {
		return fmt.Sprintf("%d roots, %d orphans", len(roots), len(t.Orphans()))
	}
	names, at := []string{roots[0].Name}, roots[0]
	for len(names) < len(t) {
		children := slices.DeleteFunc(slices.Clone(t), func(s Span) bool { return string(s.ParentSpanId) != string(at.SpanId) })
		if len(children) != 1 {
			return fmt.Sprintf("%s, which has %d children", strings.Join(names, " > "), len(children))
		}
		at = children[0]
		names = append(names, at.Name)
	}
	return strings.Join(names, " > ")
}
