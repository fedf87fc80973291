package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/childtest"
)

// A process is a publisher or a consumer. It is killed when the test ends, however it ends.
type process struct {
	child.Spec
	ready chan struct{} // closed when it is about to begin, or has ended
	ended chan struct{}

	cmd   *exec.Cmd
	mu    sync.Mutex
	lines []string
}

// ownProgram is this one, which is what its environment says.
const ownProgram = ""

// start runs a program, which is built if it is another.
func start(t testing.TB, program, role string, s child.Spec) *process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Spec: s, ready: make(chan struct{}), ended: make(chan struct{}), cmd: exec.Command(built(t, program))}
	p.cmd.Env = append(os.Environ(), childtest.Name+"="+role, child.SpecVar+"="+string(text),
		"GORACE=atexit_sleep_ms=0") // or the race detector lets each process live for a second after its end
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive a test process that is killed
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatalf("chaos: start %s: %v", s.Name, err)
	}
	go p.listen(bufio.NewScanner(out))
	t.Cleanup(func() { p.signal(syscall.SIGKILL); <-p.ended })
	return p
}

var builds sync.Map // by directory: func() (string, error)

// built is the executable of a program in another directory. Each is built once, with the race detector as this one.
func built(t testing.TB, dir string) string {
	t.Helper()
	if dir == ownProgram {
		return os.Args[0]
	}
	build, _ := builds.LoadOrStore(dir, sync.OnceValues(func() (string, error) { return build(dir) }))
	path, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// removeBuilt removes what was built.
func removeBuilt() {
	builds.Range(func(_, build any) bool {
		if path, err := build.(func() (string, error))(); err == nil {
			os.Remove(path)
		}
		return true
	})
}

func build(dir string) (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("chaos-%s-%d", filepath.Base(dir), os.Getpid()))
	cmd := exec.Command("go", "build", "-race", "-o", path, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("chaos: build %s: %w\n%s", dir, err, out)
	}
	return path, nil
}

func (p *process) listen(s *bufio.Scanner) {
	ready := sync.OnceFunc(func() { close(p.ready) })
	for s.Scan() {
		ready()
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // one that was killed has failed
	ready()
	close(p.ended)
}

// signal does nothing to a process that has ended.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// wait says how it ended, nil for well.
func (p *process) wait() error {
	<-p.ended
	if s := p.cmd.ProcessState; !s.Success() {
		return fmt.Errorf("%s: %v", p.Name, s)
	}
	return nil
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// said is what follows the word in a line that it printed.
func (p *process) said(word string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			return rest
		}
	}
	return ""
}

// peak is how many bytes of memory it has had at most; 0 if it has ended.
func (p *process) peak() int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, _ = fmt.Sscan(rest, &kib)
	return kib << 10
}
