package main

import (
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// A pagerService is what we depend on: an HTTP service on this machine that behaves as such services do. It fails 30 % of
// the calls, is slow at times, is down for a while in the middle, and refuses pages to places it does not know. Like a
// good service it takes an idempotency key, so that it can tell us what our retries would have done without one.
type pagerService struct {
	url    string
	server *http.Server

	mu    sync.Mutex
	dice  *rand.Rand
	until time.Time // down until then
	pages map[string]int
	pagerCounts
}

// pagerCounts is what the service has seen.
type pagerCounts struct {
	Calls     int `json:"calls"`
	Failed    int `json:"failed"`     // answered 503 with the dice
	WhileDown int `json:"while_down"` // came while it was down
	Slow      int `json:"slow"`       // took longer than the caller waits
	Refused   int `json:"refused"`    // answered 422
	Repeated  int `json:"repeated"`   // had been paged already, by the idempotency key
}

const (
	failureRate = 0.3
	slowRate    = 0.01
	downAfter   = 600 // calls
	downFor     = 2 * time.Second
)

// startPager serves on a free port until Close.
func startPager(seed uint64) (*pagerService, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &pagerService{url: "http://" + l.Addr().String() + "/pages", dice: rand.New(rand.NewPCG(seed, seed)), pages: make(map[string]int)}
	p.server = &http.Server{Handler: p}
	go p.server.Serve(l) // until Close
	return p, nil
}

func (p *pagerService) Close() error { return p.server.Close() }

// ServeHTTP takes one page.
func (p *pagerService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var page Page
	err := json.NewDecoder(r.Body).Decode(&page)
	status, slow := p.answer(r.Header.Get("Idempotency-Key"), page, err)
	if slow {
		select { // it has done its work, and nobody hears of it
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	}
	w.WriteHeader(status)
}

// answer decides, and does the work unless it fails.
func (p *pagerService) answer(key string, page Page, err error) (status int, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Calls++
	if p.Calls == downAfter {
		p.until = time.Now().Add(downFor)
	}
	switch {
	case time.Now().Before(p.until):
		p.WhileDown++
		return http.StatusServiceUnavailable, false
	case p.dice.Float64() < failureRate:
		p.Failed++
		return http.StatusServiceUnavailable, false
	case err != nil || page.Place == "Atlantis":
		p.Refused++
		return http.StatusUnprocessableEntity, false
	case p.pages[key] > 0:
		p.Repeated++
		return http.StatusOK, false
	}
	p.pages[key]++
	slow = p.dice.Float64() < slowRate
	if slow {
		p.Slow++
	}
	return http.StatusCreated, slow
}

// paged is how many different events led to a page.
func (p *pagerService) paged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pages)
}

func (p *pagerService) counts() pagerCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pagerCounts
}
