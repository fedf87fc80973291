package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/examples/internal/week"
	"github.com/typedbus/typedbus/transport"
)

// runHeader marks the events of one run, so that a run on a Redis that has seen others counts its own events only.
const runHeader = "run"

// repeatEvery is how often an event is published twice, as a producer does that repeats a publish with an unknown outcome.
const repeatEvery = 20

// publishWeek publishes a page for each quake of the week, some of them twice.
func publishWeek(ctx context.Context, b *bus.Bus, run string) (published, repeated int, err error) {
	quakes, err := week.Quakes()
	if err != nil {
		return 0, 0, err
	}
	for i, q := range quakes {
		place := q.Place
		if place == "" {
			place = "at sea"
		}
		page := Page{QuakeID: q.ID, Magnitude: q.Magnitude, Place: place}
		id := run + "/" + q.ID
		err := QuakeReported.Publish(ctx, b, page, bus.ID(id), bus.Header(runHeader, run))
		if err == nil && i%repeatEvery == 0 {
			repeated++
			err = QuakeReported.Publish(ctx, b, page, bus.ID(id), bus.Header(runHeader, run))
		}
		if err != nil {
			return i, repeated, err
		}
	}
	return len(quakes), repeated, nil
}

// A poison is an event that cannot be handled as it is, and how a person would repair its letter.
type poison struct {
	kind   string
	body   string
	repair func(p *Page) // of what can be decoded
	mend   func(body []byte) []byte
}

var poisons = []poison{
	{kind: "cut off", body: `{"quake_id":"cut","magnitude":5.1,"place":"Tok`,
		mend: func(body []byte) []byte { return append(body, `yo"}`...) }},
	{kind: "no place", body: `{"quake_id":"nowhere","magnitude":4.4}`,
		repair: func(p *Page) { p.Place = "at sea" }},
	{kind: "unknown place", body: `{"quake_id":"atlantis","magnitude":6.2,"place":"Atlantis"}`,
		repair: func(p *Page) { p.Place = "Santorini" }},
	{kind: "impossible", body: `{"quake_id":"big","magnitude":42,"place":"Oslo"}`,
		repair: func(p *Page) { p.Magnitude /= 10 }},
}

// poisonCopies is how many of each there are.
const poisonCopies = 3

// publishPoison publishes what no program of ours would: it goes around the topic, as another language or a bug does.
func publishPoison(ctx context.Context, b *bus.Bus, run string) (n int, err error) {
	var ms []*bus.Message
	for _, p := range poisons {
		for i := range poisonCopies {
			ms = append(ms, &bus.Message{
				ID: fmt.Sprintf("%s/poison/%s/%d", run, p.kind, i), ContentType: "application/json", Body: []byte(p.body),
				Headers: transport.Headers{{Name: runHeader, Value: run}, {Name: "poison", Value: p.kind}},
			})
		}
	}
	return len(ms), b.Send(ctx, transport.Topic{Name: QuakeReported.Name()}, ms...)
}

var errUnknownPoison = errors.New("nobody knows how to repair it")

// repairOf finds what a person would do about a letter.
func repairOf(l *transport.Letter) (poison, error) {
	for _, p := range poisons {
		if l.Headers.Get("poison") == p.kind {
			return p, nil
		}
	}
	return poison{}, errUnknownPoison
}
