// Package plainjson writes and reads values of plain types as encoding/json does, some times faster. Plain are basic kinds,
// time.Time, and slices, arrays, pointers, maps and structs of them, without methods that encoding/json would call.
//
// It may refuse whatever it likes: a type, a value, a body. Then encoding/json has to do the work, and make the errors. So
// everything that is rare or delicate is refused, and what is not refused must be exactly what encoding/json makes.
package plainjson

import "reflect"

// maxDepth bounds the nesting of values, and so ends pointers that go round.
const maxDepth = 100

// A Program writes and reads one type. It may be used concurrently.
type Program struct{ root *node }

// Compile makes the program for a type, or says that the type is not plain.
func Compile(t reflect.Type) (p *Program, plain bool) {
	c := compiler{done: map[reflect.Type]*node{}}
	root := c.node(t)
	return &Program{root}, !c.refused
}

// Append appends v to dst, without escapes for <, > and &. When it refuses, what lies behind the end of dst is undefined.
func (p *Program) Append(dst []byte, v reflect.Value) (out []byte, ok bool) {
	var w writer
	out = w.value(dst, p.root, v)
	return out, !w.refused
}

// Read reads body into v, which must be addressable and zero. When it refuses, v is undefined. The value keeps nothing of body.
func (p *Program) Read(body []byte, v reflect.Value) bool {
	r := reader{data: body}
	r.value(p.root, v)
	r.end()
	return !r.refused
}
