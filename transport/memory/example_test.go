package memory_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/memory"
)

// A transport is used through package bus; this is what the bus does with it.
func Example() {
	ctx := context.Background()
	tr := memory.New()
	defer tr.Close()

	orders := transport.Topic{Name: "orders.placed"}
	billing, err := tr.Subscribe(ctx, orders, transport.Group{Name: "billing"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = tr.Publish(ctx, orders, []*transport.Message{{ID: transport.NewID(), Body: []byte(`{"id":"42"}`)}})
	if err != nil {
		fmt.Println(err)
		return
	}

	ds, err := billing.Receive(ctx, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range ds {
		fmt.Printf("attempt %d: %s\n", d.Attempt, d.Body)
	}
	err = billing.Settle(ctx, []transport.Settlement{{Delivery: ds[0], Verdict: transport.Done}})
	fmt.Println("settled:", err)
	// Output:
	// attempt 1: {"id":"42"}
	// settled: <nil>
}

// Two services in one test: what one publishes the other gets, also after the first has gone.
func ExampleTransport_Peer() {
	ctx := context.Background()
	shop := memory.New()
	mailer := shop.Peer()
	defer mailer.Close()

	topic := transport.Topic{Name: "orders.placed"}
	err := shop.Publish(ctx, topic, []*transport.Message{{Body: []byte("order 42")}})
	fmt.Println(err)
	shop.Close()

	sub, err := mailer.Subscribe(ctx, topic, transport.Group{Name: "mailer"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ds, _ := sub.Receive(ctx, 1)
	fmt.Printf("%s\n", ds[0].Body)
	// Output:
	// <nil>
	// order 42
}

// A message died; its cause is mended, and the group that failed gets it again.
func ExampleTransport_Replay() {
	ctx := context.Background()
	tr := memory.New()
	defer tr.Close()
	topic := transport.Topic{Name: "orders.placed"}
	sub, _ := tr.Subscribe(ctx, topic, transport.Group{Name: "billing"})
	tr.Publish(ctx, topic, []*transport.Message{{Body: []byte("order 42")}})
	ds, _ := sub.Receive(ctx, 1)
	sub.Settle(ctx, []transport.Settlement{{Delivery: ds[0], Verdict: transport.Dead, Reason: "permanent", Error: "no such customer"}})

	letters, _ := tr.Letters(ctx, topic, "billing", "", 10)
	for _, l := range letters {
		fmt.Printf("%s: %s (%s)\n", l.Reason, l.Body, l.Error)
	}
	n, _ := tr.Replay(ctx, topic, "billing", letters[0].LetterID)
	ds, _ = sub.Receive(ctx, 1)
	fmt.Printf("%d replayed: %s, attempt %d\n", n, ds[0].Body, ds[0].Attempt)
	// Output:
	// permanent: order 42 (no such customer)
	// 1 replayed: order 42, attempt 1
}

// A message was wrong; its letter is mended, sent back, and what was done stays on record.
func ExampleTransport_PutLetter() {
	ctx := context.Background()
	tr := memory.New()
	defer tr.Close()
	topic := transport.Topic{Name: "orders.placed"}
	sub, _ := tr.Subscribe(ctx, topic, transport.Group{Name: "billing"})
	tr.Publish(ctx, topic, []*transport.Message{{Body: []byte("oder 42")}})
	ds, _ := sub.Receive(ctx, 1)
	sub.Settle(ctx, []transport.Settlement{{Delivery: ds[0], Verdict: transport.Dead, Reason: "decode_error"}})

	letters, _ := tr.Letters(ctx, topic, "billing", "", 1)
	letter := letters[0]
	letter.Body = []byte("order 42")
	id, _ := tr.PutLetter(ctx, topic, "billing", letter, letter.LetterID)
	tr.RecordAct(ctx, topic, "billing", transport.Act{Who: "ann", What: "edit", Detail: "a misspelt order", Count: 1})
	tr.Replay(ctx, topic, "billing", id)

	ds, _ = sub.Receive(ctx, 1)
	fmt.Printf("%s, replays %d\n", ds[0].Body, ds[0].Replays)
	_, err := tr.Letter(ctx, topic, "billing", id)
	fmt.Println(errors.Is(err, transport.ErrNoLetter))
	acts, _ := tr.Acts(ctx, topic, "billing", "", 10)
	fmt.Println(acts[0].Who, acts[0].What, acts[0].Detail)
	// Output:
	// order 42, replays 1
	// true
	// ann edit a misspelt order
}

// Crash shows what becomes of the messages of a process that was killed. In a [testing/synctest] bubble the lease takes no time.
func ExampleTransport_Crash() {
	ctx := context.Background()
	tr := memory.New()
	defer tr.Close()
	topic := transport.Topic{Name: "orders.placed"}
	group := transport.Group{Name: "billing", Lease: 50 * time.Millisecond}
	tr.Publish(ctx, topic, []*transport.Message{{Body: []byte("order 42")}})

	victim, _ := tr.Subscribe(ctx, topic, group)
	victim.Receive(ctx, 1)
	tr.Crash(victim)

	heir, _ := tr.Subscribe(ctx, topic, group)
	ds, _ := heir.Receive(ctx, 1) // waits for the lease to end
	fmt.Printf("%s: attempt %d, redelivered %d\n", ds[0].Body, ds[0].Attempt, ds[0].Redelivered)
	// Output:
	// order 42: attempt 1, redelivered 1
}
