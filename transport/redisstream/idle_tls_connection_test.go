package redisstream

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/typedbus/typedbus/internal/redistest"
)

// publishing now and then over TLS, where the server ends idle connections.
func TestIdleConnection(t *testing.T) {
	was := tlsIdle
	tlsIdle = 500 * time.Millisecond
	defer func() { tlsIdle = was }()
	for name, s := range map[string]*redistest.Server{
		"tcp": redistest.Start(t, "--timeout", "1"), "tls": redistest.StartTLS(t, "--timeout", "1")} {
		t.Run(name, func(t *testing.T) {
			c := redis.NewClient(&redis.Options{Addr: s.Addr, TLSConfig: s.TLS})
			tr := New(c, Options{})
			defer c.Close()
			defer tr.Close()
			for range 3 {
				assert.NoError(t, tr.Publish(bounded(t), orders, text2msg("x")))
				<-time.After(3 * time.Second) // the server ends what was idle for one
			}
		})
	}
}
