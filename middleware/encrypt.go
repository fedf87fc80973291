package middleware

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/typedbus/typedbus/bus"
	"github.com/typedbus/typedbus/transport"
)

// EncryptionKey is one key of an [Encryption]. Printing it, in whatever form, shows its ID only.
type EncryptionKey struct {
	ID     string // named as topics are; it travels in a header, readable by everybody
	Secret []byte `json:"-"` // 16, 24 or 32 random bytes: AES-128, AES-192 or AES-256
}

// Format implements [fmt.Formatter].
func (k EncryptionKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key "+k.ID) }

// EncryptionOptions are the settings of an [Encryption].
type EncryptionOptions struct {
	// Keys are what it decrypts with. With the first it encrypts too.
	//
	// To change the key, first give every process the new one as the last, then make it the first everywhere, and remove the
	// old one when nothing that it has encrypted is left: in topics, delays and dead letters.
	Keys []EncryptionKey
	// AllowPlain hands bodies that are not encrypted to the handler, for the time in which a topic changes over; default they
	// are refused. Who can write to the topic can then write without a key.
	AllowPlain bool
}

// Encryption is a pair of middleware that encrypts bodies with AES-GCM. Use both halves, on every bus that publishes or handles
// the topics; compression is to come before it:
//
//	b := bus.New(tr, bus.Use(e.Handle, c.Handle), bus.UseSend(c.Send, e.Send))
//
// Only the body is secret: id, key, headers, content type, the size of the body and the name of the topic stay readable to
// those who can read the broker. A body cannot be changed, nor be moved to another topic. Whoever can write there may still
// repeat, reorder or remove what is stored, and change headers. Dead letters keep the encrypted body.
//
// One key may encrypt 2^32 messages at most, all processes together: nonces are random (NIST SP 800-38D, 8.3). At 1,000 a
// second that is 49 days.
//
// A stored body is a nonce of 12 bytes, the ciphertext, and a tag of 16 bytes; the header "encryption" is "aes-gcm; key=" and
// the id of the key. Authenticated with it are the bytes "aes-gcm", 0, the id of the key, 0, and the name of the topic.
//
// Its methods may be called concurrently. Printing it, in whatever form, shows ids of keys only.
type Encryption struct {
	allowPlain bool
	first      *ringKey
	ring       map[string]*ringKey
}

// ringKey is a key ready for use.
type ringKey struct {
	aead   cipher.AEAD
	header string
	bound  string // to what a body is bound, without the topic
}

const (
	encryptionHeader = "encryption"
	encryptionScheme = "aes-gcm"
	encryptionPrefix = encryptionScheme + "; key="
)

// NewEncryption makes the pair. It returns an error, which shows no secret, if there is no key, an id is bad or there twice, or
// a secret has another length. It keeps no slice of o.
func NewEncryption(o EncryptionOptions) (*Encryption, error) {
	e := &Encryption{allowPlain: o.AllowPlain, ring: map[string]*ringKey{}}
	var errs []error
	if len(o.Keys) == 0 {
		errs = append(errs, errors.New("no keys: give EncryptionOptions at least one"))
	}
	for _, key := range o.Keys {
		k, err := newRingKey(key)
		if err == nil && e.ring[key.ID] != nil {
			err = fmt.Errorf("there are two keys with the id %s", key.ID)
		}
		if e.ring[key.ID] = k; e.first == nil {
			e.first = k
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("middleware: encryption: %w", err)
	}
	return e, nil
}

func newRingKey(k EncryptionKey) (*ringKey, error) {
	if err := transport.CheckName("key", k.ID); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(k.Secret)
	if err != nil {
		return nil, fmt.Errorf("the secret of key %s has %d bytes: it must be 16, 24 or 32 random bytes", k.ID, len(k.Secret))
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &ringKey{aead: aead, header: encryptionPrefix + k.ID, bound: encryptionScheme + "\x00" + k.ID + "\x00"}, nil
}

// Format implements [fmt.Formatter].
func (e Encryption) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.knobs()) }

func (e Encryption) knobs() string {
	if e.first == nil {
		return "no keys"
	}
	plain := "plain bodies are refused"
	if e.allowPlain {
		plain = "plain bodies are let through"
	}
	return fmt.Sprintf("%s, %d to decrypt with, %s", e.first.header, len(e.ring), plain)
}

// Send is a [bus.SendMiddleware]: it encrypts bodies with the first key, in copies of the messages. A message that has the
// header "encryption" already is an error, and nothing is sent: passed on it would be plain text that nobody can decrypt.
func (e *Encryption) Send(next bus.Sender) bus.Sender {
	return func(ctx context.Context, t transport.Topic, ms []*bus.Message) error {
		sealed := make([]*bus.Message, len(ms))
		for i, m := range ms {
			if m == nil {
				continue // the bus says what is wrong
			}
			if _, there := m.Headers.Lookup(encryptionHeader); there {
				return fmt.Errorf("middleware: encrypt: a message for %s has a header %q: encrypt it once, and name headers of your own otherwise",
					t.Name, encryptionHeader)
			}
			sealed[i] = e.first.seal(t.Name, m)
		}
		return next(ctx, t, sealed)
	}
}

func (k *ringKey) seal(topic string, m *bus.Message) *bus.Message {
	sealed := *m
	sealed.Body = k.aead.Seal(make([]byte, 0, len(m.Body)+k.aead.Overhead()), nil, m.Body, []byte(k.bound+topic))
	sealed.Headers.Set(encryptionHeader, k.header)
	return &sealed
}

// Handle is a [bus.Middleware]: it decrypts what Send has encrypted. A body that is not encrypted (unless AllowPlain is set),
// was changed, is of another topic, or is encrypted in another way is [bus.Permanent] and wraps [bus.ErrUndecodable].
//
// An id that is not among Keys is a plain failure: where a new key is being rolled out a later attempt reaches a process that
// has it. If none has, the event ends like all that fail, and its letter can be replayed.
func (e *Encryption) Handle(next bus.Handler) bus.Handler {
	return bus.Describe(bus.Layer{Name: "middleware.Encryption", Knobs: e.knobs()}, e.decrypting)(next)
}

func (e *Encryption) decrypting(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		scheme, encrypted := d.Headers.Lookup(encryptionHeader)
		if d.Malformed != nil || !encrypted && e.allowPlain {
			return next(ctx, d)
		}
		if !encrypted {
			return undecryptable("the body is not encrypted: see EncryptionOptions.AllowPlain if its publisher is older than the encryption")
		}
		id, ok := strings.CutPrefix(scheme, encryptionPrefix)
		if !ok {
			return undecryptable("the body is encrypted as %.40q, and only %q is known", scheme, encryptionPrefix)
		}
		key := e.ring[id]
		if key == nil {
			return fmt.Errorf("middleware: decrypt: no key has the id %.140q: give it to all who handle before one publishes with it", id)
		}
		m, err := key.open(d)
		if err != nil {
			return undecryptable("the body was changed, is of another topic, or was encrypted with another secret of the id %s", id)
		}
		return next(ctx, d.WithMessage(m))
	}
}

func undecryptable(format string, args ...any) error {
	return bus.Permanent(fmt.Errorf("middleware: decrypt: %w: %s", bus.ErrUndecodable, fmt.Sprintf(format, args...)))
}

func (k *ringKey) open(d *bus.Delivery) (*bus.Message, error) {
	plain := *d.Message
	var err error
	if plain.Body, err = k.aead.Open(nil, nil, d.Body, []byte(k.bound+d.Topic)); err != nil {
		return nil, err
	}
	plain.Headers.Del(encryptionHeader)
	return &plain, nil
}
