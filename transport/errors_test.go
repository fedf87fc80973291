package transport

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPublishError(t *testing.T) {
	cause := errors.New("connection reset")
	one := &PublishError{Topic: "t", Outcomes: []Outcome{NotStored}, Err: cause}
	require.EqualError(t, one, "publish t: not stored: connection reset")
	require.ErrorIs(t, one, cause)
	require.NotErrorIs(t, one, ErrPublishUnknown)

	many := &PublishError{Topic: "t", Outcomes: []Outcome{Stored, Unknown, NotStored, NotStored}, Err: context.Canceled}
	require.EqualError(t, many, "publish t: 1 stored, 2 not stored, 1 unknown: context canceled")
	require.ErrorIs(t, many, context.Canceled)
	require.ErrorIs(t, many, ErrPublishUnknown)

	var pe *PublishError
	require.ErrorAs(t, fmt.Errorf("orders: %w", many), &pe)
	require.Same(t, many, pe)
}

func TestSettleError(t *testing.T) {
	other := errors.New("no such topic")
	err := &SettleError{Errs: []error{nil, ErrLeaseLost, nil, other}}
	require.EqualError(t, err, "settle: 2 of 4 not ended: transport: lease lost")
	require.ErrorIs(t, err, ErrLeaseLost)
	require.ErrorIs(t, err, other)
	require.NotErrorIs(t, err, ErrClosed)
}

func TestLossError(t *testing.T) {
	err := &LossError{Topic: "t", Group: "g", What: "the stream was deleted; the group goes on at the beginning"}
	require.EqualError(t, err, "data loss suspected: topic t, group g: the stream was deleted; the group goes on at the beginning")
	err.Count, err.From, err.To = 3, "1-0", "3-0"
	require.EqualError(t, err, "data loss suspected: topic t, group g: the stream was deleted; the group goes on at the beginning: 3 messages (positions 1-0 to 3-0)")
	err = &LossError{Topic: "t", Group: "g", What: "too many", Count: 2, Letters: true}
	require.EqualError(t, err, "dead letters removed: topic t, group g: too many: 2 letters")
}

func TestNamesOfConstants(t *testing.T) {
	require.Equal(t, []string{"invalid", "done", "failed", "deferred", "dead", "invalid"},
		[]string{Verdict(0).String(), Done.String(), Failed.String(), Deferred.String(), Dead.String(), Verdict(9).String()})
	require.Equal(t, []string{"not stored", "stored", "outcome unknown", "outcome unknown"},
		[]string{NotStored.String(), Stored.String(), Unknown.String(), Outcome(9).String()})
}
