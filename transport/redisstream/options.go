package redisstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/typedbus/typedbus/transport"
)

// Options are the settings of a [Transport]; the zero value is ready for production.
type Options struct {
	// Prefix begins every key, as "shop:"; default none. It may have up to 128 letters, digits and the characters . _ - : /
	Prefix string
	// Name begins the name of each consumer, so that XINFO CONSUMERS tells where it runs; default host name and process id.
	// Each subscription adds a random part: a name is never used twice.
	Name string
	// Mappings are the foreign formats, by topic.
	Mappings map[string]Mapping
	// Warn is called with what an operator should know about the server and no call returns: that it may evict streams, that its
	// clock is wrong. It is called once per finding, must return soon, and may be called concurrently. Default: the Warn of a
	// subscription's group, so that the bus logs it.
	Warn func(error)

	// TLS is how [Open] speaks TLS: with a client certificate, or servers whose authority only it knows. The URL must begin with
	// rediss. It is copied, and all connections use it, also those to Sentinels. Without a ServerName each server's certificate must
	// be valid for the address that is dialed. MinVersion is TLS 1.2 unless set. A certificate that is renewed while the program
	// runs comes from GetClientCertificate. Default: what the system trusts, and no client certificate.
	TLS *tls.Config
	// Credentials is asked by [Open]'s connections for user and password, each time one is made, so that a password may be rotated
	// while the program runs; the user "" is Redis' default user. The URL must have neither then (but those of Sentinels). It must
	// be safe for concurrent use, fast (cache what is fetched), and end with ctx. Its errors are shown, so they must hold no secret.
	// Connections keep the password they were made with: most live 30 to 35 minutes (conn_max_lifetime in the URL), those that
	// wait for messages until they break, so end the old ones with CLIENT KILL USER if they must go.
	Credentials func(ctx context.Context) (user, password string, err error)
}

// access refuses what a client that is given has in its own options.
func (o *Options) access() error {
	if o.TLS != nil || o.Credentials != nil {
		return errors.New("redisstream: Options.TLS and Options.Credentials are for Open: with New, give the client its own")
	}
	return nil
}

// check says all that is wrong with the options at once.
func (o *Options) check() error {
	var errs []error
	if !validPrefix(o.Prefix) {
		errs = append(errs, fmt.Errorf("redisstream: bad Prefix %.140q: use up to 128 letters, digits, '.', '_', '-', ':' or '/'", o.Prefix))
	}
	for _, topic := range slices.Sorted(maps.Keys(o.Mappings)) {
		if err := transport.CheckName("topic", topic); err != nil {
			errs = append(errs, fmt.Errorf("redisstream: Mappings: %w", err))
		}
		mp := o.Mappings[topic]
		if err := mp.check(); err != nil {
			errs = append(errs, fmt.Errorf("redisstream: mapping of %.140q: %w", topic, err))
		}
	}
	return errors.Join(errs...)
}

// validPrefix keeps braces out, which would move the hash tag, and what is a pattern in ACL rules.
func validPrefix(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-', c == ':', c == '/':
		default:
			return false
		}
	}
	return len(s) <= 128
}
