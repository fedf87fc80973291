package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
)

// A show watches every layer of the chain.
type show struct {
	out   io.Writer
	run   string
	begin time.Time

	mu      sync.Mutex
	handled map[string]int // event id to how often
	last    string
	result
}

// result is the last line of the output.
type result struct {
	Published  int            `json:"published"`
	Repeated   int            `json:"published_twice"`
	Poison     int            `json:"poison"`
	Handled    int            `json:"handled"`
	Twice      int            `json:"handled_twice"`
	Duplicates int            `json:"duplicates_skipped"`
	Retries    int            `json:"retries_in_place"`
	Failed     int            `json:"failed_attempts"`
	Timeouts   int            `json:"timeouts"`
	Panics     int            `json:"panics_recovered"`
	Opened     int            `json:"breaker_opened"`
	Paused     int            `json:"paused_deliveries"`
	Letters    int            `json:"letters"`
	Reasons    map[string]int `json:"letters_by_reason"`
	Replayed   int            `json:"replayed"`
	Left       int            `json:"letters_left"`
	Paged      int            `json:"paged"`
	Pager      pagerCounts    `json:"pager"`
	ElapsedMS  int64          `json:"elapsed_ms"`
}

func newShow(out io.Writer) *show {
	return &show{
		out: out, run: transport.NewID(), begin: time.Now(),
		handled: make(map[string]int), result: result{Reasons: make(map[string]int)},
	}
}

// chain is the standard one, with hooks for the show.
func (s *show) chain(claims middleware.Claims) bus.Chain {
	return middleware.Standard(middleware.StandardOptions{
		Route:  dlq.RouteOptions{MaxAttempts: 4, OnDead: s.dead},
		Claims: claims, Idempotent: middleware.IdempotentOptions{Expiry: 5 * time.Second},
		Breaker: middleware.NewBreaker(middleware.BreakerOptions{
			Name: "pager", Failures: 8, Open: 250 * time.Millisecond, OnChange: s.breaker,
		}),
		Retry:   middleware.RetryOptions{Tries: 4, Min: 20 * time.Millisecond, Max: 100 * time.Millisecond},
		Timeout: time.Second,
	})
}

// counted is typed middleware: it counts what ends well.
func (s *show) counted(next bus.HandlerOf[Page]) bus.HandlerOf[Page] {
	return func(ctx context.Context, e *bus.Event[Page]) error {
		if e.Headers.Get(runHeader) != s.run {
			return nil // left over from a run that was interrupted
		}
		if err := next(ctx, e); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.handled[e.ID]++
		return nil
	}
}

// observe is middleware around the whole chain: it sees what each delivery comes to, and is told what happens inside.
func (s *show) observe(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		err := next(middleware.Observed(ctx, s), d)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch bus.VerdictOf(err).Kind {
		case bus.Failed:
			s.Failed++
		case bus.Paused:
			s.Paused++
		}
		return err
	}
}

var _ middleware.Observer = (*show)(nil)

// Retried is called by middleware.Retry.
func (s *show) Retried(_ context.Context, _ *bus.Delivery, _ int, _ time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Retries++
	var panicked *bus.PanicError
	switch {
	case errors.As(err, &panicked):
		s.Panics++
	case errors.Is(err, context.DeadlineExceeded):
		s.Timeouts++
	}
}

// Duplicate is called by middleware.Idempotent.
func (s *show) Duplicate(_ context.Context, _ *bus.Delivery, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if done {
		s.Duplicates++
	}
}

// dead is called by dlq.Route.
func (s *show) dead(_ context.Context, _ *bus.Delivery, reason string, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Reasons[reason]++
}

// breaker is called by middleware.Breaker.
func (s *show) breaker(name, from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from == "closed" {
		s.Opened++
		fmt.Fprintf(s.out, "the breaker of the %s opens: nothing is received but a probe now and then\n", name)
	}
	if to == "closed" {
		fmt.Fprintf(s.out, "the breaker of the %s closes: a probe went well\n", name)
	}
}

func (s *show) handledEvents() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.handled)
}

// progress prints where the show stands, if that has changed.
func (s *show) progress(letters int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Left = letters
	if line := fmt.Sprintf("handled %d, dead %d", len(s.handled), s.Left); line != s.last {
		fmt.Fprintln(s.out, line)
		s.last = line
	}
}

// summary says what each layer did.
func (s *show) summary() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.handled {
		if n > 1 {
			s.Twice++
		}
	}
	var w strings.Builder
	row := func(layer, format string, args ...any) {
		fmt.Fprintf(&w, "  %-11s "+format+"\n", append([]any{layer}, args...)...)
	}
	fmt.Fprintln(&w, "\nwhat every layer did:")
	row("Route", "%d dead letters: %v", s.Letters, s.Reasons)
	row("Idempotent", "%d duplicates acknowledged without a call", s.Duplicates)
	row("Breaker", "opened %d times; %d deliveries were paused and kept their attempt", s.Opened, s.Paused)
	row("Retry", "%d further tries in place; %d deliveries failed all the same, and came again", s.Retries, s.Failed)
	row("Timeout", "%d calls took too long", s.Timeouts)
	row("Recover", "%d panics", s.Panics)
	row("the pager", "%d calls: %d failed, %d came while it was down, %d refused, %d had been paged before", s.Pager.Calls,
		s.Pager.Failed, s.Pager.WhileDown, s.Pager.Refused, s.Pager.Repeated)
	fmt.Fprint(s.out, w.String())
}
