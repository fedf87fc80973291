package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEachWarningIsExplained: what the library logs at Warn and Error is in docs/operations.md.
func TestEachWarningIsExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	require.NoError(t, err)
	seen := 0
	for _, dir := range []string{"bus", "dlq", "middleware", "transport/memory", "transport/redisstream"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			for _, warning := range warningsOf(f) {
				seen++
				assert.True(t, strings.Contains(string(text), "`"+warning), "%s logs %q", file, warning)
			}
		}
	}
	assert.Greater(t, seen, 15)
}

// warningsOf are the texts of a file that are given to Warn and Error of a logger, up to what says more after a semicolon at
// the end of a line, and what troubles are called.
func warningsOf(f *ast.File) (texts []string) {
	add := func(e ast.Expr) {
		for {
			b, ok := e.(*ast.BinaryExpr)
			if !ok {
				break
			}
			e = b.X
		}
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				texts = append(texts, strings.TrimSuffix(s, "; "))
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && len(n.Args) > 0 && (sel.Sel.Name == "Warn" || sel.Sel.Name == "Error") {
				add(n.Args[0])
			}
		case *ast.CompositeLit:
			if kind, ok := n.Type.(*ast.Ident); ok && (kind.Name == "trouble" || kind.Name == "seldom") {
				add(n.Elts[0].(*ast.KeyValueExpr).Value)
			}
		}
		return true
	})
	return texts
}
