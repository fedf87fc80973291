package redisstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// soon ends what should not last.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestAllConnectionsUseTheClientCertificate(t *testing.T) {
	s := redistest.StartMutualTLS(t)
	t.Run("Open", func(t *testing.T) {
		tr, err := redisstream.Open(soon(t), s.URL, redisstream.Options{TLS: s.TLS})
		require.NoError(t, err)
		defer tr.Close()
		useAll(t, tr)
	})
	t.Run("New", func(t *testing.T) {
		c := s.Client()
		require.NoError(t, c.FlushAll(t.Context()).Err())
		tr := redisstream.New(c, redisstream.Options{})
		defer tr.Close()
		useAll(t, tr)
	})
}

// useAll makes every connection that a transport can have: the client's own, those of reads, of leases, of a lone publisher
// and of durable publishing.
func useAll(t *testing.T, tr *redisstream.Transport) {
	t.Helper()
	ctx := soon(t)
	b := bus.New(tr)
	OrderPlaced.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		if e.Payload.Cents == 1 {
			return bus.DeadLetter("refused", errors.New("no"))
		}
		return nil
	}, middleware.Standard(middleware.StandardOptions{Claims: tr}), bus.Lease(time.Second))
	stop := bustest.Start(t, b)

	require.NoError(t, OrderPlaced.Publish(ctx, b, Order{Cents: 1}), "alone")
	require.NoError(t, OrderPlaced.PublishAll(ctx, b, make([]Order, 50)))
	require.NoError(t, OrderPlaced.Publish(ctx, b, Order{}, bus.Delay(10*time.Millisecond)))
	durable := transport.Topic{Name: "orders.placed", Durable: transport.Durability{Replicas: 1, Timeout: time.Millisecond}}
	var short *transport.DurabilityError
	m := &transport.Message{ID: transport.NewID(), ContentType: "application/json", Body: []byte("{}")}
	require.ErrorAs(t, tr.Publish(ctx, durable, []*transport.Message{m}), &short, "the server has no replica, and says so")
	require.NoError(t, short.Err)

	require.NoError(t, redistest.Eventually(10*time.Second, func(context.Context) error {
		st, err := b.Stats(ctx)
		if err == nil && (st.Subscriptions[0].Done != 52 || st.Subscriptions[0].Dead != 1) {
			err = errors.New("not all are handled")
		}
		return err
	}))
	stop()
	n, err := dlq.NewQueue(tr, "orders.placed", "billing", dlq.QueueOptions{Who: "ada"}).Count(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

func TestWhatIsWrongWithCertificatesIsSaidAtOnce(t *testing.T) {
	s, other := redistest.StartMutualTLS(t), redistest.NewAuthority(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	with := func(change func(c *tls.Config)) *tls.Config {
		c := s.TLS.Clone()
		change(c)
		return c
	}
	client := func(c tls.Certificate) func(*tls.Config) {
		return func(config *tls.Config) { config.Certificates = []tls.Certificate{c} }
	}
	for name, c := range map[string]struct {
		config *tls.Config
		says   string
	}{
		"no certificate":              {with(func(c *tls.Config) { c.Certificates = nil }), "the server wants a certificate of its clients: set Certificates in Options.TLS"},
		"no certificate, TLS 1.2":     {with(func(c *tls.Config) { c.Certificates, c.MaxVersion = nil, tls.VersionTLS12 }), "the server wants a certificate of its clients: set Certificates"},
		"of another authority":        {with(client(other.Client(t, tomorrow))), "the server does not trust the authority that signed the client certificate"},
		"expired":                     {with(client(s.CA.Client(t, time.Now().Add(-time.Hour)))), "the client certificate has expired: renew it"},
		"the server's is of another":  {with(func(c *tls.Config) { c.RootCAs = other.Pool() }), "the server's certificate is signed by an authority that is not trusted here: set RootCAs in Options.TLS"},
		"the server's has expired":    {with(func(c *tls.Config) { c.Time = func() time.Time { return tomorrow.Add(time.Hour) } }), "the server's certificate is not valid: x509: certificate has expired.*: renew it"},
		"the server's is for another": {with(func(c *tls.Config) { c.ServerName = "redis.example" }), "the server's certificate is for another host name: connect by a name that it has"},
		"too old a TLS":               {with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), "the server refuses to speak TLS: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := redisstream.Open(soon(t), "rediss://:"+hunter+"@"+s.Addr, redisstream.Options{TLS: c.config})
			require.Error(t, err)
			broken := "|the connection to Redis broke: .* refuses the client certificate)" // the server's word may be lost with it
			assert.Regexp(t, "^redisstream: connect: ("+c.says+broken, err.Error())
			assert.NotErrorIs(t, err, context.DeadlineExceeded)
			assert.NotContains(t, err.Error(), hunter)

			given := redis.NewClient(&redis.Options{Addr: s.Addr, TLSConfig: c.config, Password: hunter, MaxRetries: -1, DialerRetries: 1})
			defer given.Close()
			tr := redisstream.New(given, redisstream.Options{})
			defer tr.Close()
			err = tr.Publish(soon(t), transport.Topic{Name: "orders.placed"}, []*transport.Message{{ID: "1", Body: []byte(hunter)}})
			assert.Regexp(t, "not stored: redisstream: connect: ("+c.says+broken, err.Error())
			_, err = tr.Subscribe(soon(t), transport.Topic{Name: "orders.placed"}, transport.Group{Name: "billing"})
			assert.Regexp(t, "^redisstream: subscribe to orders.placed: ("+c.says+broken, err.Error())
			assert.NotContains(t, err.Error(), hunter)
		})
	}
}

// hunter is a password that no error shows.
const hunter = "hunter2"

func TestOptionsThatContradictTheURL(t *testing.T) {
	config := &tls.Config{}
	ask := func(context.Context) (string, string, error) { return "", hunter, nil }
	for url, c := range map[string]struct {
		opts redisstream.Options
		says string
	}{
		"redis://h":                                     {redisstream.Options{TLS: config}, "asks for no TLS: begin it with rediss"},
		"unix:///s":                                     {redisstream.Options{TLS: config}, "asks for no TLS"},
		"redis+cluster://h":                             {redisstream.Options{TLS: config}, "asks for no TLS"},
		"redis+sentinel://h?master_name=m":              {redisstream.Options{TLS: config}, "asks for no TLS"},
		"rediss://h?skip_verify=true":                   {redisstream.Options{TLS: config}, "set InsecureSkipVerify there"},
		"redis://:hunter2@h":                            {redisstream.Options{Credentials: ask}, "a user or a password beside Options.Credentials"},
		"redis+cluster://hunter2:p@h":                   {redisstream.Options{Credentials: ask}, "a user or a password beside Options.Credentials"},
		"redis+sentinel://h?master_name=m&username=u":   {redisstream.Options{Credentials: ask}, "a user or a password beside Options.Credentials"},
		"rediss+sentinel://h?master_name=m&password=pw": {redisstream.Options{Credentials: ask}, "a user or a password beside Options.Credentials"},
	} {
		_, err := redisstream.Open(soon(t), url, c.opts)
		require.ErrorContains(t, err, c.says, url)
		require.Regexp(t, "^redisstream: bad URL: ", err.Error())
		require.NotContains(t, err.Error(), hunter)
	}
	c := redis.NewClient(&redis.Options{})
	defer c.Close()
	for _, o := range []redisstream.Options{{TLS: config}, {Credentials: ask}} {
		tr := redisstream.New(c, o)
		_, err := tr.Subscribe(soon(t), transport.Topic{Name: "x"}, transport.Group{Name: "g"})
		require.ErrorContains(t, err, "Options.TLS and Options.Credentials are for Open: with New, give the client its own")
		require.NoError(t, tr.Close())
	}
}
