package bus_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMisuseDoesNotCompile type-checks the programs of testdata/misuse: each line with a comment
//
//	// want `regexp of the compiler's message`
//
// must be refused with that message, and no other line may be. right.go has no such line: it must compile.
func TestMisuseDoesNotCompile(t *testing.T) {
	const dir = "testdata/misuse"
	fset := token.NewFileSet()
	imp := compiledPackages(t, fset)
	shop := parseFile(t, fset, dir+"/shop.go")
	programs, err := filepath.Glob(dir + "/*.go")
	require.NoError(t, err)

	for _, program := range programs {
		if filepath.Base(program) == "shop.go" {
			continue
		}
		t.Run(filepath.Base(program), func(t *testing.T) {
			file := parseFile(t, fset, program)
			got := compile(fset, imp, file, shop)
			want := wants(t, fset, file)
			for line, re := range want {
				assert.Regexp(t, re, got[line], "%s compiles, or is refused for another reason", line)
			}
			for line, message := range got {
				if want[line] == nil {
					t.Errorf("%s should compile: %s", line, message)
				}
			}
			assert.Equal(t, filepath.Base(program) == "right.go", len(want) == 0, "right.go alone has no mistakes")
		})
	}
}

func parseFile(t *testing.T, fset *token.FileSet, name string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	return f
}

// compile returns what the compiler says, by "file:line".
func compile(fset *token.FileSet, imp types.Importer, files ...*ast.File) map[string]string {
	messages := map[string]string{}
	conf := types.Config{Importer: imp, Error: func(err error) {
		e := err.(types.Error)
		messages[lineOf(fset, e.Pos)] += e.Msg + "\n"
	}}
	conf.Check("main", fset, files, nil)
	return messages
}

func lineOf(fset *token.FileSet, p token.Pos) string {
	at := fset.Position(p)
	return at.Filename + ":" + strconv.Itoa(at.Line)
}

var wantComment = regexp.MustCompile("^// want (`.*`)$")

func wants(t *testing.T, fset *token.FileSet, f *ast.File) map[string]*regexp.Regexp {
	t.Helper()
	found := map[string]*regexp.Regexp{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			m := wantComment.FindStringSubmatch(c.Text)
			if m == nil {
				continue
			}
			text, err := strconv.Unquote(m[1])
			require.NoError(t, err, c.Text)
			found[lineOf(fset, c.Pos())] = regexp.MustCompile(text)
		}
	}
	return found
}

// compiledPackages imports what the build cache has of the packages that the programs use, which is much faster than
// type-checking them from source.
func compiledPackages(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".", "../codec")
	out, err := list.Output()
	require.NoError(t, err, "go list: bus or codec does not compile")
	archives := map[string]string{}
	for line := range strings.Lines(string(out)) {
		pkg, archive, _ := strings.Cut(strings.TrimSpace(line), " ")
		archives[pkg] = archive
	}
	return importer.ForCompiler(fset, "gc", func(pkg string) (io.ReadCloser, error) { return os.Open(archives[pkg]) })
}
