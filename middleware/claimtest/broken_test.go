package claimtest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// broken is a good store that a fault makes a bad one. A function that is nil leaves its part good.
type broken struct {
	*middleware.MemoryClaims
	fault *fault
}

// A fault is a way to break the contract, and the clauses that must notice it.
type fault struct {
	name    string
	caught  string // names of clauses, with spaces between
	apart   bool   // each process has claims of its own
	mistake func(*transport.Claim)
	begin   func(b *broken, ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error)
	renew   func(b *broken, ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error)
	finish  func(b *broken, ctx context.Context, c transport.Claim, keep time.Duration) error
	release func(b *broken, ctx context.Context, c transport.Claim) error
}

func (b *broken) mistaken(c transport.Claim) transport.Claim {
	if b.fault.mistake != nil {
		b.fault.mistake(&c)
	}
	return c
}

func (b *broken) Begin(ctx context.Context, c transport.Claim, expiry time.Duration) (bool, time.Duration, error) {
	if b.fault.begin != nil {
		return b.fault.begin(b, ctx, c, expiry)
	}
	return b.MemoryClaims.Begin(ctx, b.mistaken(c), expiry)
}

func (b *broken) Renew(ctx context.Context, cs []transport.Claim, expiry time.Duration) ([]transport.Claim, error) {
	if b.fault.renew != nil {
		return b.fault.renew(b, ctx, cs, expiry)
	}
	return b.MemoryClaims.Renew(ctx, cs, expiry)
}

func (b *broken) Finish(ctx context.Context, c transport.Claim, keep time.Duration) error {
	if b.fault.finish != nil {
		return b.fault.finish(b, ctx, c, keep)
	}
	return b.MemoryClaims.Finish(ctx, b.mistaken(c), keep)
}

func (b *broken) Release(ctx context.Context, c transport.Claim) error {
	if b.fault.release != nil {
		return b.fault.release(b, ctx, c)
	}
	return b.MemoryClaims.Release(ctx, b.mistaken(c))
}

// is asks for the state of a claim, as its owner sees it, and changes nothing.
func (b *broken) is(ctx context.Context, c transport.Claim) string {
	probe := c
	probe.Owner = "probe"
	done, wait, _ := b.MemoryClaims.Begin(ctx, probe, time.Minute)
	if s := (state{done, wait}); s.name() != begun {
		return s.name()
	}
	_ = b.MemoryClaims.Release(ctx, probe)
	return "absent"
}

// take gives a claim to an owner, whoever has it.
func (b *broken) take(ctx context.Context, c transport.Claim, expiry time.Duration) {
	_ = b.MemoryClaims.Finish(ctx, c, 0)
	_, _, _ = b.MemoryClaims.Begin(ctx, c, expiry)
}

// harnessOf is a harness of claims in memory with a fault.
func harnessOf(f *fault) Harness {
	return Harness{Bubble: true, Expiry: 10 * time.Second, Store: func(testing.TB) func() middleware.Claims {
		m := middleware.NewMemoryClaims()
		return func() middleware.Claims {
			if f.apart {
				m = middleware.NewMemoryClaims()
			}
			return &broken{m, f}
		}
	}}.withDefaults()
}

// TestSuiteCatchesFaults proves the suite: each fault is noticed by the clauses that are about it.
func TestSuiteCatchesFaults(t *testing.T) {
	caught := map[string]bool{}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			var by []string
			for _, c := range clauses {
				r := record(t, c, harnessOf(&f))
				if !r.failed {
					continue
				}
				by = append(by, c.name)
				caught[c.name] = true
				if !strings.Contains(r.text.String(), c.says) {
					t.Errorf("%s failed without the sentence that is broken:\n%s", c.name, r.text.String())
				}
			}
			for want := range strings.FieldsSeq(f.caught) {
				if !slices.Contains(by, want) {
					t.Errorf("clause %s does not notice it; these do: %v", want, by)
				}
			}
		})
	}
	for _, c := range clauses {
		if !caught[c.name] {
			t.Errorf("clause %s notices no fault at all: it may check nothing", c.name)
		}
	}
}

// TestSuitePassesGood is the counter-check: without a fault nothing fails.
func TestSuitePassesGood(t *testing.T) {
	for _, c := range clauses {
		if r := record(t, c, harnessOf(&fault{})); r.failed {
			t.Errorf("clause %s: %s", c.name, r.text.String())
		}
	}
}
