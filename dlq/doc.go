// Package dlq is for events that cannot be handled: [Route] sends them to the dead letters of their group, and a [Queue] looks
// at the letters, mends them and sends them back.
//
//	b := bus.New(tr, bus.Use(dlq.Route(dlq.RouteOptions{})))
//
//	q := dlq.NewQueue(tr, OrderPlaced.Name(), "billing", dlq.QueueOptions{})
//	groups, err := q.Groups(ctx, dlq.Filter{})                                     // what went wrong, and how often
//	report, err := q.Replay(ctx, dlq.Filter{Reason: dlq.Exhausted}, dlq.ReplayOptions{Rate: 100})
//
// # What a letter keeps
//
// A letter is the message as it was stored: body, headers, id and key; and beside it the reason, the error text (up to
// [transport.MaxErrorText] bytes), the attempt, how often it was redelivered and replayed, who gave up, and when it was stored
// and died. Who may read the topic's broker may read its letters. The error text is the only part that was not there before:
// where errors may quote a secret or a payload, give [RouteOptions] a Redact. This package shows bodies to nobody but the
// caller: they are in no error text and in no record.
//
// # Safe to repeat
//
// The move into the dead letters and the acknowledgement are one step of the transport, and so are the removal of a letter and
// its new delivery, letter by letter. So an event has one letter for each group that gave up on it, whatever crashes when; and
// an act that was killed is finished by doing it again.
//
// # The record
//
// Every act on the letters (replay, discard, edit, import, export) is recorded twice, when it begins and when it has ended,
// see [Queue.Acts]. An act whose beginning cannot be recorded is refused.
package dlq
