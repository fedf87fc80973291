// Package contest measures ways to get events from publishers to a handler, all by the same rules.
package contest

import (
	"encoding/json"
	"fmt"
	"time"
)

// An Event is what all rivals carry: about 150 bytes of JSON.
type Event struct {
	ID       string    `json:"id" msgpack:"id"`
	Customer string    `json:"customer" msgpack:"customer"`
	Cents    int64     `json:"cents" msgpack:"cents"`
	Placed   time.Time `json:"placed" msgpack:"placed"`
	Items    []string  `json:"items" msgpack:"items"`
	Express  bool      `json:"express" msgpack:"express"`
}

// NewEvent returns the i-th event.
func NewEvent(i int64) *Event {
	return &Event{
		ID:       fmt.Sprintf("order-%09d", i),
		Customer: fmt.Sprintf("customer-%05d", i%100_000),
		Cents:    i%10_000 + 1,
		Placed:   time.Unix(1_790_000_000+i/1000, i%1000*1_000_000).UTC(),
		Items:    []string{"pencil", "paper", "eraser"},
		Express:  i%2 == 0,
	}
}

// Encoded is e as JSON, for rivals that carry bytes.
func Encoded(e *Event) []byte {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // the type has nothing that JSON cannot say
	}
	return body
}

// ready are events made before anything is measured.
var ready = func() (es [1024]*Event) {
	for i := range es {
		es[i] = NewEvent(int64(i))
	}
	return es
}()

func anyEvent(i int64) *Event { return ready[i%int64(len(ready))] }
