package plainjson

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"time"
)

// value reads a value into v.
func (r *reader) value(n *node, v reflect.Value) {
	c := r.peek()
	if c == 'n' {
		r.word("null")
		if n.nullable {
			v.SetZero()
		}
		return
	}
	switch n.op {
	case opBool:
		r.bool(c, v)
	case opInt:
		if i := r.integer(); v.OverflowInt(i) {
			r.refuse()
		} else {
			v.SetInt(i)
		}
	case opUint:
		if u := r.unsigned(); v.OverflowUint(u) {
			r.refuse()
		} else {
			v.SetUint(u)
		}
	case opFloat32:
		v.SetFloat(r.float(32))
	case opFloat64:
		v.SetFloat(r.float(64))
	case opString, opTime, opBytes:
		if c != '"' {
			r.refuse()
			return
		}
		r.quoted(n, v)
	default:
		if r.enter() {
			r.container(n, v, c)
		}
		r.depth--
	}
}

func (r *reader) bool(c byte, v reflect.Value) {
	if c == 't' {
		r.word("true")
	} else {
		r.word("false")
	}
	v.SetBool(c == 't')
}

func (r *reader) quoted(n *node, v reflect.Value) {
	switch n.op {
	case opString:
		v.SetString(string(r.text()))
	case opTime:
		r.time(v)
	case opBytes:
		text := r.text()
		out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
		k, err := base64.StdEncoding.Decode(out, text)
		if err != nil {
			r.refuse()
		}
		v.SetBytes(out[:k])
	}
}

// time reads a time, which encoding/json leaves to package time too, escapes and all: that refuses these.
func (r *reader) time(v reflect.Value) {
	text := r.data[r.at+1:]
	end := bytes.IndexByte(text, '"')
	if end < 0 {
		r.refuse()
		return
	}
	r.at += end + 2
	t, ok := reflect.TypeAssert[*time.Time](v.Addr())
	if !ok || t.UnmarshalText(text[:end]) != nil {
		r.refuse()
	}
}

func (r *reader) container(n *node, v reflect.Value, c byte) {
	switch {
	case n.op == opPointer:
		if v.IsNil() {
			v.Set(reflect.New(n.elem.typ))
		}
		r.value(n.elem, v.Elem())
	case c == '{' && n.op == opStruct:
		r.structure(n, v)
	case c == '{' && n.op == opTexts:
		r.texts(v)
	case c == '{' && n.op == opMap:
		r.mapping(n, v)
	case c == '[' && n.op == opStrings:
		r.strings(v)
	case c == '[' && n.op == opSlice:
		r.slice(n, v)
	case c == '[' && n.op == opArray:
		r.array(n, v)
	default:
		r.refuse()
	}
}
