package simulate_test

import (
	"context"
	"time"

	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// claims are the store of all, with faults, as one process sees it. A process that was killed does not reach it any more.
type claims struct {
	middleware.Claims
	p *process
	d *dice
}

// call is one call of the store.
func (c *claims) call(f func() error) error {
	switch {
	case c.p.killed(), c.p.w.strikes(c.d, claimFails):
		return errNet
	case c.p.w.strikes(c.d, claimUnheard):
		f()
		return errNet
	}
	return f()
}

func (c *claims) Begin(ctx context.Context, cl transport.Claim, expiry time.Duration) (done bool, wait time.Duration, err error) {
	err = c.call(func() (err error) {
		done, wait, err = c.Claims.Begin(ctx, cl, expiry)
		return err
	})
	if err != nil {
		return false, 0, err
	}
	return done, wait, nil
}

func (c *claims) Renew(ctx context.Context, cs []transport.Claim, expiry time.Duration) (lost []transport.Claim, err error) {
	err = c.call(func() (err error) {
		lost, err = c.Claims.Renew(ctx, cs, expiry)
		return err
	})
	if err != nil {
		return nil, err
	}
	return lost, nil
}

func (c *claims) Finish(ctx context.Context, cl transport.Claim, keep time.Duration) error {
	return c.call(func() error { return c.Claims.Finish(ctx, cl, keep) })
}

func (c *claims) Release(ctx context.Context, cl transport.Claim) error {
	return c.call(func() error { return c.Claims.Release(ctx, cl) })
}
