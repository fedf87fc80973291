package middleware

import (
	"log/slog"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
)

// StandardOptions are the parts of [Standard]. The zero value is a good start: dead letters, retry, a limit of time, recovery.
type StandardOptions struct {
	// Telemetry is the Handle of a telemetry.Telemetry; default none.
	Telemetry bus.Middleware
	// Log, if not nil, is where [Log] writes a record a delivery. The bus logs what is no success by itself.
	Log *slog.Logger
	// Route are the settings of [dlq.Route].
	Route dlq.RouteOptions
	// Claims, if not nil, is where [Idempotent] keeps what was handled; its settings are in Idempotent.
	Claims     Claims
	Idempotent IdempotentOptions
	// Breaker, if not nil, is that of the dependency of these handlers. Handlers with different dependencies have different
	// breakers, and so chains of their own.
	Breaker *Breaker
	// Retry are the settings of [Retry].
	Retry RetryOptions
	// Timeout is the limit of each try; default 30s, negative: none.
	Timeout time.Duration
}

// Standard is the recommended chain, ready made, for a bus or for one subscription:
//
//	telemetry > Log > dlq.Route > Idempotent > Breaker > Retry > Timeout > Recover
//
// What has no setting in o is left out: telemetry, Log, Idempotent, Breaker. Middleware of one's own goes inside with another
// [bus.Use], or outside with one before. docs/middleware.md says why the order is what it is.
func Standard(o StandardOptions) bus.Chain {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	var chain []bus.Middleware
	if o.Telemetry != nil {
		chain = append(chain, o.Telemetry)
	}
	if o.Log != nil {
		chain = append(chain, Log(o.Log))
	}
	chain = append(chain, dlq.Route(o.Route))
	if o.Claims != nil {
		chain = append(chain, Idempotent(o.Claims, o.Idempotent))
	}
	if o.Breaker != nil {
		chain = append(chain, o.Breaker.Handle)
	}
	return bus.Use(append(chain, Retry(o.Retry), Timeout(o.Timeout, o.Log), Recover())...)
}
