package redistest

import (
	"cmp"
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// Clock is the time of day as one server sees it. Its other clocks, by which it waits, are those of the machine.
type Clock struct {
	t     testing.TB
	file  *os.File
	ahead time.Duration
}

// StartClock is [Start] with a clock that can be set. It needs a C compiler ($CC, or cc), for a library that is loaded into the
// server, and Linux; without them the test fails.
func StartClock(t testing.TB, args ...string) (*Server, *Clock) {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir()}
	s.args = func(port string) []string { return append(s.own(port), args...) }
	file, err := os.Create(filepath.Join(s.Dir, "clock"))
	check(t, err)
	t.Cleanup(func() { file.Close() })
	c := &Clock{t: t, file: file}
	c.Set(0)
	s.env = []string{"LD_PRELOAD=" + clockLibrary(t), "TYPEDBUS_CLOCK=" + file.Name()}
	return s.run("redis://"), c
}

// Set sets the clock to that of the machine and ahead, which may be negative. Redis sees it at once, Valkey, which does not look for
// each command, after about a millisecond. Calls are not concurrent.
func (c *Clock) Set(ahead time.Duration) {
	c.t.Helper()
	_, err := c.file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead.Microseconds())), 0)
	check(c.t, err)
	c.ahead = ahead
}

// Add sets the clock forward, or back if step is negative.
func (c *Clock) Add(step time.Duration) { c.Set(c.ahead + step) }

func clockLibrary(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	check(t, os.WriteFile(source, clockSource, 0o600))
	cc := cmp.Or(os.Getenv("CC"), "cc")
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("redistest: setting a server's clock needs a C compiler (`make setup` installs one): %s: %v\n%s", cc, err, out)
	}
	return library
}
