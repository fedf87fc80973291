// Package telemetry makes OpenTelemetry spans and metrics of what a bus does.
//
//	tel := telemetry.New(telemetry.Options{})
//	b := bus.New(tr, bus.Use(tel.Handle, ...), bus.UseSend(tel.Send))
//	tel.Observe(b)
//
// It is the outermost of the chain, so that its span covers all that becomes of a delivery. It needs the API of
// OpenTelemetry only: where the process has no SDK nothing is recorded, at the cost of about a
// microsecond for each event.
//
// # Spans
//
// Publishing makes a span "send orders.placed", and the context of it, as the W3C's headers traceparent and tracestate, travels
// in the message's own headers. Handling makes "process orders.placed", whose parent is the span that sent, and which also links to
// it. Published while handling, the next "send" is a child of "process". So the flow of one event through many services is one
// trace with two spans for each message:
//
//	send orders.placed > process orders.placed > send invoices.issued > process invoices.issued
//
// A third, "dead_letter orders.placed", says that an event was given up. Waiting for events makes no spans.
//
// Names of spans, metrics and attributes are those of OpenTelemetry's semantic conventions for messaging, version 1.43.0, which are
// not stable yet: they may change with a minor release of this module. What the conventions have no name for begins with "typedbus.";
// docs/observability.md lists all.
//
// # Secrets
//
// No body, key or header of an event, and no text of an error, is in any span or metric, unless [Options].ErrorText asks for the texts.
package telemetry
