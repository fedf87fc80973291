package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	module = "github.com/typedbus/typedbus"
)

// source is one Go file of the repository.
type source struct {
	path  string // from the root of the repository
	apart bool   // in a module of its own, which may import what it likes from elsewhere
	fset  *token.FileSet
	ast   *ast.File
}

func parse(name string, text any) (*source, error) {
	s := &source{path: filepath.ToSlash(name), fset: token.NewFileSet()}
	var err error
	s.ast, err = parser.ParseFile(s.fset, s.path, text, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}

func (s *source) dir() string { return path.Dir(s.path) }

// inTest says whether the code runs in tests only: _test.go files, and test kits, whose names end in "test".
func (s *source) inTest() bool {
	return strings.HasSuffix(s.path, "_test.go") || strings.HasSuffix(s.dir(), "test")
}

func (s *source) inTestFile() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) imports(pkg string) bool { return s.localName(pkg) != "" }

// localName is what the file calls an imported package; "" if it does not import it.
func (s *source) localName(pkg string) string {
	for p, at := range s.allImports() {
		if p != pkg {
			continue
		}
		if name := at.(*ast.ImportSpec).Name; name != nil {
			return name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

// allImports yields the path of each import and where it is.
func (s *source) allImports() iter.Seq2[string, ast.Node] {
	return func(yield func(string, ast.Node) bool) {
		for _, spec := range s.ast.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			if !yield(p, spec) {
				return
			}
		}
	}
}

// breach is "file:line: what".
func (s *source) breach(at ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.fset.Position(at.Pos()).Line, fmt.Sprintf(format, args...))
}

// readSources parses every Go file of the repository.
func readSources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	apart := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if d.IsDir() {
			if skipped(name) {
				return filepath.SkipDir
			}
			_, statErr := os.Stat(filepath.Join(file, "go.mod"))
			apart[name] = apart[filepath.Dir(name)] || statErr == nil && name != "."
			return err
		}
		if filepath.Ext(name) != ".go" {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s, err := parse(name, text)
		s.apart = apart[filepath.Dir(name)]
		all = append(all, s)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// skipped says which directories hold no code of ours: what is built, what is hidden, and what tests read.
func skipped(dir string) bool {
	base := filepath.Base(dir)
	return dir == "build" || base == "testdata" || base != "." && strings.HasPrefix(base, ".")
}
