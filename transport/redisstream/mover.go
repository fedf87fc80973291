package redisstream

import "time"

// A move is a set of what waits for its time, and the stream where it goes.
type move struct{ set, hash, stream string }

func (k groupKeys) retryMove() move { return move{k.groupDue, k.groupDueBody, k.retry} }
func (k keys) topicMove() move      { return move{k.due, k.dueBody, k.stream} }

func (t *Transport) wakeMover(m move, at time.Time) {}
