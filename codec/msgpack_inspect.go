package codec

import (
	"fmt"
	"reflect"
)

// inspects tells whether values of type t have to be inspected before they are encoded, and their encoding checked:
// where t has interfaces, contains itself, has kinds or options that are not supported, has methods that write the
// encoding, or elements that are large in Go. Most types of events need none of it.
func inspects(t reflect.Type) bool {
	return shapeOf(t) != nil || suspicious(t, map[reflect.Type]bool{})
}

// suspicious looks for such a part in t; above has the types that contain t.
func suspicious(t reflect.Type, above map[reflect.Type]bool) bool {
	if above[t] || writesItself(t) || len(above) > maxDepth {
		return true
	}
	if encodesItself(t) {
		return false
	}
	above[t] = true
	defer delete(above, t)
	switch t.Kind() {
	case reflect.Interface, reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.Uintptr,
		reflect.UnsafePointer:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return suspicious(t.Elem(), above)
	case reflect.Map:
		return suspicious(t.Key(), above) || suspicious(t.Elem(), above)
	case reflect.Struct:
		for f := range t.Fields() {
			if tag := fieldTag(f); !tag.skip && (tag.intern || suspicious(f.Type, above)) {
				return true
			}
		}
	}
	return false
}

// inspect returns why v cannot be encoded, or "". The library follows a value that contains itself until the stack
// overflows, which no recover can stop.
func inspect(v reflect.Value) string { return inspector{}.value(v) }

// An inspector knows how deep it is. Pointers and interfaces have no level in the encoding, but may form circles too.
type inspector struct {
	depth, hops int
}

func (i inspector) value(v reflect.Value) string {
	if !v.IsValid() || encodesItself(v.Type()) {
		return ""
	}
	switch v.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.Uintptr, reflect.UnsafePointer:
		return fmt.Sprintf("%v has no form in MessagePack", v.Type())
	case reflect.Pointer, reflect.Interface:
		if i.hops++; i.hops > 10*maxDepth {
			return fmt.Sprintf("a %v contains itself", v.Type())
		}
		return i.value(v.Elem())
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		if i.depth++; i.depth > maxDepth {
			return "nested deeper than 64 levels, or a value that contains itself"
		}
		return i.parts(v)
	}
	return ""
}

func (i inspector) parts(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Map:
		for key, elem := range v.Seq2() {
			if reason := i.either(key, elem); reason != "" {
				return reason
			}
		}
	case reflect.Struct:
		return i.fields(v)
	default:
		return i.list(v)
	}
	return ""
}

func (i inspector) either(key, elem reflect.Value) string {
	if reason := i.value(key); reason != "" {
		return reason
	}
	return i.value(elem)
}

func (i inspector) fields(v reflect.Value) string {
	for f := range v.Type().Fields() {
		if fieldTag(f).skip {
			continue
		}
		if reason := i.value(v.FieldByIndex(f.Index)); reason != "" {
			return reason
		}
	}
	return ""
}

func (i inspector) list(v reflect.Value) string {
	if plainKind(v.Type().Elem().Kind()) {
		return "" // numbers and strings: nothing to find, and they may be many
	}
	for j := range v.Len() {
		if reason := i.value(v.Index(j)); reason != "" {
			return reason
		}
	}
	return ""
}

func plainKind(k reflect.Kind) bool {
	return k == reflect.String || k >= reflect.Bool && k <= reflect.Uint64 || k == reflect.Float32 || k == reflect.Float64
}
