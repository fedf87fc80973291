package bustest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
)

var greetings = bus.NewTopic("greetings", codec.JSON[string]())

// A Recorder stands for the bus where a test wants to see what is published.
func ExampleRecorder() {
	var r bustest.Recorder
	_ = greetings.Publish(context.Background(), &r, "hello", bus.Header("lang", "en"))
	for _, m := range r.Sent() {
		text, _ := greetings.Decode(m.Message)
		fmt.Println(m.Topic, text, m.Headers.Get("lang"))
	}
	// Output: greetings hello en
}

// fakeT stands for the t of a test function.
type fakeT struct{ testing.TB }

func (fakeT) Helper()                  {}
func (fakeT) Context() context.Context { return context.Background() }

// A handler is tested by calling it. In a real test t is the test's own.
func ExampleNewEvent() {
	var t fakeT

	polite := func(ctx context.Context, e *bus.Event[string]) error {
		return greetings.Publish(ctx, e, e.Payload+", please")
	}
	var r bustest.Recorder
	err := polite(context.Background(), bustest.NewEvent(t, &r, greetings, "coffee"))
	fmt.Println(bustest.Published(t, &r, greetings), err)
	// Output: [coffee, please] <nil>
}
