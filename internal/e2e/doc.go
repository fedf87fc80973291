// Package e2e tests the whole of typedbus, bus and Redis transport together, on real servers and with real processes that are
// killed. Each file shows one promise of docs/guarantees.md.
package e2e
