package redisstream

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/typedbus/typedbus/transport"
)

// check says all that is wrong with a mapping at once.
func (mp *Mapping) check() error {
	var errs []error
	if mp.Data == "" {
		errs = append(errs, errors.New("its Data is empty: name the field with the body"))
	}
	seen := map[string]string{}
	for _, f := range [][2]string{{"Data", mp.Data}, {"ID", mp.ID}, {"Key", mp.Key}, {"ContentType", mp.ContentType}} {
		what, field := f[0], f[1]
		switch other := seen[field]; {
		case field == "":
		case other != "":
			errs = append(errs, fmt.Errorf("%s and %s are both the field %.140q", other, what, field))
		case strings.HasPrefix(field, ownPrefix):
			errs = append(errs, fmt.Errorf("%s is the field %.140q: names that begin with %q are taken", what, field, ownPrefix))
		default:
			seen[field] = what
		}
	}
	for _, field := range slices.Sorted(maps.Keys(mp.Set)) {
		if field == "" || mp.taken(field) {
			errs = append(errs, fmt.Errorf("its Set cannot set the field %.140q: the message does, or names like it are taken", field))
		}
	}
	if strings.HasPrefix(mp.HeaderPrefix, ownPrefix) {
		errs = append(errs, fmt.Errorf("its HeaderPrefix begins with %q, which is taken", ownPrefix))
	}
	return errors.Join(errs...)
}

// taken says whether a field has a meaning of its own, so that no header may have it.
func (mp *Mapping) taken(field string) bool {
	return field == mp.Data || mp.ID != "" && field == mp.ID || mp.Key != "" && field == mp.Key ||
		mp.ContentType != "" && field == mp.ContentType || strings.HasPrefix(field, ownPrefix)
}

// maxHeaders bounds the headers of a message: Lua, which moves delayed messages, cannot pass more than about 8,000 arguments.
const maxHeaders = 1024

// accepts says why m cannot be stored in this format, or nil.
func (mp *Mapping) accepts(m *transport.Message) error {
	if m == nil {
		return errors.New("it is nil")
	}
	if len(m.Headers) > maxHeaders {
		return fmt.Errorf("it has %d headers: the limit is %d", len(m.Headers), maxHeaders)
	}
	return mp.acceptsHeaders(m.Headers)
}

// acceptsHeaders says why headers cannot be stored in this format, however many they are, or nil.
func (mp *Mapping) acceptsHeaders(hs transport.Headers) error {
	for i := range hs {
		name := hs[i].Name
		if !transport.ValidHeaderName(name) {
			return fmt.Errorf("bad header name %.140q: use 1 to 128 printable ASCII characters without spaces", name)
		}
		// The native prefix keeps headers apart from all else; a foreign format need not.
		if mp != &native && mp.taken(mp.HeaderPrefix+name) {
			return fmt.Errorf("header %q cannot be stored: the field %q has another meaning in the mapping of this topic", name, mp.HeaderPrefix+name)
		}
	}
	if name, ok := twice(hs); ok {
		return fmt.Errorf("header %q occurs twice: set headers with Headers.Set", name)
	}
	return nil
}

// twice finds a header that occurs twice. Few are compared with each other, which allocates nothing.
func twice(hs transport.Headers) (name string, ok bool) {
	if len(hs) > 100 {
		seen := make(map[string]bool, len(hs))
		for i := range hs {
			if seen[hs[i].Name] {
				return hs[i].Name, true
			}
			seen[hs[i].Name] = true
		}
		return "", false
	}
	for i := range hs {
		for j := range i {
			if hs[j].Name == hs[i].Name {
				return hs[i].Name, true
			}
		}
	}
	return "", false
}
