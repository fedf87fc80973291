package redisstream

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport"
)

// Close while the server hangs.
func TestCloseOfManyWhileTheServerHangs(t *testing.T) {
	s := redistest.Start(t)
	tr := New(s.Client(), Options{})
	watch := s.Client()
	const n = 12
	var wg sync.WaitGroup
	for i := range n {
		x, err := tr.Subscribe(bounded(t), orders, transport.Group{Name: fmt.Sprint("g", i)})
		require.NoError(t, err)
		wg.Go(func() {
			for {
				if _, err := x.Receive(t.Context(), 1); err != nil {
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return blocked(t, watch) == n }, 30*time.Second, 10*time.Millisecond, "all wait for messages")
	s.Pause()
	defer wg.Wait()
	defer s.Resume()
	began := time.Now()
	_ = tr.Close()
	t.Logf("Close of %d subscriptions took %v", n, time.Since(began))
	assert.Less(t, time.Since(began), 10*time.Second)
}

func TestCloseHonoursItsContextWithAPatientClient(t *testing.T) {
	s := redistest.Start(t)
	c := redis.NewClient(&redis.Options{Addr: s.Addr, ReadTimeout: 20 * time.Second})
	tr := New(c, Options{})
	x, err := tr.Subscribe(bounded(t), orders, transport.Group{Name: "g"})
	require.NoError(t, err)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _, _ = x.Receive(t.Context(), 1) })
	watch := s.Client()
	require.Eventually(t, func() bool { return blocked(t, watch) == 1 }, 30*time.Second, 10*time.Millisecond, "it waits for messages")
	s.Pause()
	began := time.Now()
	_ = x.Close(within(t, time.Second))
	took := time.Since(began)
	s.Resume()
	tr.Close()
	c.Close()
	t.Logf("Close with a context of 1 s took %v", took)
	assert.Less(t, took, 5*time.Second)
}

// blocked is how many clients wait for something.
func blocked(t *testing.T, c *redis.Client) (n int) {
	info, err := c.InfoMap(t.Context(), "clients").Result()
	require.NoError(t, err)
	_, err = fmt.Sscan(info["Clients"]["blocked_clients"], &n)
	require.NoError(t, err)
	return n
}
