package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/typedbus/typedbus/bus"
)

// pager calls the service. What it returns is what happens to the event; it knows nothing of retries, breakers or duplicates.
type pager struct {
	url    string
	client *http.Client
}

func (p *pager) page(ctx context.Context, e *bus.Event[Page]) error {
	severity := severities[max(int(e.Payload.Magnitude), 0)]
	body, err := json.Marshal(e.Payload)
	if err != nil {
		return bus.Permanent(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return bus.Permanent(err)
	}
	req.Header.Set("Severity", severity)
	req.Header.Set("Idempotency-Key", e.ID)
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("call the pager: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("call the pager: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated:
		return nil
	case http.StatusUnprocessableEntity:
		return bus.Permanent(fmt.Errorf("the pager refuses the page: %s", resp.Status))
	}
	return fmt.Errorf("call the pager: %s", resp.Status)
}
