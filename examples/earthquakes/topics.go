package main

import (
	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/examples/internal/week"
)

// The topics are declared once and shared by all who publish or subscribe.
var (
	QuakeDetected = bus.NewTopic("quake.detected", codec.JSON[week.Quake]()).KeyedBy(func(q week.Quake) string { return q.Network })
	QuakeAlert    = bus.NewTopic("quake.alert", codec.JSON[Alert]())
)

// Alert tells people of a strong earthquake.
type Alert struct {
	QuakeID   string  `json:"quake_id"`
	Magnitude float64 `json:"magnitude"`
	Place     string  `json:"place"`
}
