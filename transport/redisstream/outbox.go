package redisstream

import (
	"time"

	"github.com/typedbus/typedbus/transport"
)

func (t *Transport) stageOutbox(from keys, tg *target, r transport.Retention, delay time.Duration, entry []any) stagedWrite {
	return stagedWrite{}
}
