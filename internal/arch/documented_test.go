package arch

import (
	"go/ast"
	"path"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// speakForThemselves are methods whose meaning an interface of the standard library has fixed.
var speakForThemselves = []string{"Error", "Is", "String", "Unwrap"}

var documented = rule{
	name:    "documented",
	says:    "every exported identifier has a doc comment",
	instead: "say above it what it is for, what it costs and when not to use it, or make it private",
	find: func(s *source) (breaches []string) {
		if s.inTestFile() || s.ast.Name.Name == "main" {
			return nil
		}
		missed := func(name string, at ast.Node) {
			breaches = append(breaches, s.breach(at, "%s has no comment", name))
		}
		for _, d := range s.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				checkFunc(d, missed)
			case *ast.GenDecl:
				checkGroup(d, missed)
			}
		}
		return breaches
	},
}

func checkFunc(f *ast.FuncDecl, missed func(string, ast.Node)) {
	if f.Doc != nil || !f.Name.IsExported() {
		return
	}
	if f.Recv == nil {
		missed(f.Name.Name, f)
		return
	}
	t := receiver(f.Recv.List[0].Type)
	if t.IsExported() && !slices.Contains(speakForThemselves, f.Name.Name) {
		missed(t.Name+"."+f.Name.Name, f)
	}
}

// receiver finds the T of T, *T and *T[P].
func receiver(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e
	}
	return ast.NewIdent("_")
}

// checkGroup looks at the types, constants and variables of a declaration. A comment above a group speaks for all of it.
func checkGroup(d *ast.GenDecl, missed func(string, ast.Node)) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			bare := d.Doc == nil && spec.Doc == nil && spec.Comment == nil
			if bare && spec.Name.IsExported() {
				missed(spec.Name.Name, spec)
			}
			checkMethods(spec, missed)
		case *ast.ValueSpec:
			bare := d.Doc == nil && spec.Doc == nil && spec.Comment == nil
			if bare && slices.ContainsFunc(spec.Names, (*ast.Ident).IsExported) {
				missed(spec.Names[0].Name, spec)
			}
		}
	}
}

func checkMethods(spec *ast.TypeSpec, missed func(string, ast.Node)) {
	iface, ok := spec.Type.(*ast.InterfaceType)
	if !ok || !spec.Name.IsExported() {
		return
	}
	for _, m := range iface.Methods.List {
		if m.Doc == nil && m.Comment == nil && slices.ContainsFunc(m.Names, (*ast.Ident).IsExported) {
			missed(spec.Name.Name+"."+m.Names[0].Name, m)
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	report(t, "every package says in a comment what it is for",
		"add doc.go with a comment above the package clause", withoutComment(readSources(t)))
}

func withoutComment(sources []*source) (dirs []string) {
	says := map[string]bool{}
	for _, s := range sources {
		if !s.inTestFile() {
			says[s.dir()] = says[s.dir()] || s.ast.Doc != nil
		}
	}
	for dir, ok := range says {
		if !ok {
			dirs = append(dirs, path.Join(module, dir))
		}
	}
	slices.Sort(dirs)
	return dirs
}

func TestPackageWithoutCommentIsFound(t *testing.T) {
	a, _ := parse("a/a.go", "package a")
	b, _ := parse("b/b.go", "// Package b has one.\npackage b")
	assert.Equal(t, []string{module + "/a"}, withoutComment([]*source{a, b}))
}

var documentedSamples = []sample{
	{documented, "bus/x.go", "package bus\nfunc F() {}", "F has no comment"},
	{documented, "bus/x.go", "package bus\ntype T struct{}", "T has no comment"},
	{documented, "bus/x.go", "package bus\nvar (\n\t// A is documented.\n\tA = 1\n\tB = 2\n)", "bus/x.go:5: B has no comment"},
	{documented, "bus/x.go", "package bus\n// T is an interface.\ntype T interface{ Do(); hidden() }", "T.Do has no comment"},
	{documented, "bus/x.go", "package bus\n// T is a type.\ntype T struct{}\nfunc (t *T) Do() {}", "T.Do has no comment"},
	{documented, "bus/x.go", "package bus\n// T is a type.\ntype T[P any] struct{}\nfunc (t *T[P]) Do() {}", "T.Do has no comment"},
	{documented, "bus/x.go", "package bus\ntype t struct{}\nfunc (t t) Do() {}\nfunc f() {}", ""},
	{documented, "bus/x.go", "package bus\n// E is an error.\ntype E struct{}\nfunc (E) Error() string { return \"\" }", ""},
	{documented, "bus/x.go", "package bus\n// States of a thing.\nconst (\n\tOpen = iota\n\tShut // is not open\n)", ""},
}
