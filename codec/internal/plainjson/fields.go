package plainjson

import (
	"bytes"
	"cmp"
	"reflect"
	"strings"
	"time"
)

// A field is what a struct has under one key.
type field struct {
	*node
	name      []byte
	start     string // of what is written: the name and the colon
	index     int
	omitEmpty bool
	omitZero  bool
}

// structure adds the fields of n's type. Embedded structs are refused: which of several fields a key means is delicate then.
func (c *compiler) structure(n *node) {
	n.byName = map[string]int{}
	for i := range n.typ.NumField() {
		f := n.typ.Field(i)
		tag := f.Tag.Get("json")
		switch {
		case tag == "-", !f.IsExported() && !f.Anonymous:
		case f.Anonymous:
			c.refused = true
		default:
			c.field(n, f, tag, i)
		}
	}
}

func (c *compiler) field(n *node, sf reflect.StructField, tag string, index int) {
	name, options, _ := strings.Cut(tag, ",")
	name = cmp.Or(name, sf.Name)
	f := field{node: c.node(sf.Type), name: []byte(name), start: `"` + name + `":`, index: index}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "":
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
			c.refused = c.refused || saysZero(sf.Type)
		default:
			c.refused = true
		}
	}
	if !isPlainName(name) || n.resembles(f.name) {
		c.refused = true
	}
	n.byName[name] = len(n.fields)
	n.fields = append(n.fields, f)
}

// isPlainName says whether a name is written as it is and valid in a tag.
func isPlainName(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@$/") == ""
}

// saysZero says whether omitzero asks a method. For times it is called; no other type is asked.
func saysZero(t reflect.Type) bool {
	return t != reflect.TypeFor[time.Time]() && has[interface{ IsZero() bool }](t)
}

// find returns the number of the field whose name is key, or -1. next is the most likely one.
func (n *node) find(key []byte, next int) int {
	if next < len(n.fields) && string(key) == string(n.fields[next].name) {
		return next
	}
	if i, ok := n.byName[string(key)]; ok {
		return i
	}
	return -1
}

// resembles says whether key is a field's name in another case.
func (n *node) resembles(key []byte) bool {
	for i := range n.fields {
		if bytes.EqualFold(key, n.fields[i].name) {
			return true
		}
	}
	return false
}
