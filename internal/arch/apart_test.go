package arch

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	climbing = regexp.MustCompile(`(?:^|[^\w./-])((?:\.\./)+[\w.-]*)`)
	machine  = regexp.MustCompile(`(?:^|[^\w./-])/(?:home|root|work|Users)/\w+`)
)

func TestStandsAlone(t *testing.T) {
	var breaches []string
	for _, name := range trackedFiles(t) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !utf8.Valid(text) || name == "internal/arch/apart_test.go" {
			continue // deleted, not a text, or full of samples
		}
		breaches = append(breaches, mentionsOutside(name, string(text), exists)...)
	}
	report(t, "the project stands alone: no file of it names a folder outside it",
		"copy what is needed into the repository, with a note of its source", breaches)
}

func trackedFiles(t *testing.T) []string {
	t.Helper()
	// The checkout may belong to somebody else than the user of the tests, as in a container; git refuses to look at it then.
	git := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = root
	out, err := git.Output()
	require.NoError(t, err, "this test asks git which files the project has: run it in a clone")
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// exists looks at the first element only, because a text may name what is yet to be made.
func exists(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	_, err := os.Stat(filepath.Join(root, first))
	return err == nil
}

// mentionsOutside finds the paths in a text that lead out of the repository, or through .. to what is not there, and those
// that only one machine has.
func mentionsOutside(name, text string, exists func(string) bool) (breaches []string) {
	for i, line := range strings.Split(text, "\n") {
		where := name + ":" + strconv.Itoa(i+1) + ": "
		for _, m := range climbing.FindAllStringSubmatch(line, -1) {
			target := path.Join(path.Dir(name), strings.TrimSuffix(m[1], "..."))
			if strings.HasPrefix(target, "..") || target != "." && !exists(target) {
				breaches = append(breaches, where+m[1])
			}
		}
		if m := machine.FindString(line); m != "" {
			breaches = append(breaches, where+strings.TrimSpace(m))
		}
	}
	return breaches
}

func TestOutsideIsFound(t *testing.T) {
	there := func(name string) bool { return strings.HasPrefix(name, "docs") }
	for _, c := range []struct {
		file, text string
		breaches   int
	}{
		{"Makefile", "cp ../shared/data .", 1},
		{"bus/x.go", `os.Open("../shared/data")`, 1},
		{"bus/x.go", `os.Open("../../shared/data")`, 1},
		{"bus/x.go", `os.Open("../docs/wire-format.md")`, 0},
		{"docs/x.md", "[design](../../docs/design.md)", 1},
		{"examples/a/x_test.go", `os.ReadFile("../../docs/x.md")`, 0},
		{"internal/arch/x.go", `root = "../.."`, 0},
		{"scripts/x.sh", "cd ../ && go test ./... ../...", 0},
		{"scripts/x.sh", "ls /home/somebody", 1},
		{"docs/x.md", "https://example.com/home/page and a/../b", 0},
	} {
		assert.Len(t, mentionsOutside(c.file, c.text, there), c.breaches, "%s: %s", c.file, c.text)
	}
}
