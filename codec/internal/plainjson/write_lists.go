package plainjson

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"
)

func (w *writer) structure(dst []byte, n *node, v reflect.Value) []byte {
	dst = append(dst, '{')
	for i := range n.fields {
		f := &n.fields[i]
		fv := v.Field(f.index)
		if f.omits(fv) {
			continue
		}
		if dst[len(dst)-1] != '{' { // no value ends with it
			dst = append(dst, ',')
		}
		dst = append(dst, f.start...)
		dst = w.value(dst, f.node, fv)
	}
	return append(dst, '}')
}

func (f *field) omits(v reflect.Value) bool {
	return f.omitEmpty && f.isEmpty(v) || f.omitZero && f.isZero(v)
}

func (f *field) isEmpty(v reflect.Value) bool {
	switch f.op {
	case opStruct, opTime:
		return false
	case opSlice, opStrings, opBytes, opMap, opTexts, opArray:
		return v.Len() == 0
	}
	return v.IsZero()
}

func (f *field) isZero(v reflect.Value) bool {
	if f.op == opTime {
		t, ok := reflect.TypeAssert[time.Time](v)
		return ok && t.IsZero()
	}
	return v.IsZero()
}

func (w *writer) list(dst []byte, n *node, v reflect.Value) []byte {
	dst = append(dst, '[')
	for i := range v.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = w.value(dst, n.elem, v.Index(i))
	}
	return append(dst, ']')
}

func (w *writer) strings(dst []byte, v reflect.Value) []byte {
	list, ok := reflect.TypeAssert[[]string](v)
	w.refused = w.refused || !ok
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = w.text(dst, s)
	}
	return append(dst, ']')
}

func (w *writer) texts(dst []byte, v reflect.Value) []byte {
	m, ok := reflect.TypeAssert[map[string]string](v)
	w.refused = w.refused || !ok
	var few [8]string
	keys := slices.AppendSeq(few[:0], maps.Keys(m))
	slices.Sort(keys)
	dst = append(dst, '{')
	for i, key := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(w.text(dst, key), ':')
		dst = w.text(dst, m[key])
	}
	return append(dst, '}')
}

type member struct {
	key   string
	value reflect.Value
}

func (w *writer) mapping(dst []byte, n *node, v reflect.Value) []byte {
	members := make([]member, 0, v.Len())
	for i := v.MapRange(); i.Next(); {
		members = append(members, member{i.Key().String(), i.Value()})
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(w.text(dst, m.key), ':')
		dst = w.value(dst, n.elem, m.value)
	}
	return append(dst, '}')
}
