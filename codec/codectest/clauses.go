package codectest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/typedbus/typedbus/codec"
)

func (s Suite[T]) roundTrip() error {
	return s.eachEncoding(func(v T, body []byte) error { return s.decodes(s.Codec.ContentType(), body, v) })
}

func (s Suite[T]) prefix() error {
	return s.eachEncoding(func(v T, _ []byte) error {
		// With room to spare, and too tight: the first may be overwritten, the second must grow.
		for _, spare := range []int{0, 1, 1 << 16} {
			before := []byte("what was there before")
			dst := append(make([]byte, 0, len(before)+spare), before...)
			out, err := s.Codec.Append(dst, v)
			if err != nil {
				return fmt.Errorf("with something in dst, Append fails: %w", err)
			}
			if !bytes.HasPrefix(out, before) {
				return fmt.Errorf("after %q, the %d bytes that Append returns do not start with it", before, len(out))
			}
			if err := s.decodes(s.Codec.ContentType(), out[len(before):], v); err != nil {
				return fmt.Errorf("with something in dst, %w", err)
			}
		}
		return nil
	})
}

func (s Suite[T]) dstKept() error {
	type kept struct{ out, copy []byte }
	var all []kept
	for range 3 {
		for _, v := range s.Values {
			out, err := s.Codec.Append(make([]byte, 0, 1<<10), v)
			if err != nil {
				return err
			}
			all = append(all, kept{out, bytes.Clone(out)})
		}
	}
	for i, k := range all {
		if !bytes.Equal(k.out, k.copy) {
			return fmt.Errorf("the encoding that call %d of Append returned has changed since", i+1)
		}
	}
	return s.dstScribbled()
}

// dstScribbled writes over what Append returned, and expects the next encoding to be sound.
func (s Suite[T]) dstScribbled() error {
	for _, v := range s.Values {
		out, err := s.Codec.Append(nil, v)
		if err != nil {
			return err
		}
		scribble(out[:cap(out)])
		again, err := s.Codec.Append(nil, v)
		if err != nil {
			return err
		}
		scribble(out[:cap(out)])
		if err := s.decodes(s.Codec.ContentType(), again, v); err != nil {
			return fmt.Errorf("after a caller wrote over an earlier result, %w", err)
		}
	}
	return nil
}

func scribble(b []byte) {
	for i := range b {
		b[i] = 0xc1
	}
}

func (s Suite[T]) valueKept() error {
	var decoded []T
	for _, v := range s.Values {
		body, err := s.Codec.Append(nil, v)
		if err != nil {
			return err
		}
		got, err := s.Codec.Decode("", body)
		if err != nil {
			return err
		}
		decoded = append(decoded, got)
	}
	for i, v := range s.Values {
		if !s.Equal(decoded[i], v) {
			return fmt.Errorf("value %d changed when the values after it were encoded and decoded", i+1)
		}
	}
	return nil
}

func (s Suite[T]) bodyUnchanged() error {
	return s.eachEncoding(func(_ T, body []byte) error {
		before := bytes.Clone(body)
		if _, err := s.Codec.Decode("", body); err != nil {
			return err
		}
		if !bytes.Equal(body, before) {
			return errors.New("the body is not the same after Decode")
		}
		return nil
	})
}

func (s Suite[T]) contentType() error {
	own := s.Codec.ContentType()
	if kind, sub, ok := strings.Cut(own, "/"); !ok || kind == "" || sub == "" || strings.ContainsAny(own, " \t\r\n") {
		return fmt.Errorf("the content type is %q", own)
	}
	if again := s.Codec.ContentType(); again != own {
		return fmt.Errorf("the content type is %q first and %q then", own, again)
	}
	return s.eachEncoding(func(v T, body []byte) error {
		for _, declared := range []string{own, strings.ToUpper(own), own + "; charset=utf-8"} {
			if err := s.decodes(declared, body, v); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s Suite[T]) noContentType() error {
	return s.eachEncoding(func(v T, body []byte) error { return s.decodes("", body, v) })
}

func (s Suite[T]) foreignContentType() error {
	if s.AnyContentType {
		return s.eachEncoding(func(v T, body []byte) error { return s.decodes(foreign, body, v) })
	}
	return s.eachEncoding(func(_ T, body []byte) error {
		_, err := s.Codec.Decode(foreign, body)
		refused, ok := errors.AsType[*codec.ContentTypeError](err)
		switch {
		case !ok:
			return fmt.Errorf("for %q Decode returns a %T: %v", foreign, err, err)
		case refused.Got != foreign:
			return fmt.Errorf("for %q the error says that it got %q", foreign, refused.Got)
		case len(refused.Want) == 0:
			return errors.New("the error does not say what is wanted")
		}
		return nil
	})
}

const foreign = "application/x-codectest-foreign"

func (s Suite[T]) concurrent() error {
	const callers = 8
	errs := make([]error, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for range 50 {
				if errs[i] = s.roundTrip(); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// eachEncoding calls f with each value and its encoding.
func (s Suite[T]) eachEncoding(f func(v T, body []byte) error) error {
	for i, v := range s.Values {
		body, err := s.Codec.Append(nil, v)
		if err != nil {
			return fmt.Errorf("value %d: Append fails: %w", i+1, err)
		}
		if err := f(v, body); err != nil {
			return fmt.Errorf("value %d: %w", i+1, err)
		}
	}
	return nil
}

// decodes expects body to decode to v.
func (s Suite[T]) decodes(declared string, body []byte, v T) error {
	got, err := s.Codec.Decode(declared, body)
	if err != nil {
		return fmt.Errorf("with content type %q Decode fails: %w", declared, err)
	}
	if !s.Equal(got, v) {
		return fmt.Errorf("with content type %q Decode returns\n\t%+v, not\n\t%+v", declared, got, v)
	}
	return nil
}
