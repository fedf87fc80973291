package telemetry

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
	"go.opentelemetry.io/otel/trace"
)

// buckets are those that the conventions advise for durations, in seconds. Without them all latencies of a fast service land in the
// first bucket of the SDK's default, which ends at 5.
var buckets = metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

// instruments are the metrics of what happens; those of how things stand are in observe.go.
type instruments struct {
	sent, consumed                  metric.Int64Counter
	operation, process              metric.Float64Histogram
	retries, duplicates, deadLetter metric.Int64Counter
}

func newInstruments(m metric.Meter) (i instruments) {
	sent, err := messagingconv.NewClientSentMessages(m)
	report(err)
	consumed, err := messagingconv.NewClientConsumedMessages(m)
	report(err)
	operation, err := messagingconv.NewClientOperationDuration(m, buckets)
	report(err)
	process, err := messagingconv.NewProcessDuration(m, buckets)
	report(err)
	i.sent, i.consumed, i.operation, i.process = sent.Inst(), consumed.Inst(), operation.Inst(), process.Inst()
	i.retries = counter(m, "typedbus.retries", "{try}", "Tries that failed and were followed by another within the same delivery.")
	i.duplicates = counter(m, "typedbus.duplicates", "{message}", "Deliveries that were not handled because the event was, or is, handled already.")
	i.deadLetter = counter(m, "typedbus.dead_letter.moved", "{message}", "Messages moved to the dead letters by this process.")
	return i
}

func counter(m metric.Meter, name, unit, what string) metric.Int64Counter {
	c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
	report(err)
	return c
}

func report(err error) {
	if err != nil {
		otel.Handle(err)
	}
}

// labels are the attributes of a metric, made once: those that are always the same, and one more that varies.
type labels struct {
	base []attribute.KeyValue
	key  attribute.Key
	bare label // without the one that varies

	mu     sync.RWMutex
	values map[string]label
}

// label is one set of attributes, in the forms that instruments take.
type label struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

func newLabel(as ...attribute.KeyValue) label {
	set := metric.WithAttributeSet(attribute.NewSet(as...))
	return label{[]metric.AddOption{set}, []metric.RecordOption{set}}
}

func newLabels(base []attribute.KeyValue, key attribute.Key) *labels {
	return &labels{base: base, key: key, bare: newLabel(base...), values: map[string]label{}}
}

// maxValues is how many values of one attribute make a series of their own. What applications put into reasons and error types
// may be without end.
const maxValues = 50

// other is what the conventions call all other values.
const other = "_OTHER"

// of returns the attributes with a value for the one that varies; "" leaves it out.
func (l *labels) of(value string) label {
	if value == "" {
		return l.bare
	}
	l.mu.RLock()
	known, ok := l.values[value]
	l.mu.RUnlock()
	if ok {
		return known
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.values) >= maxValues {
		value = other
	}
	if _, ok := l.values[value]; !ok {
		l.values[value] = newLabel(append(slices.Clone(l.base), l.key.String(value))...)
	}
	return l.values[value]
}

// sendMeters is what publishing to one topic needs, made once.
type sendMeters struct {
	topic  string
	name   string
	starts *starts
	labels *labels
}

func (t *Telemetry) sendMeters(topic string) *sendMeters {
	if m, ok := t.topics.Load(topic); ok {
		return m.(*sendMeters)
	}
	as := t.attributes(opSend, topic, "")
	m, _ := t.topics.LoadOrStore(topic, &sendMeters{
		topic: topic, name: opSend.name + " " + topic, starts: newStarts(as, 1), labels: newLabels(as, semconv.ErrorTypeKey),
	})
	return m.(*sendMeters)
}

type groupName struct{ topic, group string }

// processMeters is what handling for one group needs, made once.
type processMeters struct {
	groupName
	name       string
	attributes trace.SpanStartOption // of batches
	starts     *starts
	labels     *labels
	duplicates *labels         // by whether the event was handled already, or is being handled
	reasons    *labels         // of dead letters
	settles    []*settleMeters // by operation
}

// settleMeters is what a settlement needs.
type settleMeters struct {
	operation
	name       string
	attributes trace.SpanStartOption
	labels     *labels
}

func (t *Telemetry) processMeters(topic, group string) *processMeters {
	name := groupName{topic, group}
	if m, ok := t.groups.Load(name); ok {
		return m.(*processMeters)
	}
	m, _ := t.groups.LoadOrStore(name, t.newProcessMeters(name))
	return m.(*processMeters)
}

func (t *Telemetry) newProcessMeters(n groupName) *processMeters {
	as := t.attributes(opProcess, n.topic, n.group)
	of := groupAttributes(n.topic, n.group)
	m := &processMeters{
		groupName: n, name: opProcess.name + " " + n.topic, attributes: trace.WithAttributes(as...), starts: newStarts(as, 2),
		labels: newLabels(as, semconv.ErrorTypeKey), reasons: newLabels(of, keyReason),
		duplicates: newLabels(of, keyDuplicate),
	}
	for _, op := range []operation{opAck, opRetry, opDefer, opDeadLetter} {
		as := t.attributes(op, n.topic, n.group)
		m.settles = append(m.settles, &settleMeters{op, op.name + " " + n.topic, trace.WithAttributes(as...), newLabels(as, semconv.ErrorTypeKey)})
	}
	return m
}

func (m *processMeters) settling(op operation) *settleMeters {
	return m.settles[slices.IndexFunc(m.settles, func(s *settleMeters) bool { return s.operation == op })]
}

// groupAttributes are those of our own metrics.
func groupAttributes(topic, group string) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.MessagingDestinationName(topic), semconv.MessagingConsumerGroupName(group)}
}

// took records how long an operation took.
func took(ctx context.Context, h metric.Float64Histogram, seconds float64, l label) {
	h.Record(ctx, seconds, l.record...)
}
