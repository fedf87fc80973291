package report

import (
	"bytes"
	"fmt"
	"os"
)

// Splice replaces what stands between <!-- bench:marker --> and <!-- /bench:marker --> in a Markdown file.
func Splice(path, marker string, text []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("report: splice: %w", err)
	}
	from := []byte("<!-- bench:" + marker + " -->")
	to := []byte("<!-- /bench:" + marker + " -->")
	for _, m := range [][]byte{from, to} {
		if n := bytes.Count(old, m); n != 1 {
			return fmt.Errorf("report: splice: %s has %d times the line %s: put %s once above where the %s go and %s once below",
				path, n, m, from, marker, to)
		}
	}
	head, rest, _ := bytes.Cut(old, from)
	_, tail, ok := bytes.Cut(rest, to)
	if !ok {
		return fmt.Errorf("report: splice: %s has %s above %s: swap them", path, to, from)
	}
	return write(path, bytes.Join([][]byte{head, from, []byte("\n\n"), bytes.TrimSpace(text), []byte("\n\n"), to, tail}, nil))
}
