package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadmeShowsThisProgram holds the first program of the README equal to the one that is compiled and run here.
func TestReadmeShowsThisProgram(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(readme), "```go\n")
	require.True(t, found)
	shown, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, program, found := strings.Cut(string(source), "\n)\n\n") // after the imports
	require.True(t, found)
	assert.Equal(t, program, shown, "copy examples/quickstart/main.go from its first type on into the README")
	assert.Less(t, strings.Count(before, "\n")+1, 25, "code begins before line 25")
	assert.LessOrEqual(t, strings.Count(program, "\n"), 30)
	assert.Less(t, strings.Count(string(readme), "\n"), 200)
}

func TestTheProgramRuns(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "run", ".").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "charging 995 cents for order 42\n", string(out))
}
