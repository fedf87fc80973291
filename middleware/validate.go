package middleware

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/typedbus/typedbus/bus"
)

// An InvalidError says that a payload is not what the handler accepts. Its text is that of the check, which should not quote
// the payload.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return "middleware: invalid payload: " + e.Err.Error() }

func (e *InvalidError) Unwrap() error { return e.Err }

// Reason is the word for statistics of dead letters.
func (e *InvalidError) Reason() string { return "invalid" }

// Validate refuses payloads before the handler sees them. If T or *T has the method Validate() error, that is asked first;
// then the checks, in their order. The first error ends it: the payload is [bus.Permanent]ly an [*InvalidError], which a
// dead-letter route takes, because trying again would not mend it. A check that cannot say, because what it looks up is away,
// may return [bus.Snooze] or any other mark: it passes as it is. A nil payload, JSON's null, of a T that is a pointer with
// the method is invalid.
//
//	orders.Subscribe(b, "billing", bus.Wrap(charge, middleware.Validate[Order]()))
//
// With neither method nor checks there is nothing to ask, and that is a mistake in the program: no event of the subscription
// is handled, none is lost and none loses an attempt ([bus.Pause]), and the log says why.
//
// Checks may be called concurrently, and so may what is returned.
func Validate[T any](checks ...func(T) error) bus.MiddlewareOf[T] {
	own := ownCheck[T]()
	mistake := nothingToCheck(own, checks)
	return func(next bus.HandlerOf[T]) bus.HandlerOf[T] {
		return func(ctx context.Context, e *bus.Event[T]) error {
			if mistake != nil {
				return bus.Pause(time.Minute, mistake)
			}
			if err := firstError(&e.Payload, own, checks); err != nil {
				return refused(err)
			}
			return next(ctx, e)
		}
	}
}

type validator interface{ Validate() error }

var errNil = errors.New("it is nil")

// ownCheck returns how a T validates itself; nil if it does not.
func ownCheck[T any]() func(*T) error {
	var zero T
	if _, ok := any(&zero).(validator); ok {
		return func(v *T) error { return any(v).(validator).Validate() }
	}
	if !reflect.TypeFor[T]().Implements(reflect.TypeFor[validator]()) {
		return nil
	}
	return func(v *T) error { // T is a pointer or an interface
		if any(*v) == any(zero) {
			return errNil
		}
		return any(*v).(validator).Validate()
	}
}

func nothingToCheck[T any](own func(*T) error, checks []func(T) error) error {
	for i, check := range checks {
		if check == nil {
			return fmt.Errorf("middleware: Validate[%v]: check %d of %d is nil", reflect.TypeFor[T](), i+1, len(checks))
		}
	}
	if own == nil && len(checks) == 0 {
		return fmt.Errorf("middleware: Validate[%v] has nothing to check: give the type a method Validate() error, or Validate a func", reflect.TypeFor[T]())
	}
	return nil
}

func firstError[T any](v *T, own func(*T) error, checks []func(T) error) error {
	if own != nil {
		if err := own(v); err != nil {
			return err
		}
	}
	for _, check := range checks {
		if err := check(*v); err != nil {
			return err
		}
	}
	return nil
}

func refused(err error) error {
	if bus.VerdictOf(err).Kind != bus.Failed {
		return err
	}
	return bus.Permanent(&InvalidError{Err: err})
}
