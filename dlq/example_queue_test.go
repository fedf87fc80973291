package dlq_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// run publishes payments and books them until n have been tried. None can be booked while broken is not nil.
func run(tr transport.Transport, n int, broken error, ps ...Payment) {
	ctx, stop := context.WithCancel(context.Background())
	b := bus.New(tr, quiet, bus.Use(dlq.Route(dlq.RouteOptions{MaxAttempts: 1})))
	payments.Subscribe(b, "books", func(_ context.Context, e *bus.Event[Payment]) error {
		if n--; n == 0 {
			stop()
		}
		if broken == nil {
			fmt.Println("booked", e.Payload.ID, e.Payload.Cents)
		}
		return broken
	}, bus.Concurrency(1))
	_ = payments.PublishAll(ctx, b, ps)
	_ = b.Run(ctx)
}

// When the cause is mended the letters are sent back to the group that failed, and to no other.
func ExampleQueue_Replay() {
	ctx := context.Background()
	tr := memory.New()
	run(tr, 3, errors.New("the ledger is locked"), Payment{"p-1", 1}, Payment{"p-2", 2}, Payment{"p-3", 3})

	q := dlq.NewQueue(tr, payments.Name(), "books", dlq.QueueOptions{Who: "ann"})
	groups, _ := q.Groups(ctx, dlq.Filter{})
	for _, g := range groups {
		fmt.Println(g.Count, "letters:", g.Reason, "-", g.Fingerprint)
	}
	f := dlq.Filter{Reason: dlq.Exhausted, Text: "locked"}
	report, _ := q.Replay(ctx, f, dlq.ReplayOptions{DryRun: true})
	fmt.Println("would replay", report.Matched)
	report, _ = q.Replay(ctx, f, dlq.ReplayOptions{Rate: 1000})
	fmt.Println("replayed", report.Done)
	run(tr, 3, nil)

	for act, err := range q.Acts(ctx) {
		if err == nil && act.Count >= 0 {
			fmt.Println(act.Who, "did a", act.What, "of", act.Count)
		}
	}
	// Output:
	// 3 letters: exhausted - the ledger is locked
	// would replay 3
	// replayed 3
	// booked p-1 1
	// booked p-2 2
	// booked p-3 3
	// ann did a replay of 3
}

// A letter whose event itself is wrong is mended, and then replayed. It is the same event as before, with the same ID.
func ExampleEditAs() {
	ctx := context.Background()
	tr := memory.New()
	run(tr, 1, bus.Permanent(errors.New("negative amount")), Payment{"p-1", -995})

	q := dlq.NewQueue(tr, payments.Name(), "books", dlq.QueueOptions{})
	letters, _, _ := q.List(ctx, dlq.Filter{Text: "negative"}, "", 1)
	id, err := dlq.EditAs(ctx, q, payments, letters[0].LetterID, func(p *Payment) error {
		p.Cents = -p.Cents
		return nil
	})
	fmt.Println("edited:", err)
	_, _ = q.Replay(ctx, dlq.Filter{IDs: []string{id}}, dlq.ReplayOptions{})
	run(tr, 1, nil)
	// Output:
	// edited: <nil>
	// booked p-1 995
}

// Edit changes what no codec can read.
func ExampleQueue_Edit() {
	ctx := context.Background()
	tr := memory.New()
	q := dlq.NewQueue(tr, payments.Name(), "books", dlq.QueueOptions{})
	_, _ = q.Import(ctx, strings.NewReader(
		`{"v":1,"topic":"payments.made","group":"books","id":"e-1","reason":"decode_error","died":"2026-11-23T15:00:00Z","body":"{\"ID\":\"p-1\""}`))
	letters, _, _ := q.List(ctx, dlq.Filter{Reason: dlq.DecodeError}, "", 1)
	_, err := q.Edit(ctx, letters[0].LetterID, func(m *bus.Message) error {
		m.Body = append(m.Body, '}')
		m.Headers.Set("mended-by", "ann")
		return nil
	})
	fmt.Println("edited:", err)
	_, _ = q.Replay(ctx, dlq.Filter{All: true}, dlq.ReplayOptions{})
	run(tr, 1, nil)
	// Output:
	// edited: <nil>
	// booked p-1 0
}

// Letters are exported as JSON lines, for other programs and to be imported again.
func ExampleQueue_Export() {
	ctx := context.Background()
	tr := memory.New()
	q := dlq.NewQueue(tr, payments.Name(), "books", dlq.QueueOptions{})
	report, err := q.Import(ctx, strings.NewReader(
		`{"v":1,"topic":"payments.made","group":"books","id":"e-1","reason":"permanent","died":"2026-11-23T15:00:00Z","time":"2026-11-23T14:00:00Z","body":"{}"}`))
	fmt.Println(report.Done, err)
	n, err := q.Export(ctx, os.Stdout, dlq.Filter{Reason: dlq.Permanent})
	fmt.Println(n, err)
	// Output:
	// 1 <nil>
	// {"v":1,"topic":"payments.made","group":"books","letter_id":"1","reason":"permanent","attempt":0,"redelivered":0,"replays":0,"died":"2026-11-23T15:00:00Z","time":"2026-11-23T14:00:00Z","id":"e-1","body":"{}"}
	// 1 <nil>
}
