package arch

import (
	"go/ast"
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// roots are the functions that may make a context out of nothing, and why.
var roots = []struct{ file, fn, why string }{
	{"transport/redisstream/open.go", "New", "what a transport does on its own, as moving delayed events, ends with Close and not with a call"},
}

var noBackground = rule{
	name:    "no background",
	says:    "no context.Background or context.TODO outside main and tests: work that nobody can end outlives the drain",
	instead: "take ctx as the first parameter; for what must happen after its end, derive with context.WithoutCancel",
	find: func(s *source) (breaches []string) {
		if s.inTest() || s.ast.Name.Name == "main" {
			return nil
		}
		for call, fn := range s.calls("context", "Background", "TODO") {
			if !isRoot(s.path, fn) {
				breaches = append(breaches, s.breach(call, "%s makes a context out of nothing", fn))
			}
		}
		return breaches
	},
}

func isRoot(file, fn string) bool {
	for _, r := range roots {
		if r.file == file && r.fn == fn {
			return true
		}
	}
	return false
}

func TestEveryRootIsStillThere(t *testing.T) {
	var found []string
	for _, s := range readSources(t) {
		for _, fn := range s.calls("context", "Background", "TODO") {
			found = append(found, s.path+" "+fn)
		}
	}
	for _, r := range roots {
		assert.True(t, slices.Contains(found, r.file+" "+r.fn), "%s %s: the exception is not needed any more: remove its row from roots in internal/arch/habits_test.go", r.file, r.fn)
	}
}

var noSleep = rule{
	name:    "no sleep",
	says:    "no time.Sleep: in code it ignores the context, in tests it is slow or flaky",
	instead: "wait for a timer, a channel and ctx in one select; in tests run in a testing/synctest bubble or wait for the state itself",
	find: func(s *source) (breaches []string) {
		if s.inTest() && s.imports("testing/synctest") {
			return nil
		}
		for call, fn := range s.calls("time", "Sleep") {
			breaches = append(breaches, s.breach(call, "%s sleeps", fn))
		}
		return breaches
	},
}

// calls yields each use of pkg.name and the function around it.
func (s *source) calls(pkg string, names ...string) iter.Seq2[ast.Node, string] {
	return func(yield func(ast.Node, string) bool) {
		for _, d := range s.ast.Decls {
			around := "a package variable"
			if fn, ok := d.(*ast.FuncDecl); ok {
				around = fn.Name.Name
			}
			for n := range ast.Preorder(d) {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !slices.Contains(names, sel.Sel.Name) {
					continue
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == s.localName(pkg) && !yield(sel, around) {
					return
				}
			}
		}
	}
}

var grabBags = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base"}

var noGrabBag = rule{
	name:    "no grab bag",
	says:    "a package is named for what it does, and no package is a place for what has no place",
	instead: "name it for its job, or put the functions where they are used",
	find: func(s *source) []string {
		if slices.Contains(grabBags, s.ast.Name.Name) {
			return []string{s.breach(s.ast.Name, "package %s", s.ast.Name.Name)}
		}
		return nil
	},
}

const importContext = "import \"context\"\n"

var habitSamples = []sample{
	{noBackground, "bus/x.go", "package bus\n" + importContext + "func f() { g(context.Background()) }", "bus/x.go:3: f makes a context"},
	{noBackground, "bus/x.go", "package bus\nimport c \"context\"\nvar root = c.TODO()", "a package variable makes"},
	{noBackground, "examples/a/x.go", "package main\n" + importContext + "func main() { g(context.Background()) }", ""},
	{noBackground, "bus/x_test.go", "package bus\n" + importContext + "func f() { g(context.Background()) }", ""},
	{noBackground, "bus/x.go", "package bus\ntype s struct{ context s2 }\nfunc (s s) f() { context := s.context; context.Background() }", ""},
	{noSleep, "bus/x.go", "package bus\nimport \"time\"\nfunc f() { time.Sleep(1) }", "f sleeps"},
	{noSleep, "bus/x_test.go", "package bus\nimport \"time\"\nfunc f() { time.Sleep(1) }", "f sleeps"},
	{noSleep, "bus/x_test.go", "package bus\nimport (\"time\"; \"testing/synctest\")\nfunc f() { time.Sleep(1); synctest.Wait() }", ""},
	{noGrabBag, "internal/util/x.go", "package util", "package util"},
	{noGrabBag, "internal/schedule/x.go", "package schedule", ""},
}
