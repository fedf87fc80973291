// Package transport is the contract between the bus and a message broker.
//
// A [Transport] stores messages of a [Topic] and hands them to groups. Each group of a topic gets every message; within a
// group each message is leased to one consumer at a time, until that consumer settles it.
//
// The comments of this package are the contract. Each sentence that promises something is a clause of the conformance suite
// in transporttest, which prints the sentence that an implementation breaks. [github.com/typedbus/typedbus/transport/memory]
// is the model the suite is proved on; [github.com/typedbus/typedbus/transport/redisstream] is the one for production.
//
// Applications do not call a transport: they use package bus.
package transport
