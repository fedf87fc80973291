package plainjson

import "reflect"

func (r *reader) structure(n *node, v reflect.Value) {
	next := 0
	for more := r.first('}'); more; more = r.more('}') {
		key := r.key()
		i := n.find(key, next)
		switch {
		case i >= 0:
			f := &n.fields[i]
			r.value(f.node, v.Field(f.index))
			next = i + 1
		case n.resembles(key):
			r.refuse()
		default:
			r.skip()
		}
	}
}

func (r *reader) mapping(n *node, v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(n.typ))
	}
	key, elem := reflect.New(n.typ.Key()).Elem(), reflect.New(n.elem.typ).Elem()
	for more := r.first('}'); more; more = r.more('}') {
		key.SetString(string(r.key()))
		elem.SetZero()
		r.value(n.elem, elem)
		v.SetMapIndex(key, elem)
	}
}

func (r *reader) texts(v reflect.Value) {
	m, ok := reflect.TypeAssert[*map[string]string](v.Addr())
	if !ok {
		r.refuse()
		return
	}
	if *m == nil {
		*m = map[string]string{}
	}
	for more := r.first('}'); more; more = r.more('}') {
		key := string(r.key())
		(*m)[key] = r.string()
	}
}

// string reads a string or null.
func (r *reader) string() string {
	switch r.peek() {
	case '"':
		return string(r.text())
	case 'n':
		r.word("null")
	default:
		r.refuse()
	}
	return ""
}

// strings refuses a list that is there already, from a key that came before: its elements would show through where there is null.
func (r *reader) strings(v reflect.Value) {
	list, ok := reflect.TypeAssert[*[]string](v.Addr())
	if !ok || *list != nil {
		r.refuse()
		return
	}
	var few [8]string
	found := few[:0]
	for more := r.first(']'); more; more = r.more(']') {
		found = append(found, r.string())
	}
	*list = make([]string, len(found))
	copy(*list, found)
}

// slice refuses a list that is there already, as strings does.
func (r *reader) slice(n *node, v reflect.Value) {
	if !v.IsNil() {
		r.refuse()
		return
	}
	i := 0
	for more := r.first(']'); more; more = r.more(']') {
		if i == 0 {
			v.Grow(n.room)
		} else if i == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(i + 1)
		r.value(n.elem, v.Index(i))
		i++
	}
	if i == 0 {
		v.Set(reflect.MakeSlice(n.typ, 0, 0))
	}
}

// array leaves out what is too much, and zeroes what is not there.
func (r *reader) array(n *node, v reflect.Value) {
	i := 0
	for more := r.first(']'); more; more = r.more(']') {
		if i < v.Len() {
			r.value(n.elem, v.Index(i))
		} else {
			r.skip()
		}
		i++
	}
	for ; i < v.Len(); i++ {
		v.Index(i).SetZero()
	}
}
