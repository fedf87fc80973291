package redisstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/typedbus/typedbus/transport"
)

// answered says whether err is an answer of the server: it refused, and did nothing.
func answered(err error) bool {
	var e redis.Error
	return errors.As(err, &e)
}

// refusedForNow says whether err is how a Cluster refuses what it will do when a slot has arrived, or a master is there. It did nothing.
func refusedForNow(err error) bool {
	return slotMoves(err) || redis.IsClusterDownError(err) || redis.IsLoadingError(err) || redis.IsMasterDownError(err) ||
		redis.IsReadOnlyError(err)
}

// slotMoves says whether err is how a Cluster refuses while a slot moves, and until its clients know.
func slotMoves(err error) bool {
	_, moved := redis.IsMovedError(err)
	_, ask := redis.IsAskError(err)
	return moved || ask || redis.IsTryAgainError(err)
}

// neverSent says whether err shows that there was no connection to send anything on.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed)
}

// A class says who can do something about an error.
type class uint8

const (
	passing  class = iota // it may go by itself: try again, soon
	operator              // somebody must change something: try again, rarely, and say so
	recreate              // the group is gone: make it again
)

// An answer is an error reply of Redis, by how it begins, with what it means and what to do.
type answer struct {
	code  string
	class class
	says  string
	is    error // a sentinel that it stands for, or nil
}

// answers come from the sources of Redis 7.0 and 8 and of Valkey 8.
var answers = []answer{
	{code: "NOGROUP", class: recreate, says: "the consumer group does not exist"},
	{code: "LOADING", says: "Redis is loading its data from disk: wait until it has"},
	{code: "BUSY ", says: "Redis is busy with a script that does not end: look at SLOWLOG, or end it with SCRIPT KILL"},
	{code: "MASTERDOWN", says: "this replica has lost its master"},
	{code: "NOREPLICAS", says: "too few replicas are connected, and min-replicas-to-write forbids writing: look at INFO replication"},
	{code: "CLUSTERDOWN", says: "the Cluster does not serve all of its slots: look at CLUSTER INFO"},
	{code: "TRYAGAIN", says: "the slot is on its way to another node"},
	{code: "MOVED", says: "the key is on another node of the Cluster: use a Cluster client, or a URL that begins with redis+cluster://"},
	{code: "ASK", says: "the key is on its way to another node of the Cluster"},
	{code: "UNBLOCKED", says: "the stream was removed, or its server became a replica"},
	{code: "READONLY", says: "this Redis is a replica: connect to the master; a Sentinel or Cluster client finds it after a failover"},
	{code: "max number of clients", says: "Redis has as many clients as its maxclients allows"},
	{code: "OOM", class: operator, is: transport.ErrNoRoom,
		says: "Redis has reached its maxmemory and stores nothing more: raise it, or shorten what topics keep"},
	{code: "MISCONF", class: operator,
		says: "Redis cannot save to disk and so refuses to write: its log says why (a full disk, missing rights)"},
	{code: "NOAUTH", class: operator, says: "Redis wants a password: give one in the URL (redis://user:password@host), Options.Credentials or the client's options"},
	{code: "WRONGPASS", class: operator,
		says: "Redis refuses the user name or the password, or the user is off: correct them in the URL, Options.Credentials or the " +
			"client's options; ACL GETUSER shows whether it is on"},
	{code: "NOPERM", class: operator, says: "the user is not allowed to"},
	{code: scriptDenied, class: operator, says: "the user is not allowed to"},
	{code: scriptDenied70, class: operator, says: "the user is not allowed to"},
	{code: "WRONGTYPE", class: operator, says: "a key has the wrong type"},
	{code: "CROSSSLOT", class: operator, says: "the keys are in different slots"},
	{code: "unknown command", class: operator, says: "this server does not know the command: it is too old, or a proxy or provider disables it"},
	{code: "This instance has cluster support disabled", class: operator,
		says: "this Redis is not part of a Cluster: use a plain client, or a URL that begins with redis://"},
}

// How scripts say that the user lacks a right, since Redis 7.2 and before.
const (
	scriptDenied   = "ACL failure in script"
	scriptDenied70 = "The user executing the script can't"
)

// isDenied says whether the user lacks a right.
func isDenied(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, scriptDenied) || redis.HasErrorPrefix(err, scriptDenied70)
}

// answerOf finds what an error reply means, nil if err is none that is known.
func answerOf(err error) *answer {
	for i := range answers {
		if redis.HasErrorPrefix(err, answers[i].code) {
			return &answers[i]
		}
	}
	return nil
}

func classify(err error) class {
	if a := answerOf(err); a != nil {
		return a.class
	}
	return passing
}

// A failure is an error of Redis or of the way to it in plain words. Its text holds no argument of a command, which may be
// a message's body, and no password.
type failure struct {
	text  string
	cause []error
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.cause }

// clarify says in plain words what an error of Redis means and what to do about it. op is what was tried ("publish
// orders.placed"), key what it was about, the topic's stream or a key beside it. It may ask Redis what type a key has.
func (t *Transport) clarify(op, key string, err error) error {
	if err == nil {
		return nil
	}
	var done *failure
	if errors.As(err, &done) {
		return err
	}
	text, cause := explain(err), []error{err}
	switch a := answerOf(err); {
	case a == nil:
	case a.code == "MOVED" && t.reads.cluster != nil:
		text = "the key is on another node of the Cluster now"
	case a.code == "WRONGTYPE":
		text = t.wrongType(key, err)
	case isDenied(err):
		text = t.denied(op, key, err)
	case a.code == "unknown command":
		cause = nil // its text repeats arguments
	case a.is != nil:
		cause = append(cause, a.is)
	}
	if unparsable(err) {
		cause = nil // so does this
	}
	return &failure{"redisstream: " + op + ": " + text, cause}
}

// explain is what an error means, whatever it is about.
func explain(err error) string {
	if errors.Is(err, transport.ErrClosed) {
		return transport.ErrClosed.Error()
	}
	if a := answerOf(err); a != nil {
		return a.says
	}
	if answered(err) {
		return "Redis answers: " + printable(err.Error(), 200)
	}
	return explainNetwork(err)
}

func explainNetwork(err error) string {
	var op *net.OpError
	dial := errors.As(err, &op) && op.Op == "dial"
	var dns *net.DNSError
	var timeout net.Error
	var credentials *credentialsError
	switch where := reached(op); {
	case errors.As(err, &credentials):
		return credentials.Error()
	case errors.Is(err, context.Canceled), err == context.DeadlineExceeded:
		return err.Error()
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted):
		return "no connection was free in time: raise PoolSize in the client's options"
	case errors.Is(err, redis.ErrClosed):
		return "the client was closed"
	case errors.As(err, &dns):
		return fmt.Sprintf("cannot find the host %q: correct the URL, or look at its DNS", printable(dns.Name, 100))
	case errors.Is(err, syscall.ECONNREFUSED):
		return "cannot reach Redis" + where + ": connection refused: start it, or correct the URL"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EACCES):
		return "cannot reach Redis" + where + ": " + op.Err.Error() + ": start it, or correct the path of its socket"
	case tlsTrouble(err) != "":
		return tlsTrouble(err)
	case dial && op.Timeout():
		return "cannot reach Redis" + where + ": it does not accept the connection in time: look at the address and the firewalls"
	case dial:
		return "cannot reach Redis" + where + ": " + printable(op.Err.Error(), 200)
	case errors.As(err, &timeout) && timeout.Timeout():
		return "Redis did not answer in time: it is stopped or overloaded, or the network is broken"
	case broke(err):
		return "the connection to Redis broke: it was stopped or restarted, wants TLS (rediss://), or refuses the client certificate"
	case unparsable(err):
		return "what answers is not Redis, or wants TLS (rediss://)"
	}
	return printable(err.Error(), 200)
}

// broke says whether err is of a connection that ended.
func broke(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// reached is " at host:port", if the error knows it.
func reached(op *net.OpError) string {
	if op == nil || op.Addr == nil {
		return ""
	}
	return " at " + printable(op.Addr.String(), 100)
}

func tlsTrouble(err error) string {
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &record):
		return "the server does not speak TLS: use redis:// instead of rediss://, or its TLS port"
	case errors.As(err, &authority):
		return "the server's certificate is signed by an authority that is not trusted here: set RootCAs in Options.TLS or in the client's TLSConfig"
	case errors.As(err, &host):
		return "the server's certificate is for another host name: connect by a name that it has"
	case errors.As(err, &invalid):
		return "the server's certificate is not valid: " + printable(invalid.Error(), 200) + ": renew it, or set the clock of this host"
	}
	return refusedCertificate(err)
}

// refusedCertificate explains what a server says in TLS about the certificate of its client. crypto/tls has no type for it.
func refusedCertificate(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return ""
	}
	switch text := op.Err.Error(); {
	case strings.Contains(text, "certificate required"), strings.Contains(text, "handshake failure"):
		return "the server wants a certificate of its clients: set Certificates in Options.TLS or in the client's TLSConfig"
	case strings.Contains(text, "unknown certificate authority"):
		return "the server does not trust the authority that signed the client certificate: use one that its tls-ca-cert-file signs"
	case strings.Contains(text, "expired certificate"):
		return "the client certificate has expired: renew it (or set the clock of the server)"
	case strings.Contains(text, "certificate"):
		return "the server refuses the client certificate (" + printable(text, 100) + "): its log says why"
	}
	return "the server refuses to speak TLS: " + printable(op.Err.Error(), 100)
}

// unparsable says whether go-redis could not make sense of what it read; it quotes that, and it may be anything.
func unparsable(err error) bool {
	return !answered(err) && (strings.Contains(err.Error(), "redis: can't parse") || strings.Contains(err.Error(), "redis: invalid reply"))
}

// typeTimeout bounds how long looking for the reason of an error takes.
const typeTimeout = time.Second

// wrongType finds out what the key is, unless the error says so already, as those of our scripts do.
func (t *Transport) wrongType(key string, err error) string {
	if text, ok := strings.CutPrefix(err.Error(), "WRONGTYPE the key "); ok {
		text, _, _ = strings.Cut(text, " script:")
		return "the key " + printable(text, 400) + ": rename that key, or give the transport another Prefix"
	}
	ctx, cancel := context.WithTimeout(t.ctx, typeTimeout)
	defer cancel()
	is, terr := t.cmd.Type(ctx, key).Result()
	if terr != nil || is == "stream" || is == "none" {
		return "a key that belongs to " + key + " has another type than it should: look at the keys that begin with {" + streamOf(key) + "}:"
	}
	return fmt.Sprintf("the key %s holds a %s, not a stream: rename that key, or give the transport another Prefix", key, is)
}

// streamOf is the stream of the topic that a key belongs to: all keys but the stream itself have it for their hash tag.
func streamOf(key string) string {
	if tag, _, ok := strings.Cut(key, "}:"); ok && strings.HasPrefix(tag, "{") {
		return tag[1:]
	}
	return key
}

func missingRules(rules []string) string {
	return "the user lacks rights: ACL SETUSER <user> " + strings.Join(rules, " ")
}

// printable is at most n bytes of s without what could forge a line of a log.
func printable(s string, n int) string {
	s = s[:min(len(s), n)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
}
