package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Attributes that the conventions have no name for. docs/observability.md explains them.
const (
	keyAttempt     = attribute.Key("typedbus.delivery.attempt")
	keyRedelivered = attribute.Key("typedbus.delivery.redelivered")
	keyReplays     = attribute.Key("typedbus.delivery.replays")
	keyOutcome     = attribute.Key("typedbus.delivery.outcome")
	keyDuplicate   = attribute.Key("typedbus.delivery.duplicate")
	keyStaged      = attribute.Key("typedbus.publish.staged")
	keyReason      = attribute.Key("typedbus.dead_letter.reason")
	keyTry         = attribute.Key("typedbus.retry.try")
	keyWait        = attribute.Key("typedbus.retry.wait")
	keySettlement  = attribute.Key("typedbus.settlement")
	keyBreaker     = attribute.Key("typedbus.breaker.name")
	keyState       = attribute.Key("typedbus.breaker.state")
)

// operation is one of the conventions' kinds of work, and its name in spans.
type operation struct {
	name string
	kind attribute.KeyValue
}

var (
	opSend       = operation{"send", semconv.MessagingOperationTypeSend}
	opProcess    = operation{"process", semconv.MessagingOperationTypeProcess}
	opAck        = operation{"ack", semconv.MessagingOperationTypeSettle}
	opRetry      = operation{"retry", semconv.MessagingOperationTypeSettle}
	opDefer      = operation{"defer", semconv.MessagingOperationTypeSettle}
	opDeadLetter = operation{"dead_letter", semconv.MessagingOperationTypeSettle}
)

// attributes are those of every span and metric of an operation on a topic, and in a group if that is not empty.
func (t *Telemetry) attributes(op operation, topic, group string) []attribute.KeyValue {
	as := []attribute.KeyValue{
		semconv.MessagingSystemKey.String(t.opts.System),
		semconv.MessagingOperationName(op.name),
		op.kind,
		semconv.MessagingDestinationName(topic),
	}
	if group != "" {
		as = append(as, semconv.MessagingConsumerGroupName(group))
	}
	if t.opts.ServerAddress != "" {
		as = append(as, semconv.ServerAddress(t.opts.ServerAddress))
	}
	if t.opts.ServerPort != 0 {
		as = append(as, semconv.ServerPort(t.opts.ServerPort))
	}
	return as
}
