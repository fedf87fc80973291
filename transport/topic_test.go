package transport

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"", "a", "orders.placed", ".a", "-a", "_a", "a b", "a:b", "{a}", "ä", "a\n", "0", strings.Repeat("a", 128), strings.Repeat("a", 129)} {
		f.Add(s)
	}
	good := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\z`)
	f.Fuzz(func(t *testing.T, name string) {
		err := CheckName("topic", name)
		if (err == nil) != good.MatchString(name) {
			t.Fatalf("%q: %v", name, err)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}

func TestCheckNameSaysWhatToDo(t *testing.T) {
	require.EqualError(t, CheckName("group", "a b"), `bad group name "a b": use a letter or digit, then up to 127 letters, digits, '.', '_' or '-'`)
	require.Less(t, len(CheckName("topic", strings.Repeat("\x00", 100_000)).Error()), 1000)
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		give   Retention
		maxLen int64
		maxAge time.Duration
	}{
		"the zero value keeps the newest million": {Retention{}, DefaultMaxLen, 0},
		"hard alone changes nothing":              {Retention{Hard: true}, DefaultMaxLen, 0},
		"a length":                                {Retention{MaxLen: 5}, 5, 0},
		"an age, and no length":                   {Retention{MaxAge: time.Hour}, 0, time.Hour},
		"both":                                    {Retention{MaxLen: 5, MaxAge: time.Hour}, 5, time.Hour},
		"no limit":                                {Retention{MaxLen: -1}, 0, 0},
		"no length, but an age":                   {Retention{MaxLen: -1, MaxAge: time.Hour}, 0, time.Hour},
		"a negative age is none":                  {Retention{MaxAge: -time.Hour}, DefaultMaxLen, 0},
	} {
		t.Run(name, func(t *testing.T) {
			maxLen, maxAge := c.give.Limits()
			require.Equal(t, c.maxLen, maxLen)
			require.Equal(t, c.maxAge, maxAge)
		})
	}
}

func TestLetterLimits(t *testing.T) {
	for name, c := range map[string]struct {
		give   LetterBound
		maxLen int64
		maxAge time.Duration
	}{
		"the zero value keeps the newest million": {LetterBound{}, DefaultMaxLen, 0},
		"a length":                     {LetterBound{MaxLen: 5}, 5, 0},
		"an age limits the length too": {LetterBound{MaxAge: time.Hour}, DefaultMaxLen, time.Hour},
		"both":                         {LetterBound{MaxLen: 5, MaxAge: time.Hour}, 5, time.Hour},
		"no limit":                     {LetterBound{MaxLen: -1}, 0, 0},
		"no length, but an age":        {LetterBound{MaxLen: -1, MaxAge: time.Hour}, 0, time.Hour},
		"a negative age is none":       {LetterBound{MaxAge: -time.Hour}, DefaultMaxLen, 0},
		"a length and a negative age":  {LetterBound{MaxLen: 5, MaxAge: -time.Hour}, 5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			maxLen, maxAge := c.give.Limits()
			require.Equal(t, c.maxLen, maxLen)
			require.Equal(t, c.maxAge, maxAge)
		})
	}
}

func TestLeaseOrDefault(t *testing.T) {
	require.Equal(t, DefaultLease, Group{}.LeaseOrDefault())
	require.Equal(t, DefaultLease, Group{Lease: -1}.LeaseOrDefault())
	require.Equal(t, time.Second, Group{Lease: time.Second}.LeaseOrDefault())
}
