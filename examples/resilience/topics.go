package main

import (
	"errors"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
)

// QuakeReported is what somebody has to be paged for.
var QuakeReported = bus.NewTopic("quake.reported", codec.JSON[Page]())

// Page tells somebody of an earthquake.
type Page struct {
	QuakeID   string  `json:"quake_id"`
	Magnitude float64 `json:"magnitude"`
	Place     string  `json:"place"`
}

// Validate is found by middleware.Validate.
func (p Page) Validate() error {
	if p.Place == "" {
		return errors.New("no place: whom should we page?")
	}
	return nil
}

// severities by magnitude. The poison has one of 42, for which there is none: the handler panics.
var severities = [...]string{"none", "none", "low", "low", "low", "high", "high", "severe", "severe", "severe", "severe"}
