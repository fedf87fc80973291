package docs

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// imports are what a snippet may use without saying so.
var imports = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "os": "os", "signal": "os/signal", "slog": "log/slog",
	"sql": "database/sql", "tls": "crypto/tls", "x509": "crypto/x509", "strings": "strings", "synctest": "testing/synctest", "testing": "testing", "time": "time", "http": "net/http",
	"redis":       "github.com/redis/go-redis/v9",
	"bus":         "github.com/typedbus/typedbus/bus",
	"bustest":     "github.com/typedbus/typedbus/bus/bustest",
	"codec":       "github.com/typedbus/typedbus/codec",
	"compress":    "github.com/typedbus/typedbus/middleware/compress",
	"dlq":         "github.com/typedbus/typedbus/dlq",
	"memory":      "github.com/typedbus/typedbus/transport/memory",
	"middleware":  "github.com/typedbus/typedbus/middleware",
	"redisrate":   "github.com/typedbus/typedbus/middleware/redisrate",
	"redisstream": "github.com/typedbus/typedbus/transport/redisstream",
	"sqlclaims":   "github.com/typedbus/typedbus/middleware/sqlclaims",
	"telemetry":   "github.com/typedbus/typedbus/middleware/telemetry",
	"transport":   "github.com/typedbus/typedbus/transport",
}

// A snippet is a block of Go in a document.
type snippet struct{ where, code string }

var fence = regexp.MustCompile("(?ms)^```go\n(.*?)^```")

func snippetsOf(t *testing.T, document string) (ss []snippet) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, document))
	require.NoError(t, err)
	for _, at := range fence.FindAllSubmatchIndex(text, -1) {
		line := 1 + strings.Count(string(text[:at[0]]), "\n")
		ss = append(ss, snippet{fmt.Sprintf("%s:%d", document, line), string(text[at[2]:at[3]])})
	}
	return ss
}

// file makes a Go file of a snippet: declarations as they are, anything else in a function.
func (s snippet) file(t *testing.T, prelude string) string {
	t.Helper()
	code := regexp.MustCompile(`(?m)^\s*\.\.\.\n`).ReplaceAllString(s.code, "") // what the document leaves out
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package snippet\n"+code, 0); err != nil {
		code = "func _() {\n" + indented(code) + "}\n"
	}
	all := "package snippet\n" + code + without(t, prelude, declared(t, code))
	for name, path := range imports {
		if regexp.MustCompile(`(^|[^.\w])` + name + `\.[A-Z]`).MatchString(all) {
			all = strings.Replace(all, "package snippet\n", fmt.Sprintf("package snippet\nimport %q\n", path), 1)
		}
	}
	formatted, err := format.Source([]byte(all))
	require.NoError(t, err, "%s does not parse", s.where)
	return string(formatted)
}

// indented turns a bare expression into a statement.
func indented(code string) string {
	if _, err := parser.ParseExpr(strings.TrimSpace(code)); err == nil && !strings.HasSuffix(strings.TrimSpace(code), ")") {
		return "_ = " + code
	}
	return code
}

// declared are the names that code declares at its top.
func declared(t *testing.T, code string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "", "package snippet\n"+code, 0)
	require.NoError(t, err)
	for name := range f.Scope.Objects {
		names = append(names, name)
	}
	return names
}

// without returns the prelude's declarations but for those of the names given.
func without(t *testing.T, prelude string, names []string) string {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "prelude.txt", prelude, 0)
	require.NoError(t, err)
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok {
			g.Specs = slices.DeleteFunc(g.Specs, func(s ast.Spec) bool {
				switch s := s.(type) {
				case *ast.TypeSpec:
					return slices.Contains(names, s.Name.Name)
				case *ast.ValueSpec:
					return slices.ContainsFunc(s.Names, func(n *ast.Ident) bool { return slices.Contains(names, n.Name) })
				}
				return false
			})
		}
	}
	f.Decls = slices.DeleteFunc(f.Decls, func(d ast.Decl) bool {
		g, ok := d.(*ast.GenDecl)
		return ok && len(g.Specs) == 0
	})
	var w strings.Builder
	require.NoError(t, format.Node(&w, fset, f))
	return strings.TrimPrefix(w.String(), "package snippet\n")
}

// TestSnippetsCompile makes a package of each block of Go in the documents, in a module beside this one, and builds all.
func TestSnippetsCompile(t *testing.T) {
	prelude, err := os.ReadFile("testdata/prelude.txt")
	require.NoError(t, err)
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	dir := moduleBeside(t)
	where := map[string]string{}
	for _, document := range append(documents, filepath.Join(root, "README.md")) {
		name, err := filepath.Rel(root, document)
		require.NoError(t, err)
		for _, s := range snippetsOf(t, name) {
			pkg := fmt.Sprintf("s%d", len(where))
			where[pkg] = s.where
			require.NoError(t, os.Mkdir(filepath.Join(dir, pkg), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, pkg, "snippet.go"), []byte(s.file(t, string(prelude))), 0o644))
		}
	}
	require.NotEmpty(t, where)
	build := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "./...")
	build.Dir = dir
	out, _ := build.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		pkg, _, _ := strings.Cut(line, "/")
		if strings.HasPrefix(line, "#") || strings.Contains(line, "declared and not used") || strings.Contains(line, "imported and not used") {
			continue
		}
		assert.Fail(t, "a snippet does not compile", "%s: %s", where[pkg], line)
	}
}

// moduleBeside makes a module that sees this one as its users do.
func moduleBeside(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	abs, err := filepath.Abs(root)
	require.NoError(t, err)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	text := strings.Replace(string(mod), "module github.com/typedbus/typedbus", "module snippets", 1) +
		"\nrequire github.com/typedbus/typedbus v0.0.0\nreplace github.com/typedbus/typedbus => " + abs + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o644))
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644))
	return dir
}
