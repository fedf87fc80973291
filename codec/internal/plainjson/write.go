package plainjson

import (
	"encoding/base64"
	"math"
	"reflect"
	"strconv"
	"time"
)

// A writer remembers what does not go into the output.
type writer struct {
	depth   int
	refused bool
}

// value appends v. After a refusal it does nothing, so that pointers that go round end.
func (w *writer) value(dst []byte, n *node, v reflect.Value) []byte {
	switch n.op {
	case opBool:
		return strconv.AppendBool(dst, v.Bool())
	case opInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case opUint:
		return strconv.AppendUint(dst, v.Uint(), 10)
	case opFloat32:
		return w.float(dst, v.Float(), 32)
	case opFloat64:
		return w.float(dst, v.Float(), 64)
	case opString:
		return w.text(dst, v.String())
	case opTime:
		return w.time(dst, v)
	}
	if n.nullable && v.IsNil() {
		return append(dst, "null"...)
	}
	w.depth++
	if w.depth > maxDepth {
		w.refused = true
	}
	if !w.refused {
		dst = w.container(dst, n, v)
	}
	w.depth--
	return dst
}

func (w *writer) container(dst []byte, n *node, v reflect.Value) []byte {
	switch n.op {
	case opPointer:
		return w.value(dst, n.elem, v.Elem())
	case opStruct:
		return w.structure(dst, n, v)
	case opMap:
		return w.mapping(dst, n, v)
	case opTexts:
		return w.texts(dst, v)
	case opStrings:
		return w.strings(dst, v)
	case opBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, '"')
	}
	return w.list(dst, n, v)
}

func (w *writer) time(dst []byte, v reflect.Value) []byte {
	t, ok := reflect.TypeAssert[time.Time](v)
	out, err := t.AppendText(append(dst, '"'))
	if !ok || err != nil {
		w.refused = true
		return dst
	}
	return append(out, '"')
}

// float writes as encoding/json does: like %g, with other limits for exponents, and these without a leading zero.
func (w *writer) float(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.refused = true
		return dst
	}
	abs := math.Abs(f)
	tiny, huge := abs < 1e-6, abs >= 1e21
	if bits == 32 {
		tiny, huge = float32(abs) < 1e-6, float32(abs) >= 1e21
	}
	if abs == 0 || !tiny && !huge {
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
	if n := len(dst); dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
