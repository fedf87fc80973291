package plainjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"time"
)

type op uint8

const (
	opBool op = iota
	opInt
	opUint
	opFloat32
	opFloat64
	opString
	opTime
	opBytes   // in base64
	opStrings // a []string
	opTexts   // a map[string]string
	opSlice
	opArray
	opPointer
	opMap
	opStruct
)

// A node says how values of a type are written and read.
type node struct {
	op       op
	nullable bool // null makes it zero; to others it does nothing
	typ      reflect.Type
	elem     *node
	room     int // elements that a slice begins with
	fields   []field
	byName   map[string]int
}

// A compiler makes nodes, one for each type, so that types may contain themselves.
type compiler struct {
	done    map[reflect.Type]*node
	refused bool
}

func (c *compiler) node(t reflect.Type) *node {
	if n := c.done[t]; n != nil {
		return n
	}
	n := &node{typ: t}
	c.done[t] = n
	switch {
	case t == reflect.TypeFor[time.Time]():
		n.op = opTime
	case t.Kind() != reflect.Pointer && isSpecial(t): // a pointer has the methods of what it points to
		c.refused = true
	default:
		c.fill(n)
	}
	return n
}

func (c *compiler) fill(n *node) {
	switch n.typ.Kind() {
	case reflect.Bool:
		n.op = opBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.op = opInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.op = opUint
	case reflect.Float32:
		n.op = opFloat32
	case reflect.Float64:
		n.op = opFloat64
	case reflect.String:
		n.op = opString
	case reflect.Struct:
		n.op = opStruct
		c.structure(n)
	default:
		c.container(n)
	}
}

func (c *compiler) container(n *node) {
	n.nullable = n.typ.Kind() != reflect.Array
	switch n.typ.Kind() {
	case reflect.Array:
		n.op = opArray
	case reflect.Pointer:
		n.op = opPointer
	case reflect.Slice:
		n.op = sliceOp(n.typ)
		n.room = max(1, smallSlice/max(1, int(n.typ.Elem().Size())))
	case reflect.Map:
		n.op = opMap
		if n.typ == reflect.TypeFor[map[string]string]() {
			n.op = opTexts
		}
		c.refused = c.refused || n.typ.Key().Kind() != reflect.String || isSpecial(n.typ.Key())
	default:
		c.refused = true
		return
	}
	n.elem = c.node(n.typ.Elem())
}

// smallSlice is what the first elements of a slice may take, in bytes.
const smallSlice = 128

func sliceOp(t reflect.Type) op {
	switch {
	case t == reflect.TypeFor[[]string]():
		return opStrings
	case t.Elem().Kind() == reflect.Uint8:
		return opBytes
	}
	return opSlice
}

// isSpecial says whether encoding/json leaves a type to its methods, or has rules of its own for it.
func isSpecial(t reflect.Type) bool {
	return t == reflect.TypeFor[json.Number]() ||
		has[json.Marshaler](t) || has[json.Unmarshaler](t) ||
		has[encoding.TextMarshaler](t) || has[encoding.TextUnmarshaler](t) || has[encoding.TextAppender](t) ||
		isNewlySpecial(reflect.PointerTo(t))
}

func has[I any](t reflect.Type) bool {
	i := reflect.TypeFor[I]()
	return t.Implements(i) || reflect.PointerTo(t).Implements(i)
}

// isNewlySpecial says whether a type has the methods that encoding/json/v2 looks for, and through it the encoding/json that is
// built upon it. The names are constants, so that the linker may still drop unused methods.
func isNewlySpecial(t reflect.Type) bool {
	_, writes := t.MethodByName("MarshalJSONTo")
	_, reads := t.MethodByName("UnmarshalJSONFrom")
	return writes || reads
}
