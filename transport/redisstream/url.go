package redisstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Settings of the clients that Open makes, where the URL does not give them.
const (
	dialTimeout     = 3 * time.Second
	dialTries       = 2
	commandTimeout  = 3 * time.Second
	connLifetime    = 30 * time.Minute // so that rotated passwords and moved addresses are noticed
	connJitter      = 5 * time.Minute
	connIdleTimeout = 5 * time.Minute
	protocol        = 2 // in RESP3 go-redis looks for pushed messages before each reply of a pipeline; nothing here is pushed
)

// newClient makes the client that a URL describes. No error of it repeats any part of the URL: those of go-redis and net/url
// show the password, and a misplaced character makes a piece of the password a host or a path.
func newClient(raw string, opts *Options) (redis.UniversalClient, error) {
	u, err := url.Parse(raw)
	switch {
	case !strings.Contains(raw, "://"):
		return nil, badURL(schemes)
	case err != nil:
		return nil, badURL("it cannot be parsed: percent-encode special characters of the password, such as @ as %40, / as %2F and % as %25")
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return nil, badURL("it has a #: percent-encode that of the password as %23")
	}
	scheme, kind, _ := strings.Cut(u.Scheme, "+")
	u.Scheme = scheme
	plain := scheme == "redis" || scheme == "rediss"
	switch {
	case kind == "" && (plain || scheme == "unix"):
		o, err := redis.ParseURL(u.String())
		if err != nil {
			return nil, badURL(why(u, err))
		}
		if err := opts.give(u, &o.TLSConfig, &o.CredentialsProviderContext, o.Username+o.Password); err != nil {
			return nil, err
		}
		return redis.NewClient(tuned(o)), nil
	case kind == "sentinel" && plain:
		o, err := redis.ParseFailoverURL(u.String())
		switch {
		case u.Query().Get("master_name") == "":
			return nil, badURL("it names no master: add ?master_name=mymaster")
		case err != nil:
			return nil, badURL(why(u, err))
		case o.RouteByLatency || o.RouteRandomly || o.ReplicaOnly:
			return nil, badURL("it sends reads to replicas, which lag behind: leave route_by_latency, route_randomly and replica_only out")
		}
		if err := opts.give(u, &o.TLSConfig, &o.CredentialsProviderContext, o.Username+o.Password); err != nil {
			return nil, err
		}
		return redis.NewFailoverClient(tunedFailover(o)), nil
	case kind == "cluster" && plain:
		o, err := redis.ParseClusterURL(u.String())
		if err != nil {
			return nil, badURL(why(u, err))
		}
		if err := opts.give(u, &o.TLSConfig, &o.CredentialsProviderContext, o.Username+o.Password); err != nil {
			return nil, err
		}
		return redis.NewClusterClient(tunedCluster(o)), nil
	}
	return nil, badURL(schemes)
}

const schemes = "begin it with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://"

func badURL(why string) error { return errors.New("redisstream: bad URL: " + why) }

// why says what go-redis found, without its words.
func why(u *url.URL, err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "database number"), strings.Contains(text, "URL path"):
		return "after the host comes the number of a database, as in redis://localhost:6379/0, or nothing"
	case strings.Contains(text, "empty unix socket path"):
		return "it has no path: unix:///path/to/redis.sock"
	case strings.Contains(text, "addr param"):
		return "an addr parameter is no host:port"
	case strings.Contains(text, "unexpected option"):
		if strings.Contains(u.RawQuery+u.Path, "@") {
			return "it has a ? or & before the @: percent-encode those of the password as %3F and %26"
		}
		return "it has a parameter that is not known: the documentation of go-redis' ParseURL lists those that are"
	}
	return "one of its parameters has a value of the wrong kind"
}

// provider is how go-redis asks for credentials.
type provider = func(context.Context) (user, password string, err error)

// give has a client use the TLS and the Credentials of Options. Where they contradict the URL it refuses: a connection that is not
// encrypted, or a password that is not used, would be found too late.
func (o *Options) give(u *url.URL, config **tls.Config, ask *provider, userinfo string) error {
	switch {
	case o.TLS != nil && *config == nil:
		return badURL("Options.TLS is set, and it asks for no TLS: begin it with rediss")
	case o.TLS != nil && u.Query().Has("skip_verify"):
		return badURL("it has skip_verify beside Options.TLS: set InsecureSkipVerify there")
	case o.Credentials != nil && userinfo != "":
		return badURL("it has a user or a password beside Options.Credentials: leave them out")
	}
	if o.TLS != nil {
		*config = o.TLS.Clone()
		(*config).MinVersion = cmp.Or(o.TLS.MinVersion, tls.VersionTLS12)
	}
	if o.Credentials != nil {
		*ask = asking(o.Credentials)
	}
	return nil
}

// asking marks the errors of a provider, which go-redis passes on.
func asking(f provider) provider {
	return func(ctx context.Context) (string, string, error) {
		user, password, err := f(ctx)
		if err != nil {
			return "", "", &credentialsError{err}
		}
		return user, password, nil
	}
}

// A credentialsError is why Options.Credentials gave none.
type credentialsError struct{ cause error }

func (e *credentialsError) Error() string {
	return "Options.Credentials gives no password: " + printable(e.cause.Error(), 200)
}

func (e *credentialsError) Unwrap() error { return e.cause }

func tuned(o *redis.Options) *redis.Options {
	o.Protocol = cmp.Or(o.Protocol, protocol)
	o.DialTimeout, o.DialerRetries = cmp.Or(o.DialTimeout, dialTimeout), dialTries
	o.ReadTimeout, o.WriteTimeout = cmp.Or(o.ReadTimeout, commandTimeout), cmp.Or(o.WriteTimeout, commandTimeout)
	o.ContextTimeoutEnabled = true
	o.ConnMaxLifetime, o.ConnMaxIdleTime = cmp.Or(o.ConnMaxLifetime, connLifetime), cmp.Or(o.ConnMaxIdleTime, connIdleTimeout)
	o.ConnMaxLifetimeJitter = cmp.Or(o.ConnMaxLifetimeJitter, connJitter)
	o.MaintNotificationsConfig = noMaintNotifications()
	return o
}

func tunedFailover(o *redis.FailoverOptions) *redis.FailoverOptions {
	o.Protocol = cmp.Or(o.Protocol, protocol)
	o.DialTimeout, o.DialerRetries = cmp.Or(o.DialTimeout, dialTimeout), dialTries
	o.ReadTimeout, o.WriteTimeout = cmp.Or(o.ReadTimeout, commandTimeout), cmp.Or(o.WriteTimeout, commandTimeout)
	o.ContextTimeoutEnabled = true
	o.ConnMaxLifetime, o.ConnMaxIdleTime = cmp.Or(o.ConnMaxLifetime, connLifetime), cmp.Or(o.ConnMaxIdleTime, connIdleTimeout)
	o.ConnMaxLifetimeJitter = cmp.Or(o.ConnMaxLifetimeJitter, connJitter)
	return o
}

func tunedCluster(o *redis.ClusterOptions) *redis.ClusterOptions {
	o.MaxRedirects = cmp.Or(o.MaxRedirects, 5)
	o.Protocol = cmp.Or(o.Protocol, protocol)
	o.DialTimeout, o.DialerRetries = cmp.Or(o.DialTimeout, dialTimeout), dialTries
	o.ReadTimeout, o.WriteTimeout = cmp.Or(o.ReadTimeout, commandTimeout), cmp.Or(o.WriteTimeout, commandTimeout)
	o.ContextTimeoutEnabled = true
	o.ConnMaxLifetime, o.ConnMaxIdleTime = cmp.Or(o.ConnMaxLifetime, connLifetime), cmp.Or(o.ConnMaxIdleTime, connIdleTimeout)
	o.ConnMaxLifetimeJitter = cmp.Or(o.ConnMaxLifetimeJitter, connJitter)
	o.MaintNotificationsConfig = noMaintNotifications()
	return o
}
