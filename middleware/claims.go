package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// Claims keeps, for [Idempotent], what is being handled and what was. A claim is in one of three states: absent; running, with
// an owner and a time at which it expires by itself; done, until it is forgotten. Topic, group and key name it, all three; a
// key is any bytes. Its methods may be called concurrently, by many processes. Each is one step: of two calls one is first.
// Time is the store's own, so that clocks of processes need not agree. After an error a call may have happened or not, and may be
// made again.
//
// Redis ([transport/redisstream]), memory ([NewMemoryClaims]) and SQL (middleware/sqlclaims) implement it; middleware/claimtest
// executes what is said here.
//
// [transport/redisstream]: https://pkg.go.dev/github.com/typedbus/typedbus/transport/redisstream
type Claims interface {
	// Begin makes an absent or expired claim running, for its owner, until expiry has passed, and returns false and 0. Of a claim
	// that is done it returns true; of one that runs for another owner, how long it still has, more than 0. A claim that runs
	// for the same owner is begun again.
	Begin(ctx context.Context, c transport.Claim, expiry time.Duration) (done bool, wait time.Duration, err error)
	// Renew lets claims that run for their owners expire later: expiry from now. It returns those that do not any more. A claim
	// that is absent because it expired is begun again.
	Renew(ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error)
	// Finish makes a claim done, and keeps it so for the given time. What was done is done: neither that the claim has expired
	// nor that another owner has it meanwhile is an error. Finishing twice is no error.
	Finish(ctx context.Context, c transport.Claim, keep time.Duration) error
	// Release makes a claim absent that runs for this owner. All others stay as they are, and that is no error.
	Release(ctx context.Context, c transport.Claim) error
}

var (
	// ErrClaimLost is the cause of a handler's context whose claim went to another owner, because it could not be renewed in time.
	// It is a [bus.ErrLeaseLost] to errors.Is, so that the other events of a batch ([bus.Batched]) do not pay for it.
	ErrClaimLost error = claimLost{}
	// ErrRunning is why [Idempotent] snoozes an event.
	ErrRunning = errors.New("middleware: another handles the event now")
)

type claimLost struct{}

func (claimLost) Error() string { return "middleware: claim lost: another handles the event" }

func (claimLost) Is(target error) bool { return target == bus.ErrLeaseLost }
