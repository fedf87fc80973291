// Package week is the data of the examples: a week of real earthquakes.
//
// week.json.gz is the "all earthquakes, past week" feed of the U.S. Geological Survey of 7 February 2018
// (earthquake.usgs.gov/earthquakes/feed/v1.0/summary/all_week.geojson), which is in the public domain.
package week

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"
)

// Quake is one seismic event.
type Quake struct {
	ID        string    `json:"id"`
	Network   string    `json:"network"`
	Kind      string    `json:"kind"` // earthquake, explosion, quarry blast
	Place     string    `json:"place"`
	Magnitude float64   `json:"magnitude"`
	Time      time.Time `json:"time"`
	Longitude float64   `json:"longitude"`
	Latitude  float64   `json:"latitude"`
	DepthKm   float64   `json:"depth_km"`
}

// Strong is what people want to be told of.
func (q Quake) Strong() bool { return q.Kind == "earthquake" && q.Magnitude >= 5 }

//go:embed week.json.gz
var week []byte

// feed is the part of the GeoJSON that we need.
type feed struct {
	Features []struct {
		ID         string
		Properties struct {
			Mag              float64
			Place, Net, Type string
			Time             int64 // milliseconds
		}
		Geometry struct{ Coordinates [3]float64 }
	}
}

// Quakes returns the quakes of the embedded feed.
func Quakes() ([]Quake, error) {
	z, err := gzip.NewReader(bytes.NewReader(week))
	if err != nil {
		return nil, fmt.Errorf("read the feed: %w", err)
	}
	var f feed
	if err := json.NewDecoder(z).Decode(&f); err != nil {
		return nil, fmt.Errorf("read the feed: %w", err)
	}
	quakes := make([]Quake, len(f.Features))
	for i, x := range f.Features {
		p, at := x.Properties, x.Geometry.Coordinates
		quakes[i] = Quake{
			ID: x.ID, Network: p.Net, Kind: p.Type, Place: p.Place, Magnitude: p.Mag, Time: time.UnixMilli(p.Time).UTC(),
			Longitude: at[0], Latitude: at[1], DepthKm: at[2],
		}
	}
	return quakes, nil
}
