package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/bus/bustest"
	"github.com/typedbus/typedbus/codec"
	"github.com/typedbus/typedbus/dlq"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/middleware/compress"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// canary begins what no log, no error and nothing that a dead letter says of itself may show. What follows tells where it was planted.
const (
	canary     = "canary-"
	inPassword = canary + "in-password"
	inBody     = canary + "in-body"
	inHeader   = canary + "in-header"
	inKey      = canary + "in-key"
	inOptions  = canary + "in-options"
)

// own is in the texts of the program's errors and panics, which are its own affair: logs and letters show them.
const own = "own-words"

// goRedisLog is what go-redis logs by itself, in all tests of this package.
var goRedisLog goRedisLogger

func init() { redis.SetLogger(&goRedisLog) }

type goRedisLogger struct{ logLines }

func (l *goRedisLogger) Printf(_ context.Context, format string, v ...any) {
	fmt.Fprintf(l, format+"\n", v...)
	fmt.Fprintf(os.Stderr, "redis: "+format+"\n", v...)
}

// A sealed value quotes itself when it cannot be read or written, as many types do.
type sealed string

func (s sealed) MarshalJSON() ([]byte, error) {
	if strings.HasPrefix(string(s), "!") {
		return nil, fmt.Errorf("cannot write %s", string(s))
	}
	return json.Marshal(string(s))
}

func (s *sealed) UnmarshalJSON(b []byte) error {
	if bytes.Contains(b, []byte("?")) {
		return fmt.Errorf("cannot read %s", b)
	}
	return json.Unmarshal(b, (*string)(s))
}

type secretive struct {
	What   string
	N      int
	Sealed sealed
}

// notes have secrets in them wherever there is room for one.
var notes = bus.NewTopic("notes.taken", codec.JSON[secretive](), bus.MaxBytes(64<<10)).KeyedBy(func(secretive) string { return inKey })

func secret(what string) secretive { return secretive{What: what, Sealed: inBody} }

// suspects are the texts that might show a canary, by where they are from.
type suspects map[string][]string

// err takes an error, and all that it wraps.
func (s suspects) err(t *testing.T, what string, err error) {
	t.Helper()
	if !assert.Error(t, err, what) {
		return
	}
	s[what] = append(s[what], err.Error(), fmt.Sprintf("%+v", err))
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			s.err(t, what, inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			s.err(t, what, inner)
		}
	}
}

func (s suspects) check(t *testing.T) {
	t.Helper()
	for from, texts := range s {
		for _, text := range texts {
			if at := strings.Index(text, canary); at >= 0 {
				t.Errorf("%s shows a secret: %s", from, text[max(0, at-300):min(len(text), at+60)])
			}
		}
	}
}

// TestNoSecretShows runs a bus with everything on through failures of every kind.
func TestNoSecretShows(t *testing.T) {
	for name, encrypted := range map[string]bool{"plain": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, "--requirepass", inPassword)
			tr, err := redisstream.Open(t.Context(), "redis://:"+inPassword+"@"+s.Addr, redisstream.Options{})
			require.NoError(t, err)
			defer tr.Close()
			admin := redis.NewClient(&redis.Options{Addr: s.Addr, Password: inPassword})
			defer admin.Close()
			log, found := &logLines{}, suspects{}
			b := openSecretive(t, tr, log, encrypted)
			stop := bustest.Start(t, b)
			dead := publishSecrets(t, b) + addSecrets(t, admin)
			awaitDead(t, tr, b, dead)

			found["Explain"] = []string{b.Explain()}
			refusedPublishes(t, found, b, tr, admin)
			deniedUser(t, found, s, admin)
			badOpens(t, found, s)
			aboutLetters(t, found, tr, dead)
			s.Kill()
			found.err(t, "publish while the server is down", notes.Publish(t.Context(), b, secret("")))
			_, err = tr.Lag(t.Context(), transport.Topic{Name: notes.Name()}, "billing")
			found.err(t, "lag while the server is down", err)
			eventually(t, "the bus to log that the server is down", func() error {
				if !strings.Contains(log.String(), "cannot receive, trying again") {
					return errors.New("nothing")
				}
				return nil
			})
			s.Restart()
			stop()
			found["log"], found["log of go-redis"] = []string{log.String()}, []string{goRedisLog.String()}
			found.check(t)
			require.Contains(t, log.String(), own, "the log has the program's own words")
			require.Greater(t, strings.Count(log.String(), "level=ERROR"), 5)
		})
	}
}

// openSecretive makes a bus that handles notes with all the middleware there is, and fails as each note says.
func openSecretive(t *testing.T, tr *redisstream.Transport, log *logLines, encrypted bool) *bus.Bus {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var correlation middleware.Correlation
	send, handle := []bus.SendMiddleware{correlation.Send}, []bus.Middleware{correlation.Handle}
	if encrypted {
		zstd := compress.Zstd(compress.Options{MinSize: 1})
		encryption, err := middleware.NewEncryption(middleware.EncryptionOptions{
			Keys: []middleware.EncryptionKey{{ID: "2026", Secret: []byte(inOptions + "-32-bytes-long!")}},
		})
		require.NoError(t, err)
		send, handle = append(send, zstd.Send, encryption.Send), append(handle, encryption.Handle, zstd.Handle)
	}
	b := bus.New(tr, bus.Logger(logger), bus.UseSend(send...), middleware.Standard(middleware.StandardOptions{
		Log: logger, Route: dlq.RouteOptions{MaxAttempts: 2}, Claims: tr, Idempotent: middleware.IdempotentOptions{Logger: logger},
		Breaker: middleware.NewBreaker(middleware.BreakerOptions{Failures: 10, Open: time.Millisecond, Patience: time.Millisecond}), Retry: middleware.RetryOptions{Tries: 2, Min: time.Millisecond},
		Timeout: 200 * time.Millisecond,
	}), bus.Use(handle...))
	var seen sync.Map
	notes.Subscribe(b, "billing", func(ctx context.Context, e *bus.Event[secretive]) error {
		return failAsTold(ctx, e, func() bool {
			_, again := seen.LoadOrStore(e.ID, true)
			return !again
		})
	}, bus.Redeliver(bus.Backoff{Min: time.Millisecond, Max: time.Millisecond}), bus.Lease(2*time.Second))
	return b
}

// ends are what becomes of notes, by what they say; true: they end in the dead letters.
var ends = map[string]bool{
	"succeed": false, "fail": true, "panic": true, "panic of the runtime": true, "permanent": true, "dead letter": true,
	"snooze": false, "pause": false, "time out": true, "publish what is too large": true, "publish what has no encoding": true, "panic with an error": true,
}

// failAsTold does what the note says. first is true once for each.
func failAsTold(ctx context.Context, e *bus.Event[secretive], first func() bool) error {
	switch e.Payload.What {
	case "fail":
		return errors.New(own)
	case "panic":
		panic(own)
	case "panic of the runtime":
		return map[string]error{}[e.Headers.Get("token")[len(e.Payload.Sealed)+100:]]
	case "permanent":
		return bus.Permanent(errors.New(own))
	case "dead letter":
		return bus.DeadLetter("refused", errors.New(own))
	case "snooze":
		if first() {
			return bus.Snooze(time.Millisecond, errors.New(own))
		}
	case "pause":
		if first() {
			return bus.Pause(time.Millisecond, errors.New(own))
		}
	case "time out":
		<-ctx.Done()
		return ctx.Err()
	case "publish what is too large":
		return notes.Publish(ctx, e, secret(strings.Repeat(inBody, 64<<10)))
	case "publish what has no encoding":
		return notes.Publish(ctx, e, secretive{Sealed: "!" + inBody})
	case "panic with an error":
		panic(errors.New(own))
	}
	return nil
}

// publishSecrets publishes one of each, and says how many end in the dead letters.
func publishSecrets(t *testing.T, b *bus.Bus) (dead int) {
	t.Helper()
	for what, dies := range ends {
		require.NoError(t, notes.Publish(t.Context(), b, secret(what), bus.Header("token", inHeader)))
		if dies {
			dead++
		}
	}
	return dead
}

// addSecrets adds entries that cannot be read, and says how many.
func addSecrets(t *testing.T, admin *redis.Client) int {
	t.Helper()
	entries := [][]string{
		{"id", "1", "ct", "application/json", "data", inBody},
		{"id", "2", "ct", "application/json", "data", `{"N":"` + inBody + `"}`},
		{"id", "3", "ct", "application/json", "data", `{"Sealed":"?` + inBody + `"}`},
		{"id", "4", "ct", "application/json", "data", `{"` + inBody + `":`},
		{"id", "5", "ct", "application/json", "data", strings.Repeat(inBody, 64<<10)},
		{"id", "6", "h.token", inHeader, "key", inKey},
		{inBody, inBody},
		{"id", "7", "ct", "application/json", "data", inBody, "data", inBody},
		{"id", "8", "ct", "application/json", "data", inBody, "h.typedbus-encrypted", inHeader, "h.content-encoding", inHeader, "h.expires-at", inHeader},
		{"id", "9", "ct", "application/json", "data", inBody, "h.traceparent", inHeader, "attempt", inBody},
	}
	for _, e := range entries {
		require.NoError(t, admin.XAdd(t.Context(), &redis.XAddArgs{Stream: notes.Name(), Values: e}).Err())
	}
	return len(entries)
}

// awaitDead waits until all is settled and so many are dead.
func awaitDead(t *testing.T, tr *redisstream.Transport, b *bus.Bus, dead int) {
	t.Helper()
	bustest.Settle(t, b)
	eventually(t, "the dead letters", func() error {
		lag, err := tr.Lag(t.Context(), transport.Topic{Name: notes.Name()}, "billing")
		if err == nil && (lag.Dead != int64(dead) || lag.Pending+lag.Waiting+lag.Undelivered != 0) {
			err = fmt.Errorf("%+v, want %d dead", lag, dead)
		}
		return err
	})
}

// refusedPublishes are those that the library, and the server, refuse.
func refusedPublishes(t *testing.T, found suspects, b *bus.Bus, tr *redisstream.Transport, admin *redis.Client) {
	t.Helper()
	ctx := t.Context()
	found.err(t, "too large", notes.Publish(ctx, b, secret(strings.Repeat(inBody, 64<<10))))
	found.err(t, "no encoding", notes.Publish(ctx, b, secretive{Sealed: "!" + inBody}))
	found.err(t, "bad header", notes.Publish(ctx, b, secret(""), bus.Header("bad name", inHeader)))
	_, err := notes.Decode(&bus.Message{ContentType: "application/json", Body: []byte(`{"Sealed":"?` + inBody + `"}`)})
	found.err(t, "decode", err)

	require.NoError(t, admin.Set(ctx, "not.a.stream", inBody, 0).Err())
	other := bus.NewTopic("not.a.stream", codec.JSON[secretive]())
	found.err(t, "wrong type", other.Publish(ctx, b, secret(""), bus.Header("token", inHeader)))

	require.NoError(t, admin.ConfigSet(ctx, "maxmemory", "1").Err())
	err = notes.Publish(ctx, b, secret("succeed"), bus.Header("token", inHeader))
	require.ErrorIs(t, err, transport.ErrNoRoom)
	found.err(t, "full", err)
	found.err(t, "full, later", notes.Publish(ctx, b, secret("succeed"), bus.Delay(time.Hour)))
	_, err = dlq.NewQueue(tr, notes.Name(), "billing", dlq.QueueOptions{}).Import(ctx, strings.NewReader(`{"`+inBody+`"`))
	found.err(t, "bad import", err)
	require.NoError(t, admin.ConfigSet(ctx, "maxmemory", "0").Err())
}

// deniedUser may do nothing.
func deniedUser(t *testing.T, found suspects, s *redistest.Server, admin *redis.Client) {
	t.Helper()
	require.NoError(t, admin.ACLSetUser(t.Context(), "nobody", "on", ">"+inPassword).Err())
	tr, err := redisstream.Open(t.Context(), "redis://nobody:"+inPassword+"@"+s.Addr, redisstream.Options{})
	if err != nil {
		found.err(t, "open without rights", err)
		return
	}
	defer tr.Close()
	b := bus.New(tr, quiet)
	found.err(t, "publish without rights", notes.Publish(t.Context(), b, secret(""), bus.Header("token", inHeader)))
	found.err(t, "publish later without rights", notes.Publish(t.Context(), b, secret(""), bus.Delay(time.Hour)))
	_, err = tr.Subscribe(t.Context(), transport.Topic{Name: notes.Name()}, transport.Group{Name: "billing"})
	found.err(t, "subscribe without rights", err)
}

func badOpens(t *testing.T, found suspects, s *redistest.Server) {
	t.Helper()
	for what, url := range map[string]string{
		"wrong password": "redis://:" + inPassword + "-wrong@" + s.Addr,
		"bad escape":     "redis://:" + inPassword + "%zz@" + s.Addr,
		"bad port":       "redis://:" + inPassword + "@h:x",
		"no server":      "redis://:" + inPassword + "@127.0.0.1:1",
		"no TLS":         "rediss://:" + inPassword + "@" + s.Addr + "?dial_timeout=300ms",
		"no Cluster":     "redis+cluster://:" + inPassword + "@" + s.Addr,
	} {
		_, err := redisstream.Open(t.Context(), url, redisstream.Options{})
		found.err(t, what, err)
	}
}

// aboutLetters takes what letters say beside the event itself, which they keep as it was.
func aboutLetters(t *testing.T, found suspects, tr *redisstream.Transport, dead int) {
	t.Helper()
	q := dlq.NewQueue(tr, notes.Name(), "billing", dlq.QueueOptions{})
	letters, _, err := q.List(t.Context(), dlq.Filter{}, "", 100)
	require.NoError(t, err)
	require.Len(t, letters, dead)
	for _, l := range letters {
		about := *l
		about.Message = nil
		found["letter"] = append(found["letter"], fmt.Sprintf("%+v", about))
	}
	groups, err := q.Groups(t.Context(), dlq.Filter{})
	require.NoError(t, err)
	for _, g := range groups {
		found["groups of letters"] = append(found["groups of letters"], g.Reason, g.Fingerprint)
	}
}
