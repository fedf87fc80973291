package contest

import "context"

// A Rival is one way to get events from publishers to a handler.
type Rival struct {
	Name string // as in figures and charts: "watermill", "typedbus-json"
	How  string // how it is set up and whose advice that is, in a sentence or two
	Open func(ctx context.Context, s Setup) (Session, error)
}

// A Setup is what a rival is to work with.
type Setup struct {
	Redis       string // host:port of a server that has nothing else to do
	Dir         string // an empty directory for files
	Topic       string // a name nobody else uses
	Topics      int    // how many topics the events are spread over; 0 is 1
	Publishers  int    // how many goroutines will publish
	Concurrency int    // how many events may be handled at a time; 0 is the rival's default, or what its documentation recommends for speed
	Body        int    // bytes of a body, for rivals that carry bytes; 0 is an encoded Event
}

// A Session is a rival at work. Publish may be called concurrently.
type Session interface {
	// Publish returns when e is stored.
	Publish(ctx context.Context, e *Event) error
	// Consume begins to consume and returns when the consumer is ready. handle is called for each event, with what was
	// published; it may be called concurrently. A rival that carries bytes hands over the event it was made of, or an empty one.
	Consume(ctx context.Context, handle func(*Event)) error
	// Settled is how many events are acknowledged, as the broker says. It need not be cheap.
	Settled(ctx context.Context) (int64, error)
	// Close stops what was started, in order.
	Close() error
}

// A BatchPublisher is a [Session] that can store many events in one call.
type BatchPublisher interface {
	// PublishAll returns when all of es are stored.
	PublishAll(ctx context.Context, es []*Event) error
}
