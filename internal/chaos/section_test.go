package chaos

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestASectionIsReplacedAlone(t *testing.T) {
	path := written(t, "above\n<!-- chaos:table -->\nold\n<!-- /chaos:table -->\nbelow\n")
	require.NoError(t, quickTable.replace(path, "new\n"))
	assert.Equal(t, "above\n<!-- chaos:table -->\n\nnew\n\n<!-- /chaos:table -->\nbelow\n", read(t, path))
	assert.ErrorContains(t, quickTable.replace(written(t, "no marks"), "new"), "<!-- chaos:table -->")
}

func TestEachServerHasALine(t *testing.T) {
	path := written(t, "<!-- servers:table -->\n<!-- /servers:table -->\n")
	const head = "| server | tests | G1 |\n|---|---|---|"
	for _, text := range []string{"| A 1 | passed | held |", "| B 2 | failed | held |", "| A 1 | passed | **BROKEN** |"} {
		require.NoError(t, noteServer(path, head, text))
	}
	assert.Contains(t, read(t, path), "\n"+head+"\n| A 1 | passed | **BROKEN** |\n| B 2 | failed | held |\n\n")
	const other = "| server | tests | G2 |\n|---|---|---|"
	require.NoError(t, noteServer(path, other, "| A 1 | passed | held |"))
	assert.Contains(t, read(t, path), "\n"+other+"\n| A 1 | passed | held |\n\n", "lines of other rows go")
	assert.NotContains(t, read(t, path), "B 2")
}

func written(t *testing.T, text string) (path string) {
	path = filepath.Join(t.TempDir(), "x.md")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
