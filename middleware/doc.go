// Package middleware wraps handlers and publishing: what a service wants around its handlers, and does not want in them.
//
// [Standard] has the recommended chain ready made. Its order, outermost first, is that of docs/middleware.md:
//
//	telemetry > Log > dlq.Route > Idempotent > Breaker > Retry > Timeout > Recover > decoding > handler
//
// Every middleware lets a verdict pass that it does not understand (see [bus.VerdictOf]), so other orders work less well and
// lose nothing.
//
// What has no state is a function that returns a [bus.Middleware]. What has state, or is a pair of publishing and handling, is
// a type with the methods Handle, a [bus.Middleware], and Send, a [bus.SendMiddleware].
package middleware
