package transporttest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestClausesQuoteTheContract keeps the suite and the contract from drifting apart: each clause quotes a sentence that the
// contract has, and each sentence has a clause or a reason why it has none.
func TestClausesQuoteTheContract(t *testing.T) {
	contract := contractSentences(t)
	quoted := map[string]bool{}
	for _, c := range clauses() {
		quoted[c.says] = true
		if !slices.ContainsFunc(contract, func(s sentence) bool { return s.text == c.says }) {
			t.Errorf("clause %s quotes what the contract does not say:\n\t%s", c.name, c.says)
		}
	}
	used := map[string]bool{}
	for _, s := range contract {
		_, declExempt := exemptDecls[s.decl]
		_, textExempt := exemptSentences[s.text]
		used[s.decl], used[s.text] = true, true
		switch {
		case textExempt && quoted[s.text]:
			t.Errorf("this sentence has a clause and needs no exemption:\n\t%s", s.text)
		case !declExempt && !textExempt && !quoted[s.text]:
			t.Errorf("%s: no clause checks this sentence, and it is not exempt:\n\t%s", s.decl, s.text)
		}
	}
	for _, exempt := range []map[string]string{exemptDecls, exemptSentences} {
		for what := range exempt {
			if !used[what] {
				t.Errorf("the contract has nothing like this any more; remove the exemption:\n\t%s", what)
			}
		}
	}
}

func TestClauseNames(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range clauses() {
		if seen[c.name] || len(c.name) > 60 || strings.ContainsAny(c.name, " /_") {
			t.Errorf("clause name %q is taken, too long for a topic name, or no plain word", c.name)
		}
		seen[c.name] = true
	}
}

const (
	helper      = "a function of package transport, proved by that package's own tests"
	definition  = "says what a word means; the promises are elsewhere"
	forCallers  = "binds the caller, not the transport"
	claims      = "a word of middleware and the stores it uses; no method of a transport takes one"
	nothingToDo = "permits something; there is nothing to break"
)

// exemptDecls are declarations none of whose sentences is a promise of a transport.
var exemptDecls = map[string]string{
	"Message.Clone": helper, "NewID": helper, "Headers.Get": helper, "Headers.Lookup": helper, "Headers.Set": helper,
	"Headers.Del": helper, "ValidHeaderName": helper, "CheckName": helper, "Retention.Limits": helper,
	"LetterBound.Limits": helper, "Durability.TimeoutOrDefault": helper, "Durability.Asked": helper, "Group.LeaseOrDefault": helper, "DefaultMaxLen": helper, "DefaultLease": helper,

	"ErrClosed": definition, "ErrLeaseLost": definition, "ErrNoGroup": definition, "ErrPublishUnknown": definition,
	"Outcome": definition, "NotStored": definition, "Stored": definition, "Unknown": definition,
	"Delivery": definition, "Verdict": definition, "Settlement.After": definition, "Settlement.Reason": definition,
	"Settlement.Error": definition, "Staged": definition, "Topic.Name": definition, "Group": definition, "Group.Name": definition,
	"Lag": definition, "Lag.Undelivered": definition, "Lag.Pending": definition, "Lag.Waiting": definition, "Lag.Delayed": definition, "Lag.Dead": definition,
	"Lagger": definition, "Pulse": definition, "DeadLetters": definition, "Subscription": definition,
	"Letter.LetterID": definition, "Letter.Attempt": definition, "Letter.Consumer": definition,
	"LossError": definition, "LossError.What": definition, "LossError.Count": definition, "LossError.From": definition, "LossError.Letters": definition,
	"PublishError.Outcomes": definition, "PublishError.Err": definition, "SettleError": definition, "SettleError.Errs": definition,
	"Message.Key": definition, "Message.ContentType": definition, "Header": definition, "Start": definition,
	"Durability": definition, "Durability.Replicas": definition, "Durability.Timeout": definition, "Durability.OnDisk": definition,
	"DurabilityError.OnDisk": definition, "DurabilityError.Flushed": definition,
	"DurabilityError": definition, "DurabilityError.Want": definition, "DurabilityError.Timeout": definition, "DurabilityError.Err": definition,
	"ErrNoRoom": definition, "ErrNoLetter": definition,
	"Act.ActID": definition, "Act.Time": definition, "Act.Who": definition, "Act.What": definition, "Act.Detail": definition,
	"Act.Count": definition,

	"Claim": claims, "Claim.Key": claims, "Claim.Owner": claims,
}

// exemptSentences are single sentences without a clause.
var exemptSentences = map[string]string{
	"Package transport is the contract between the bus and a message broker.":                                                        definition,
	"A [Transport] stores messages of a [Topic] and hands them to groups.":                                                           definition,
	"A Transport stores messages and hands them to the groups of their topic.":                                                       definition,
	"A Settlement ends a delivery.":                                                                                                  definition,
	"A PublishError tells what became of each message of a Publish that did not store them all, or not on as many servers as asked.": definition,
	"Headers are what travels beside the body.":                                                                                      definition,
	"Retention says how much a topic keeps.":                                                                                         definition,
	"LetterBound says how many dead letters a group keeps, and for how long.":                                                        definition,
	"NotBefore holds delivery back until then.":                                                                                      definition,
	"The comments of this package are the contract.":                                                                                 definition,

	"Each sentence that promises something is a clause of the conformance suite in transporttest, which prints the sentence that an implementation breaks.": "this test proves it",

	"[github.com/typedbus/typedbus/transport/memory] is the model the suite is proved on; [github.com/typedbus/typedbus/transport/redisstream] is the one for production.": definition,

	"LetterArchive is a [DeadLetters] whose letters can also be written, and what is done with them kept on record.": definition,

	"Applications do not call a transport: they use package bus.":                                           forCallers,
	"It must return soon and must not call the subscription.":                                               forCallers,
	"An error other than the context's or [ErrClosed] passes: the caller waits a little and calls again.":   forCallers,
	"Copies of a message may share them, so change them only through Set and Del, which write into a copy.": forCallers,

	"The zero value keeps the newest [DefaultMaxLen] messages.": "a million messages are too many for a suite; Retention.Limits has its own test",
	"The zero value keeps the newest [DefaultMaxLen].":          "a million letters are too many for a suite; LetterBound.Limits has its own test",
	"It never closes a client that it was given.":               "the suite does not know what clients a transport has",

	"Durable, if it asks for any, has Publish wait until as many servers as it says have what it stored.": "needs replicas",
	"It happens some time later than asked, since it is looked at from time to time.":                     nothingToDo,

	"A broker that lives in one process has neither replicas nor disks, and ignores it.": nothingToDo,

	"It is judged by the broker's clock, counted from the publisher's: a message published with NotBefore an hour from now is delivered an hour later even if the two clocks disagree.": "needs two clocks",
}

// A sentence is one of the contract, with the declaration whose comment has it.
type sentence struct{ decl, text string }

// contractSentences reads the comments of package transport.
func contractSentences(t *testing.T) (all []sentence) {
	t.Helper()
	files, err := filepath.Glob("../*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no source of package transport found", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, split("package", f.Doc)...)
		for _, d := range f.Decls {
			all = append(all, declared(d)...)
		}
	}
	return all
}

// declared returns the sentences about one declaration.
func declared(d ast.Decl) (all []sentence) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() {
			return split(receiver(d)+d.Name.Name, d.Doc)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				all = append(all, split(s.Name.Name, d.Doc, s.Doc, s.Comment)...)
				all = append(all, fields(s)...)
			case *ast.ValueSpec:
				all = append(all, split(s.Names[0].Name, s.Doc, s.Comment)...)
				if len(d.Specs) == 1 {
					all = append(all, split(s.Names[0].Name, d.Doc)...)
				}
			}
		}
	}
	return all
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	return typ.(*ast.Ident).Name + "."
}

// fields returns the sentences about the fields of a struct or the methods of an interface.
func fields(s *ast.TypeSpec) (all []sentence) {
	var list *ast.FieldList
	switch typ := s.Type.(type) {
	case *ast.StructType:
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return nil
	}
	for _, f := range list.List {
		if len(f.Names) > 0 {
			all = append(all, split(s.Name.Name+"."+f.Names[0].Name, f.Doc, f.Comment)...)
		}
	}
	return all
}

// split cuts comments into sentences, white space normalised.
func split(decl string, groups ...*ast.CommentGroup) (all []sentence) {
	for _, g := range groups {
		if g == nil {
			continue
		}
		for _, paragraph := range strings.Split(g.Text(), "\n\n") {
			var text []string
			words := strings.Fields(paragraph)
			for i, w := range words {
				text = append(text, w)
				if i == len(words)-1 || strings.HasSuffix(w, ".") && begins(words[i+1]) {
					all = append(all, sentence{decl, strings.Join(text, " ")})
					text = nil
				}
			}
		}
	}
	return all
}

// begins says whether a word can begin a sentence.
func begins(word string) bool {
	return word == "ctx" || word[0] == '[' || unicode.IsUpper(rune(word[0]))
}
