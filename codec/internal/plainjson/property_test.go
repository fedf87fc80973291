package plainjson_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var basicTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[string](), reflect.TypeFor[status](), reflect.TypeFor[time.Time](), reflect.TypeFor[[]byte](), reflect.TypeFor[[]string](),
	reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](), reflect.TypeFor[time.Duration](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[line](), reflect.TypeFor[map[string]string](),
}

func drawType(t *rapid.T, depth int) reflect.Type {
	if depth == 0 {
		return rapid.SampledFrom(basicTypes).Draw(t, "basic")
	}
	switch rapid.SampledFrom([]string{"basic", "slice", "array", "pointer", "map", "struct", "struct"}).Draw(t, "shape") {
	case "slice":
		return reflect.SliceOf(drawType(t, depth-1))
	case "array":
		return reflect.ArrayOf(rapid.IntRange(0, 3).Draw(t, "len"), drawType(t, depth-1))
	case "pointer":
		return reflect.PointerTo(drawType(t, depth-1))
	case "map":
		return reflect.MapOf(rapid.SampledFrom([]reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[status]()}).Draw(t, "key"), drawType(t, depth-1))
	case "struct":
		var fields []reflect.StructField
		for _, name := range []string{"A", "B", "C", "D"}[:rapid.IntRange(0, 4).Draw(t, "fields")] {
			tag := rapid.SampledFrom([]string{``, `json:"-"`, `json:",omitempty"`, `json:"x_` + name + `,omitempty"`, `json:"y-` + name + `"`, `json:"z` + name + `,omitempty,omitzero"`}).Draw(t, "tag")
			typ := drawType(t, depth-1)
			if _, isTime := reflect.Zero(typ).Interface().(*time.Time); isTime {
				tag = "" // omitzero would ask its method
			} else if name == "A" && tag == "" {
				tag = `json:"-,"` // the name is -
			}
			fields = append(fields, reflect.StructField{Name: name, Type: typ, Tag: reflect.StructTag(tag)})
		}
		return reflect.StructOf(fields)
	}
	return drawType(t, 0)
}

// fill makes a value, at times with what is refused.
func fill(t *rapid.T, v reflect.Value) {
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		*at = time.Unix(rapid.Int64Range(-1<<36, 1<<38).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		if zone := rapid.SampledFrom([]int{0, 3600, -5*3600 - 1800, 61}).Draw(t, "zone"); zone != 0 {
			*at = at.In(time.FixedZone("", zone))
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.String:
		v.SetString(drawText(t))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float"))
	case reflect.Slice:
		if n := rapid.IntRange(-1, 3).Draw(t, "len"); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		fillAll(t, v)
	case reflect.Array:
		fillAll(t, v)
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Map:
		for range rapid.IntRange(0, 3).Draw(t, "len") {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key)
			fill(t, elem)
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		if v.CanInt() {
			v.SetInt(rapid.Int64().Draw(t, "int"))
		} else {
			v.SetUint(rapid.Uint64().Draw(t, "uint"))
		}
	}
}

func fillAll(t *rapid.T, v reflect.Value) {
	for i := range v.Len() {
		fill(t, v.Index(i))
	}
}

func drawText(t *rapid.T) string {
	return rapid.OneOf(rapid.StringN(0, 20, -1), rapid.SampledFrom([]string{"", "a longer text of ASCII", "<&>", "\"\\/", "\u2028\x7f\x00", "\xff", "😀"})).Draw(t, "text")
}

// change does to a body what other producers may do: another order, unknown keys, white space, nulls, and what is wrong.
func change(t *rapid.T, body string) string {
	from := rapid.SampledFrom([]string{`,`, `:`, `{`, `}`, `[`, `"`, `true`, `0`, `1`, `null`, `"A"`, `.`, `e`}).Draw(t, "from")
	to := rapid.SampledFrom([]string{` , `, "\n:\t", `{"u":[1,{"v":"\n"}],`, `{"A":null,`, `{"a":1,`, `null`, `"x"`, `"\u00e9`, `"\ud83d\ude00`, `"\ud83d`, `[null,`, `[]`, `{}`, `-0`, `1e2`, `0.5`, `99999999999999999999`, `"B"`, `,"A":`, ``}).Draw(t, "to")
	parts := strings.SplitAfter(body, from)
	i := rapid.IntRange(0, len(parts)-1).Draw(t, "which")
	parts[i] = strings.Replace(parts[i], from, to, 1)
	return strings.Join(parts, "")
}

// Generated types and values are written, and bodies made from them read, as encoding/json does, and seldom refused.
func TestGeneratedTypes(t *testing.T) {
	written, read := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		typ := drawType(t, 3)
		v := reflect.New(typ)
		fill(t, v.Elem())
		if writesLike(t, v.Elem()) {
			written++
		}
		out, err := json.Marshal(v.Interface())
		if err != nil {
			return
		}
		body := string(out)
		if readsLike(t, typ, []byte(body)) {
			read++
		}
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			body = change(t, body)
			readsLike(t, typ, []byte(body))
		}
	})
	t.Logf("%d written, %d read", written, read)
	if written == 0 || read == 0 {
		t.Error("all refused")
	}
}
