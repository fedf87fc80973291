package telemetrytest

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/telemetry"
	"github.com/typedbus/typedbus/transport"
)

var _ telemetry.Breaker = (*middleware.Breaker)(nil)

// everything makes each kind of event happen once.
func everything(t *testing.T) *rig {
	r := newRig(t, telemetry.Options{ServerAddress: "host", ServerPort: 1, SettleSpans: true},
		middleware.Idempotent(middleware.NewMemoryClaims(), middleware.IdempotentOptions{}), middleware.Retry(middleware.RetryOptions{}))
	_, err := r.tel.Observe(r.Bus, middleware.NewBreaker(middleware.BreakerOptions{}))
	require.NoError(t, err)
	tries := 0
	orders.Subscribe(r.Bus, "billing", func(ctx context.Context, e *bus.Event[note]) error {
		switch tries++; {
		case tries == 1:
			return errors.New(inError)
		case e.Payload.Order == 1 && e.Replays == 0:
			return bus.DeadLetter("refused", nil)
		case e.Payload.Order == 2:
			return bus.Permanent(errors.Join(invoices.Publish(ctx, e, note{})))
		}
		return nil
	}, bus.Concurrency(1))
	r.run(func() {
		for range 2 {
			require.NoError(t, orders.Publish(t.Context(), r, note{Order: 2}, bus.ID("twice")))
		}
		require.NoError(t, orders.PublishAll(t.Context(), r, []note{{Order: 1}, {}}))
		bustest.Settle(t, r.Bus)
		topic := transport.Topic{Name: orders.Name()}
		letters, err := r.tr.Letters(t.Context(), topic, "billing", "", 1)
		require.NoError(t, err)
		_, err = r.tr.Replay(t.Context(), topic, "billing", letters[0].LetterID)
		require.NoError(t, err)
		time.Sleep(time.Second)
	})
	d := bustest.NewEvent(t, nil, orders, note{}).Delivery
	d.Redelivered = 1
	require.NoError(t, r.tel.Handle(func(context.Context, *bus.Delivery) error { return nil })(t.Context(), d))
	return r
}

// names of all metrics and attributes, as they are recorded.
func (r *rig) names() map[string]bool {
	seen := map[string]bool{}
	note := func(as []attribute.KeyValue) {
		for _, a := range as {
			seen[string(a.Key)] = true
		}
	}
	for _, s := range r.spans.Ended() {
		note(s.Attributes())
		for _, l := range s.Links() {
			note(l.Attributes)
		}
		for _, e := range s.Events() {
			seen[e.Name] = true
			note(e.Attributes)
		}
	}
	var all metricdata.ResourceMetrics
	require.NoError(r.t, r.meters.Collect(r.t.Context(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			seen[m.Name] = true
			for _, set := range attributeSets(m.Data) {
				note(set.ToSlice())
			}
		}
	}
	return seen
}

func attributeSets(data metricdata.Aggregation) (sets []attribute.Set) {
	switch data := data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			sets = append(sets, p.Attributes)
		}
	}
	return sets
}

// The document names what there is, all of it, and nothing else.
func TestDocumentNamesWhatThereIs(t *testing.T) {
	document, err := os.ReadFile("../../docs/observability.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("`((?:messaging|typedbus|server|error)\\.[a-z_.]+)`").FindAllStringSubmatch(string(document), -1) {
		documented[m[1]] = true
	}
	synctest.Test(t, func(t *testing.T) {
		seen := everything(t).names()
		for name := range documented {
			assert.True(t, seen[name], "the document has %s, and nothing records it", name)
		}
		for name := range seen {
			assert.True(t, documented[name], "%s is recorded, and the document does not have it", name)
		}
		require.Greater(t, len(seen), 40)
	})
	require.NotContains(t, strings.ToLower(string(document)), "todo")
}
