package codec

import (
	"reflect"
	"strings"
)

// fieldNames has the names of all struct fields in t and below, in Go and in tags. They are what errors may name: other
// keys in a body are payload.
func fieldNames(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	addFieldNames(t, names, map[reflect.Type]bool{})
	delete(names, "")
	return names
}

func addFieldNames(t reflect.Type, names map[string]bool, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		addFieldNames(t.Elem(), names, seen)
	case reflect.Map:
		addFieldNames(t.Key(), names, seen)
		addFieldNames(t.Elem(), names, seen)
	case reflect.Struct:
		for f := range t.Fields() {
			names[f.Name] = true
			for _, key := range []string{"msgpack", "json"} {
				name, _, _ := strings.Cut(f.Tag.Get(key), ",")
				names[name] = true
			}
			addFieldNames(f.Type, names, seen)
		}
	}
}

// knownPath leaves of a path, as "Items.Price", only what names fields of t.
func knownPath(t reflect.Type, path string) string {
	names := fieldNames(t)
	var known []string
	for part := range strings.SplitSeq(path, ".") {
		if names[part] {
			known = append(known, part)
		}
	}
	return strings.Join(known, ".")
}
