package codec

import "reflect"

// A shape tells how much memory the values of a Go type take beside what a body shows: `90 c0 c0 ...` is a byte for
// each element, and a []Order makes room for an Order each before it looks at the first. Only parts where one byte
// can become more than smallElement bytes have a shape; elsewhere it is nil, and the check stays cheap.
type shape struct {
	each     int               // bytes for each value announced, or for the target of a pointer
	pointsTo *shape            // of a pointer: what it points to. Both describe the same token
	key      *shape            // of a map
	elem     *shape            // of a slice, an array or a map
	fields   map[string]*shape // of a struct, by the names that the library may know a field under
	list     []*shape          // of a struct, by its place when the struct is sent as an array
	lifts    bool              // pointsTo is a field of an embedded pointer, which is made whatever the field is
	heavy    bool              // it or something below it needs the account
}

// smallElement is the size up to which elements need no account: even at one byte each in the body, they take no more
// than footprintRate allows.
const smallElement = 64

// element is the shape of the ith value in a container; key is the encoding of the value before it.
func (s *shape) element(in kind, i int, key []byte) *shape {
	switch {
	case s == nil:
		return nil
	case s.fields == nil && in == kindMap && i%2 == 0:
		return s.key
	case s.fields == nil:
		return s.elem
	case in == kindMap && i%2 == 1:
		tok, _ := readToken(key)
		return s.fields[string(key[tok.head:])]
	case in == kindArray && i < len(s.list):
		return s.list[i]
	}
	return nil
}

// shapeOf returns the shape of t, or nil if nothing in it needs the account.
func shapeOf(t reflect.Type) *shape {
	b := &shapeBuilder{seen: map[reflect.Type]*shape{}}
	b.worst = b.add(new(shape))
	b.worst.key, b.worst.elem = b.worst, b.worst
	s := b.shape(t)
	for _, other := range b.all {
		b.worst.each = max(b.worst.each, other.each)
	}
	b.markHeavy()
	b.cutLight()
	if s == nil || !s.heavy {
		return nil
	}
	return s
}

type shapeBuilder struct {
	all   []*shape
	seen  map[reflect.Type]*shape
	worst *shape // stands for a part that may be any of the others: all in it counts as the largest
}

func (b *shapeBuilder) add(s *shape) *shape {
	b.all = append(b.all, s)
	return s
}

func (b *shapeBuilder) shape(t reflect.Type) *shape {
	if s, ok := b.seen[t]; ok {
		return s
	}
	if ownAffair(t) {
		return nil
	}
	s := b.add(new(shape))
	b.seen[t] = s // before its parts, which may be of type t again
	switch t.Kind() {
	case reflect.Pointer:
		s.each, s.pointsTo = int(t.Elem().Size()), b.shapeOrEmpty(t.Elem())
	case reflect.Slice:
		s.each, s.elem = 2*int(t.Elem().Size()), b.shape(t.Elem()) // the library makes each slice twice
	case reflect.Array:
		s.elem = b.shape(t.Elem())
	case reflect.Map:
		// Half an entry for each of key and value; a map has spare room, and the library makes each key and value twice.
		s.each = 3 * int(t.Key().Size()+t.Elem().Size()) / 2
		s.key, s.elem = b.shape(t.Key()), b.shape(t.Elem())
	case reflect.Struct:
		s.fields = map[string]*shape{}
		b.structFields(s, t, func(of *shape) *shape { return of })
	}
	return s
}

func (b *shapeBuilder) shapeOrEmpty(t reflect.Type) *shape {
	if s := b.shape(t); s != nil {
		return s
	}
	return b.add(new(shape))
}

// ownAffair tells whether t has no account: what its methods make of a body is theirs, and bytes are as long in Go as
// in the body.
func ownAffair(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer:
		return false // its target is made before a method of it is called
	case reflect.Slice:
		return decodesItself(t) || t.Elem().Kind() == reflect.Uint8
	}
	return decodesItself(t)
}

// structFields adds the fields of t to s, each changed by lift. The library lifts the fields of an embedded struct up
// unless some hide others; here they are known under both names, for to know one too many does no harm, and what
// depends on the choice counts as the worst.
func (b *shapeBuilder) structFields(s *shape, t reflect.Type, lift func(*shape) *shape) {
	embeds := false
	for f := range t.Fields() {
		tag := fieldTag(f)
		if tag.skip {
			continue
		}
		of := lift(b.shape(f.Type))
		for _, name := range tag.names {
			if before, ok := s.fields[name]; ok && before != of {
				of = b.worst
			}
			s.fields[name] = of
		}
		s.list = append(s.list, of)
		if f.Anonymous && b.embed(s, f.Type, t) {
			embeds = true
		}
	}
	if embeds {
		for i := range s.list {
			s.list[i] = b.worst
		}
	}
}

// embed adds the fields of a struct that is embedded in t, and is false if it is not one to lift up.
func (b *shapeBuilder) embed(s *shape, embedded, t reflect.Type) bool {
	if embedded.Kind() == reflect.Struct && !decodesItself(embedded) {
		b.structFields(s, embedded, func(of *shape) *shape { return of })
		return true
	}
	if embedded.Kind() != reflect.Pointer || embedded.Elem() == t || embedded.Elem().Kind() != reflect.Struct {
		return false
	}
	size := int(embedded.Elem().Size())
	b.structFields(s, embedded.Elem(), func(of *shape) *shape {
		if of == nil {
			of = b.add(new(shape))
		}
		return b.add(&shape{each: size, pointsTo: of, lifts: true})
	})
	return true
}

// markHeavy spreads heavy from parts to what contains them, until nothing changes: shapes may be cyclic.
func (b *shapeBuilder) markHeavy() {
	for changed := true; changed; {
		changed = false
		for _, s := range b.all {
			if !s.heavy && (s.each > 2*smallElement || s.hasHeavyPart()) {
				s.heavy, changed = true, true
			}
		}
	}
}

func (s *shape) hasHeavyPart() bool {
	for _, part := range s.list {
		if part != nil && part.heavy {
			return true
		}
	}
	for _, part := range s.fields {
		if part != nil && part.heavy {
			return true
		}
	}
	return s.pointsTo != nil && s.pointsTo.heavy || s.key != nil && s.key.heavy || s.elem != nil && s.elem.heavy
}

// cutLight removes the parts that need no account.
func (b *shapeBuilder) cutLight() {
	for _, s := range b.all {
		if s.key != nil && !s.key.heavy {
			s.key = nil
		}
		if s.elem != nil && !s.elem.heavy {
			s.elem = nil
		}
		for name, part := range s.fields {
			if part == nil || !part.heavy {
				delete(s.fields, name)
			}
		}
		for i, part := range s.list {
			if part != nil && !part.heavy {
				s.list[i] = nil
			}
		}
	}
}
