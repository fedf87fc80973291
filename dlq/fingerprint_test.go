package dlq_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/dlq"
)

func TestFingerprint(t *testing.T) {
	for text, want := range map[string]string{
		"":                                               "(none)",
		"the card was declined":                          "the card was declined",
		"timeout after 31ms on 10.0.0.7":                 "timeout after # on #",
		"timeout after 1m30.5s on 10.0.0.8":              "timeout after # on #",
		"dial tcp 127.0.0.1:6379: refused":               "dial tcp #: refused",
		"dial tcp [::1]:6379: refused":                   "dial tcp [#]:#: refused",
		"dial tcp [2001:db8::ff00:42]:80: no":            "dial tcp [#]:#: no",
		"fe80::1ff:fe23:4567:890a%eth0":                  "#%eth#",
		"order 42, line 7":                               "order #, line #",
		"order #42":                                      "order #",
		"order-42-7 of db12":                             "order-# of db#",
		"balance -995 is under +3.5":                     "balance # is under #",
		"1,234 of 5 bytes":                               "# of # bytes",
		"[1, 2, 3]":                                      "[#]",
		"float 1e-05 and 2.5E+10":                        "float # and #",
		"0xdeadBEEF at 0x1":                              "# at #",
		"commit 0a1b2c3d4e5f60718293a4b5c6d7":            "commit #",
		"id 01HZX3J5K7M9N1P3Q5R7S9T1V3":                  "id #",
		"customer cus_Nf93kA2xLbP7Qz":                    "customer cus_#",
		"mac aa:bb:cc:dd:ee:ff":                          "mac #",
		"event 0190a1b2-c3d4-7e5f-8a9b-abcdefabcdef: no": "event #: no",
		"at 2026-11-23T14:16:59.123+01:00":               "at #",
		"at 2026-11-23T14:16:59Z":                        "at #",
		"at 2026-11-23 14:16:59.123 +0000 UTC":           "at # UTC",
		"at 20261123T141659Z":                            "at #",
		"at Mon, 23 Nov 2026 14:16:59 GMT":               "at # GMT",
		"at Mon Nov  2 14:16:59 2026":                    "at #",
		"Dec 1 and 1-Jan-2026":                           "# and #",
		"Mon calls May":                                  "Mon calls May",
		`no field "a\"b" in "c"`:                         `no field "" in ""`,
		"no `table` for 'x'":                             "no `` for ''",
		"can't find the users' table":                    "can't find the users' table",
		"it isn't 'a b' or 'c'":                          "it isn't '' or ''",
		`an open "quote and 5`:                           `an open "quote and #`,
		"http2: stream closed":                           "http#: stream closed",
		"größe 5 überschritten":                          "größe # überschritten",
		"defaced facade added bad":                       "defaced facade added bad",
		"std::string: a::b":                              "std::string: a::b",
		"main.go:12:5: undefined":                        "main.go:#: undefined",
		"250µs":                                          "#",
		"5 MB of 100MB":                                  "# MB of #MB",
	} {
		assert.Equal(t, want, dlq.Fingerprint(text), "%s", text)
	}
}

// varied are the things that differ from one event to the next.
var varied = map[string]func(t *rapid.T) string{
	"number": func(t *rapid.T) string { return strconv.Itoa(rapid.Int().Draw(t, "n")) },
	"float": func(t *rapid.T) string {
		return fmt.Sprint(rapid.Float32().Draw(t, "f")*0 + float32(rapid.IntRange(-9999, 9999).Draw(t, "n"))/100)
	},
	"duration": func(t *rapid.T) string { return time.Duration(rapid.Int64Min(0).Draw(t, "d")).String() },
	"uuid":     func(t *rapid.T) string { return uuid.UUID(bytesOf(t, 16)).String() },
	"hex":      func(t *rapid.T) string { return fmt.Sprintf("%x", bytesOf(t, rapid.IntRange(4, 32).Draw(t, "len"))) },
	"pointer":  func(t *rapid.T) string { return fmt.Sprintf("%#x", rapid.Uint64().Draw(t, "p")) },
	"quoted":   func(t *rapid.T) string { return strconv.Quote(rapid.String().Draw(t, "s")) },
	"IPv4":     func(t *rapid.T) string { return netip.AddrFrom4([4]byte(bytesOf(t, 4))).String() },
	"IPv4 port": func(t *rapid.T) string {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(bytesOf(t, 4))), rapid.Uint16().Draw(t, "port")).String()
	},
	"IPv6":     func(t *rapid.T) string { return netip.AddrFrom16([16]byte(bytesOf(t, 16))).String() },
	"RFC 3339": func(t *rapid.T) string { return moment(t).Format(time.RFC3339Nano) },
	"RFC 1123": func(t *rapid.T) string { return moment(t).Format(time.RFC1123Z) },
	"ANSI C":   func(t *rapid.T) string { return moment(t).Format(time.ANSIC) },
	"Go time":  func(t *rapid.T) string { return moment(t).Format("2006-01-02 15:04:05.999999999 -0700") },
}

func bytesOf(t *rapid.T, n int) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes") }

func moment(t *rapid.T) time.Time {
	zone := time.FixedZone("", rapid.IntRange(-12, 12).Draw(t, "zone")*3600)
	return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).In(zone)
}

// TestErrorsOfOneKindAreOne: two texts that differ only in such things have one fingerprint, which still has the words.
func TestErrorsOfOneKindAreOne(t *testing.T) {
	for name, draw := range varied {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				words := rapid.SliceOfN(rapid.StringMatching(`[g-z][a-z]{0,6}( [g-z][a-z]{0,6}){0,3}[:=]?`), 2, 4).Draw(t, "words")
				text := func() string {
					var b strings.Builder
					for _, w := range words {
						b.WriteString(w + " " + draw(t) + " ")
					}
					return b.String()
				}
				a, b := text(), text()
				if dlq.Fingerprint(a) != dlq.Fingerprint(b) {
					t.Fatalf("\n%s: %s\n%s: %s", a, dlq.Fingerprint(a), b, dlq.Fingerprint(b))
				}
				for _, w := range words {
					if !strings.Contains(dlq.Fingerprint(a), w) {
						t.Fatalf("%s lost %q: %s", a, w, dlq.Fingerprint(a))
					}
				}
			})
		})
	}
}

// TestALongTextIsReadOnce: where every word, or quote, could begin something long, a second reading from each would never end.
func TestALongTextIsReadOnce(t *testing.T) {
	for _, piece := range []string{"\"\\", "'a ", "`x ", "aaaa:", "aaaaa:", "1.", "1m", "a1", "#, ", "Mon "} {
		text := strings.Repeat(piece, 1<<20/len(piece))
		assert.LessOrEqual(t, len(dlq.Fingerprint(text)), len(text))
	}
}

func FuzzFingerprint(f *testing.F) {
	for _, s := range []string{"", "timeout after 31ms on 10.0.0.7", `"a\`, "'", "::", "#, #", "-5", "Mon, 5", "1e", "0x", "aaaa:", "\xff5", "5µ", "1m2x", "'#'a'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		print := dlq.Fingerprint(s)
		if s != "" && len(print) > len(s) {
			t.Fatalf("%q grew to %q", s, print)
		}
		if print == "" {
			t.Fatalf("%q has none", s)
		}
		if utf8.ValidString(s) && !utf8.ValidString(print) {
			t.Fatalf("%q became %q, which is no text", s, print)
		}
		if strings.ContainsAny(print, "0123456789") {
			t.Fatalf("%q is %q, which has a number", s, print)
		}
	})
}

func BenchmarkFingerprint(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		dlq.Fingerprint("billing: charge 0190a1b2-c3d4-7e5f-8a9b-abcdefabcdef: timeout after 1.5s on 10.0.0.7:443 (attempt 3)")
	}
}
