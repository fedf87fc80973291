package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/internal/redistest"
	"github.com/typedbus/typedbus/middleware"
	"github.com/typedbus/typedbus/transport"
	"github.com/typedbus/typedbus/transport/redisstream"
)

// A vault has the password of user shop, as a program knows it, which may be late.
type vault struct {
	mu       sync.Mutex
	password string
	asked    int
	told     map[auth.CredentialsListener]struct{}
}

func (v *vault) credentials(context.Context) (string, string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	return "shop", v.password, nil
}

// Subscribe has it tell of each new password.
func (v *vault) Subscribe(l auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	if v.told == nil {
		v.told = map[auth.CredentialsListener]struct{}{}
	}
	v.told[l] = struct{}{}
	return auth.NewBasicCredentials("shop", v.password), func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.told, l)
		return nil
	}, nil
}

func (v *vault) learn(password string) {
	v.mu.Lock()
	v.password = password
	told := make([]auth.CredentialsListener, 0, len(v.told))
	for l := range v.told {
		told = append(told, l)
	}
	v.mu.Unlock()
	for _, l := range told {
		l.OnNext(auth.NewBasicCredentials("shop", password))
	}
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

// setPassword makes pw the only password of user shop, and ends the connections that were made with another.
func setPassword(t *testing.T, admin *redis.Client, pw string) {
	t.Helper()
	require.NoError(t, admin.ACLSetUser(t.Context(), "shop", "on", "resetpass", ">"+pw, "allkeys", "allcommands").Err())
	require.NoError(t, admin.ClientKillByFilter(t.Context(), "USER", "shop").Err())
}

// loggedLines counts what a bus logs.
type loggedLines struct {
	mu  sync.Mutex
	all []string
}

func (l *loggedLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(p))
	return len(p), nil
}

func (l *loggedLines) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// repeated are the lines with text that were logged more than once.
func (l *loggedLines) repeated(text string) (again []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{}
	for _, line := range l.all {
		if _, said, _ := strings.Cut(line, "level="); strings.Contains(said, text) {
			said, _, _ = strings.Cut(said, " for=")
			if seen[said] {
				again = append(again, line)
			}
			seen[said] = true
		}
	}
	return again
}

const refuses = "Redis refuses the user name or the password, or the user is off"

// TestRotatedPassword rotates the password of publishers and consumers at work, twice: once the program knows the new one before
// the old connections end, once only two seconds later.
func TestRotatedPassword(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, s *redistest.Server, v *vault) *redisstream.Transport{
		"Options.Credentials": func(t *testing.T, s *redistest.Server, v *vault) *redisstream.Transport {
			tr, err := redisstream.Open(soon(t), s.URL, redisstream.Options{Credentials: v.credentials})
			require.NoError(t, err)
			return tr
		},
		"CredentialsProvider": func(t *testing.T, s *redistest.Server, v *vault) *redisstream.Transport {
			return onClient(t, &redis.Options{Addr: s.Addr, CredentialsProvider: func() (string, string) {
				user, password, _ := v.credentials(context.Background())
				return user, password
			}})
		},
		"StreamingCredentialsProvider": func(t *testing.T, s *redistest.Server, v *vault) *redisstream.Transport {
			return onClient(t, &redis.Options{Addr: s.Addr, StreamingCredentialsProvider: v})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, "--requirepass", "admin") // nobody gets in without
			admin := redis.NewClient(&redis.Options{Addr: s.Addr, Password: "admin"})
			t.Cleanup(func() { admin.Close() })
			setPassword(t, admin, "first")
			v := &vault{password: "first"}
			w := work(t, open(t, s, v))

			w.awaitMore(t, 50)
			v.learn("second")
			setPassword(t, admin, "second")
			w.awaitMore(t, 50)
			assert.Zero(t, w.log.with(refuses), "the program knew it in time")

			asked, tried := v.count(), w.tried.Load()
			setPassword(t, admin, "third-"+hunter)
			w.awaitRefusal(t)
			<-time.After(2 * time.Second) // the program is late
			assert.Less(t, int64(v.count()-asked), w.tried.Load()-tried+400, "no storm: one try to log in for a publish, and some for the rest")
			v.learn("third-" + hunter)
			w.awaitMore(t, 50)
			w.finish(t)
			assert.Empty(t, w.log.repeated(refuses), "each warning at most once a minute")
			assert.Zero(t, w.log.with(hunter))
		})
	}
}

func onClient(t *testing.T, o *redis.Options) *redisstream.Transport {
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return redisstream.New(c, redisstream.Options{})
}

// A workload is publishers and a consumer of one bus, and what became of what they published.
type workload struct {
	tr     *redisstream.Transport
	log    loggedLines
	handle sync.Map // number -> true
	sent   sync.Map // number -> true, if it was confirmed

	tried, published, refused atomic.Int64

	stop            context.CancelFunc
	publishers, bus sync.WaitGroup
}

// publishers is how many there are.
const publishers = 6

func work(t *testing.T, tr *redisstream.Transport) *workload {
	w := &workload{tr: tr}
	b := bus.New(tr, bus.Logger(slog.New(slog.NewTextHandler(&w.log, nil))))
	OrderPlaced.Subscribe(b, "billing", func(_ context.Context, e *bus.Event[Order]) error {
		w.handle.Store(e.Payload.Cents, true)
		return nil
	}, middleware.Standard(middleware.StandardOptions{
		Claims: tr, Idempotent: middleware.IdempotentOptions{Expiry: time.Second}, // a claim whose answer was lost with the connection is waited for
	}), bus.Lease(3*time.Second), bus.Redeliver(bus.Backoff{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}))
	running, stopBus := context.WithCancel(t.Context())
	w.bus.Go(func() { assert.NoError(t, b.Run(running)) })
	publishing, stop := context.WithCancel(t.Context())
	for i := range publishers {
		w.publishers.Go(func() { w.publish(publishing, b, i) })
	}
	w.stop = sync.OnceFunc(func() {
		stop()
		w.publishers.Wait()
		assert.NoError(t, w.awaitHandled())
		stopBus()
		w.bus.Wait()
		assert.NoError(t, tr.Close())
	})
	t.Cleanup(w.stop)
	return w
}

// publish publishes until ctx ends, and pauses after each, as a program does that is refused.
func (w *workload) publish(ctx context.Context, b *bus.Bus, i int) {
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for n := i; ctx.Err() == nil; n += publishers {
		var opts []bus.PublishOption
		if n%5 == 0 {
			opts = append(opts, bus.Delay(time.Millisecond))
		}
		w.tried.Add(1)
		switch err := OrderPlaced.Publish(ctx, b, Order{Cents: n}, opts...); {
		case err == nil:
			w.sent.Store(n, true)
			w.published.Add(1)
		case strings.Contains(err.Error(), refuses):
			w.refused.Add(1)
		}
		<-pause.C
	}
}

func (w *workload) awaitMore(t *testing.T, n int64) {
	t.Helper()
	target := w.published.Load() + n
	require.NoError(t, redistest.Eventually(20*time.Second, func(context.Context) error {
		if got := w.published.Load(); got < target {
			return fmt.Errorf("%d published", got)
		}
		return w.missing(n / 2)
	}))
}

// awaitRefusal waits until a publisher and the consumer are told that the password is wrong.
func (w *workload) awaitRefusal(t *testing.T) {
	t.Helper()
	require.NoError(t, redistest.Eventually(20*time.Second, func(context.Context) error {
		if w.refused.Load() == 0 || w.log.with(refuses) == 0 {
			return errors.New("nobody was refused")
		}
		return nil
	}))
}

// missing is an error if more than so many confirmed events are not handled.
func (w *workload) missing(atMost int64) error {
	var n int64
	w.sent.Range(func(k, _ any) bool {
		if _, ok := w.handle.Load(k); !ok {
			n++
		}
		return true
	})
	if n > atMost {
		return fmt.Errorf("%d confirmed events are not handled", n)
	}
	return nil
}

// awaitHandled waits until all that is confirmed is handled. Its error says where the rest is.
func (w *workload) awaitHandled() error {
	err := redistest.Eventually(20*time.Second, func(context.Context) error { return w.missing(0) })
	if err == nil {
		return nil
	}
	lag, lost := w.tr.Lag(context.Background(), transport.Topic{Name: "orders.placed"}, "billing")
	return fmt.Errorf("%w: %+v %v", err, lag, lost)
}

func (w *workload) finish(t *testing.T) {
	t.Helper()
	w.stop()
	require.NoError(t, w.missing(0))
}

// TestCredentialsThatAreWrong says of each what to do, at Open and at the first use, without a password.
func TestCredentialsThatAreWrong(t *testing.T) {
	s := redistest.Start(t)
	admin := s.Client()
	require.NoError(t, admin.ACLSetUser(t.Context(), "off", "off", ">"+hunter, "allkeys", "allcommands").Err())
	require.NoError(t, admin.ACLSetUser(t.Context(), "shop", "on", ">right", "allkeys", "allcommands").Err())
	require.NoError(t, admin.ACLSetUser(t.Context(), "default", "off").Err())
	for name, c := range map[string]struct{ user, password, says string }{
		"wrong password": {"shop", hunter, refuses + ": correct them"},
		"user is off":    {"off", hunter, refuses + ": correct them.*ACL GETUSER"},
		"no such user":   {"nobody", hunter, refuses + ": correct them"},
		"none":           {"", "", "Redis wants a password: give one"},
	} {
		t.Run(name, func(t *testing.T) {
			says := func(err error) {
				t.Helper()
				require.Error(t, err)
				assert.Regexp(t, c.says, err.Error())
				for e := err; e != nil; e = errors.Unwrap(e) {
					assert.NotContains(t, fmt.Sprintf("%+v", e), hunter)
				}
			}
			ask := func(context.Context) (string, string, error) { return c.user, c.password, nil }
			_, err := redisstream.Open(soon(t), s.URL, redisstream.Options{Credentials: ask})
			says(err)
			if c.password != "" {
				_, err = redisstream.Open(soon(t), "redis://"+c.user+":"+c.password+"@"+s.Addr, redisstream.Options{})
				says(err)
			}
			tr := onClient(t, &redis.Options{Addr: s.Addr, Username: c.user, Password: c.password})
			defer tr.Close()
			says(tr.Publish(soon(t), transport.Topic{Name: "orders.placed"}, []*transport.Message{{ID: "1", Body: []byte(hunter)}}))
			_, err = tr.Subscribe(soon(t), transport.Topic{Name: "orders.placed"}, transport.Group{Name: "billing"})
			says(err)
		})
	}
}

func TestCredentialsThatCannotBeHad(t *testing.T) {
	s := redistest.Start(t)
	sealed := errors.New("the vault is sealed\nlevel=ERROR")
	_, err := redisstream.Open(soon(t), s.URL, redisstream.Options{Credentials: func(context.Context) (string, string, error) { return "", hunter, sealed }})
	require.EqualError(t, err, "redisstream: connect: Options.Credentials gives no password: the vault is sealed?level=ERROR")
	require.ErrorIs(t, err, sealed)
}

func TestClusterAsksForCredentials(t *testing.T) {
	c := redistest.StartCluster(t, 3, 0)
	for _, n := range c.Nodes {
		require.NoError(t, n.Client().ACLSetUser(t.Context(), "shop", "on", ">right", "allkeys", "allcommands").Err())
		require.NoError(t, n.Client().ACLSetUser(t.Context(), "default", "off").Err())
	}
	v := &vault{password: "right"}
	tr, err := redisstream.Open(soon(t), c.URL, redisstream.Options{Credentials: v.credentials})
	require.NoError(t, err)
	defer tr.Close()
	useAll(t, tr)
}
