package claimtest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// exempt are sentences of the contract without a clause.
var exempt = map[string]string{
	"Claims keeps, for [Idempotent], what is being handled and what was.":                                                                                       "says what it is",
	"Time is the store's own, so that clocks of processes need not agree.":                                                                                      "needs two clocks",
	"After an error a call may have happened or not, and may be made again.":                                                                                    "permits something; there is nothing to break",
	"Redis ([transport/redisstream]), memory ([NewMemoryClaims]) and SQL (middleware/sqlclaims) implement it; middleware/claimtest executes what is said here.": "this test proves it",
	"[transport/redisstream]: https://pkg.go.dev/github.com/typedbus/typedbus/transport/redisstream":                                                            "a link",
}

// TestClausesQuoteTheContract keeps the suite and the contract from drifting apart.
func TestClausesQuoteTheContract(t *testing.T) {
	contract := sentences(t)
	quoted := map[string]bool{}
	for _, c := range clauses {
		quoted[c.says] = true
		if !slices.Contains(contract, c.says) {
			t.Errorf("clause %s quotes what the contract does not say:\n\t%s", c.name, c.says)
		}
	}
	for _, s := range contract {
		if _, ok := exempt[s]; ok == quoted[s] {
			t.Errorf("this sentence needs a clause, or an exemption, and not both:\n\t%s", s)
		}
	}
	for s := range exempt {
		if !slices.Contains(contract, s) {
			t.Errorf("the contract has nothing like this any more; remove the exemption:\n\t%s", s)
		}
	}
}

func TestClauseNames(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range clauses {
		if seen[c.name] || len(c.name) > 60 || strings.ContainsAny(c.name, " /_") {
			t.Errorf("clause name %q is taken, too long for a topic name, or no plain word", c.name)
		}
		seen[c.name] = true
	}
}

// sentences cuts the comments of Claims and its methods into sentences, white space normalised.
func sentences(t *testing.T) (all []string) {
	t.Helper()
	src, err := os.ReadFile("../claims.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(src), "\n)\n")
	text, _, ends := strings.Cut(text, "\n}\n")
	if !found || !ends {
		t.Fatal("../claims.go has not the imports and the interface that are expected")
	}
	var words []string
	for line := range strings.Lines(text + "\n") {
		comment, is := strings.CutPrefix(strings.TrimSpace(line), "//")
		if is && strings.TrimSpace(comment) != "" {
			words = append(words, strings.Fields(comment)...)
			continue
		}
		all = append(all, split(words)...) // a paragraph ends
		words = nil
	}
	return all
}

func split(words []string) (all []string) {
	begin := 0
	for i, w := range words {
		if i == len(words)-1 || strings.HasSuffix(w, ".") && unicode.IsUpper(rune(words[i+1][0])) {
			all = append(all, strings.Join(words[begin:i+1], " "))
			begin = i + 1
		}
	}
	return all
}
