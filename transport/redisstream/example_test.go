package redisstream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/transport/redisstream"
)

type Order struct {
	ID    string `json:"id"`
	Cents int    `json:"cents"`
}

var OrderPlaced = bus.NewTopic("orders.placed", codec.JSON[Order]())

// exampleRedis starts a server for an example, which a program would have already.
func exampleRedis() (url string, stop func()) {
	t := &exampleT{}
	return redistest.Start(t).URL, func() {
		for _, f := range slices.Backward(t.cleanups) {
			f()
		}
	}
}

// exampleT is as much of a test as the server needs.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper()                          {}
func (t *exampleT) Cleanup(f func())               { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatal(args ...any)              { panic(fmt.Sprint(args...)) }
func (t *exampleT) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
func (t *exampleT) TempDir() string {
	dir, err := os.MkdirTemp("", "typedbus-example-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func ExampleOpen() {
	url, stopRedis := exampleRedis() // "redis://localhost:6379"
	defer stopRedis()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	tr, err := redisstream.Open(ctx, url, redisstream.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tr.Close()
	b := bus.New(tr)
	OrderPlaced.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
		fmt.Println("charging", e.Payload.Cents)
		stop()
		return nil
	})
	if err := OrderPlaced.Publish(ctx, b, Order{ID: "42", Cents: 995}); err != nil {
		fmt.Println(err)
	}
	if err := b.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: charging 995
}

// A server that wants a certificate of its clients, and a password that is rotated: both are asked for whenever a connection is
// made, so that neither needs a restart.
func ExampleOpen_access() {
	opts := redisstream.Options{
		TLS: &tls.Config{
			RootCAs: x509.NewCertPool(), // the authority of the server
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				c, err := tls.LoadX509KeyPair("client.crt", "client.key")
				return &c, err
			},
		},
		Credentials: func(context.Context) (user, password string, err error) {
			secret, err := os.ReadFile("/run/secrets/redis") // as Kubernetes and Docker write it
			return "billing", strings.TrimSpace(string(secret)), err
		},
	}
	_, err := redisstream.Open(context.Background(), "redis://redis.example:6379", opts)
	fmt.Println(err)
	// Output: redisstream: bad URL: Options.TLS is set, and it asks for no TLS: begin it with rediss
}

// Errors say what to do, and never show a password.
func ExampleOpen_mistake() {
	_, err := redisstream.Open(context.Background(), "localhost:6379", redisstream.Options{})
	fmt.Println(err)
	// Output: redisstream: bad URL: begin it with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://
}

// A client that the program has already can be shared. Closing the transport does not close it.
func ExampleNew() {
	url, stopRedis := exampleRedis()
	defer stopRedis()
	opts, _ := redis.ParseURL(url)
	client := redis.NewClient(opts)
	defer client.Close()

	tr := redisstream.New(client, redisstream.Options{Prefix: "shop:"})
	defer tr.Close()
	ctx := context.Background()
	if err := OrderPlaced.Publish(ctx, bus.New(tr), Order{ID: "42", Cents: 995}); err != nil {
		fmt.Println(err)
	}
	entries, _ := client.XRange(ctx, "shop:orders.placed", "-", "+").Result()
	fmt.Println(entries[0].Values["ct"], entries[0].Values["data"])
	// Output: application/json {"id":"42","cents":995}
}

// A stream that another program feeds has other field names, and no ids.
func ExampleMapping() {
	url, stopRedis := exampleRedis()
	defer stopRedis()
	opts, _ := redis.ParseURL(url)
	client := redis.NewClient(opts)
	defer client.Close()
	ctx, stop := context.WithCancel(context.Background())
	client.XAdd(ctx, &redis.XAddArgs{Stream: "orders.placed", Values: []string{
		"event_type", "order_placed", "payload", `{"id":"42","cents":995}`,
	}})

	tr := redisstream.New(client, redisstream.Options{Mappings: map[string]redisstream.Mapping{
		"orders.placed": {Data: "payload", DefaultContentType: "application/json"},
	}})
	defer tr.Close()
	b := bus.New(tr)
	OrderPlaced.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[Order]) error {
		fmt.Println(e.Headers.Get("event_type"), e.Payload.Cents)
		stop()
		return nil
	})
	if err := b.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: order_placed 995
}
