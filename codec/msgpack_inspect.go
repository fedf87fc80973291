package codec

import (
	"fmt"
	"reflect"
	"sync"
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
	if !v.IsValid() {
		return ""
	}
	p := planOf(v.Type())
	if p.nothing {
		return ""
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if i.hops++; i.hops > 10*maxDepth {
			return fmt.Sprintf("a %v contains itself", v.Type())
		}
		return i.value(v.Elem())
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		if i.depth++; i.depth > maxDepth {
			return "nested deeper than 64 levels, or a value that contains itself"
		}
		return i.parts(v, p)
	}
	return fmt.Sprintf("%v has no form in MessagePack", v.Type())
}

func (i inspector) parts(v reflect.Value, p *inspectionPlan) string {
	var reason string
	switch v.Kind() {
	case reflect.Struct:
		for j := 0; j < len(p.fields) && reason == ""; j++ {
			reason = i.value(v.Field(p.fields[j]))
		}
	case reflect.Map:
		for entry := v.MapRange(); reason == "" && entry.Next(); {
			if reason = i.value(entry.Key()); reason == "" {
				reason = i.value(entry.Value())
			}
		}
	default:
		for j := 0; j < v.Len() && reason == ""; j++ {
			reason = i.value(v.Index(j))
		}
	}
	return reason
}

// An inspectionPlan says where in the values of a type there is something to find.
type inspectionPlan struct {
	nothing bool  // nowhere: the type is plain, or encodes itself
	fields  []int // of a struct
}

var inspectionPlans sync.Map // of reflect.Type to *inspectionPlan

func planOf(t reflect.Type) *inspectionPlan {
	if p, ok := inspectionPlans.Load(t); ok {
		return p.(*inspectionPlan)
	}
	p := &inspectionPlan{nothing: encodesItself(t) || !suspicious(t, map[reflect.Type]bool{})}
	if t.Kind() == reflect.Struct && !p.nothing {
		for j := range t.NumField() {
			f := t.Field(j)
			if !fieldTag(f).skip && suspicious(f.Type, map[reflect.Type]bool{t: true}) {
				p.fields = append(p.fields, j)
			}
		}
	}
	inspectionPlans.Store(t, p)
	return p
}
