package dlq

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/typedbus/typedbus/transport"
)

// none stands for a reason or error text that a letter does not have, so that these letters can be asked for.
const none = "(none)"

// A Filter says which letters are meant: those that meet all its conditions. The zero value means every letter where
// letters are only looked at; acts refuse it, because a forgotten condition must not replay or discard everything: say All.
type Filter struct {
	All          bool      // every letter is meant; conditions that are set hold all the same
	IDs          []string  // letter ids; nil: no condition; empty and not nil, as a list that came out empty: no letter
	Reason       string    // as [Exhausted]; "(none)" means letters that have none
	Fingerprint  string    // of the error text, see [Fingerprint]
	Text         string    // somewhere in error text, id, key, headers or body, in upper or lower case
	Since, Until time.Time // Died: at Since or later, and before Until; the zero time is no condition
	MinReplays   int       // replayed so often or more
	MaxReplays   int       // replayed so often or less; 0: no condition; negative: never replayed
}

var errAll = errors.New("the filter is empty: set a condition, or All if every letter is meant")

// meant refuses a filter that may be empty by mistake.
func (f *Filter) meant() error {
	if !f.All && f.words() == "" {
		return errAll
	}
	return nil
}

// match says whether a letter meets the conditions, but for IDs, which say where to look.
func (f *Filter) match(l *Letter) bool {
	switch {
	case f.Reason != "" && f.Reason != orNone(l.Reason),
		!f.Since.IsZero() && l.Died.Before(f.Since),
		!f.Until.IsZero() && !l.Died.Before(f.Until),
		l.Replays < f.MinReplays,
		f.MaxReplays != 0 && l.Replays > max(f.MaxReplays, 0),
		f.Fingerprint != "" && f.Fingerprint != Fingerprint(l.Error):
		return false
	}
	return f.Text == "" || contains(l, f.Text)
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

func contains(l *Letter, text string) bool {
	for _, s := range []string{l.Error, l.ID, l.Key, string(l.Body)} {
		if containsFold(s, text) {
			return true
		}
	}
	return slices.ContainsFunc(l.Headers, func(h transport.Header) bool {
		return containsFold(h.Name, text) || containsFold(h.Value, text)
	})
}

// containsFold is strings.Contains whatever the case, without a copy of s. A text that is no UTF-8 has no case.
func containsFold(s, text string) bool {
	if !utf8.ValidString(text) {
		return strings.Contains(s, text)
	}
	for i := 0; i+len(text) <= len(s); i++ {
		if mayBegin(s[i], text[0]) && strings.EqualFold(s[i:i+len(text)], text) {
			return true
		}
	}
	return false
}

// mayBegin rules most places out.
func mayBegin(c, first byte) bool {
	return c == first || c|first >= utf8.RuneSelf || c|0x20 == first|0x20
}

// words tell the conditions, without the text, which may be a piece of a payload; "" if there is none.
func (f *Filter) words() string {
	var w []string
	add := func(set bool, format string, args ...any) {
		if set {
			w = append(w, fmt.Sprintf(format, args...))
		}
	}
	add(f.IDs != nil, "letters %s", few(f.IDs))
	add(f.Reason != "", "reason %s", f.Reason)
	add(f.Fingerprint != "", "error like %q", f.Fingerprint)
	add(f.Text != "", "a text of %d bytes", len(f.Text))
	add(!f.Since.IsZero(), "since %s", f.Since.UTC().Format(time.RFC3339))
	add(!f.Until.IsZero(), "until %s", f.Until.UTC().Format(time.RFC3339))
	add(f.MinReplays > 0, "replayed %d times or more", f.MinReplays)
	add(f.MaxReplays != 0, "replayed %d times or less", max(f.MaxReplays, 0))
	return strings.Join(w, ", ")
}

// few names the first of some letters.
func few(ids []string) string {
	const shown = 10
	if len(ids) == 0 {
		return none
	}
	s := strings.Join(ids[:min(len(ids), shown)], " ")
	if len(ids) > shown {
		s += fmt.Sprintf(" and %d more", len(ids)-shown)
	}
	return s
}
