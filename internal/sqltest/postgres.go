package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Postgres is one PostgreSQL server on a free port of 127.0.0.1, with its data in a directory of its own. It keeps nothing
// safe from a crash of the machine.
type Postgres struct {
	port string
	dir  string
	cmd  *exec.Cmd
	dbs  atomic.Int64
}

// StartPostgres runs a server and waits until it answers. Whoever starts it stops it. It runs as another user where this is root,
// because PostgreSQL refuses to run as root.
func StartPostgres() (_ *Postgres, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	p := &Postgres{}
	if p.dir, err = os.MkdirTemp("", "typedbus-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	as, err := p.attributes()
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", p.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = p.dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sqltest: initdb: %w: %s", err, out)
	}
	for range 5 { // another process may take the port between our look and the server's bind
		if err = p.run(filepath.Join(bin, "postgres"), as); err == nil {
			return p, nil
		}
	}
	return nil, err
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// binaries is where initdb and postgres are: $TYPEDBUS_POSTGRES_BIN, in the path, or where Debian has them, the newest first.
func binaries() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(dirs)
	if initdb, err := exec.LookPath("initdb"); err == nil {
		dirs = slices.Insert(dirs, 0, filepath.Dir(initdb))
	}
	if dir := os.Getenv("TYPEDBUS_POSTGRES_BIN"); dir != "" {
		dirs = []string{dir}
	}
	for _, dir := range dirs {
		if _, err := exec.LookPath(filepath.Join(dir, "postgres")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("sqltest: no PostgreSQL server: `make setup` installs one; TYPEDBUS_POSTGRES_BIN says where another is")
}

// attributes are those of the server's processes. It gives them the directory.
func (p *Postgres) attributes() (*syscall.SysProcAttr, error) {
	as := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // the server must not outlive a test process that is killed
	if os.Geteuid() != 0 {
		return as, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("sqltest: PostgreSQL does not run as root, and there is no other user: %w", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return as, os.Chown(p.dir, uid, gid)
}

func (p *Postgres) run(postgres string, as *syscall.SysProcAttr) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, p.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	log, err := os.Create(p.log())
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(postgres, "-D", p.data(), "-p", p.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "max_connections=200")
	p.cmd.Dir, p.cmd.SysProcAttr, p.cmd.Stdout, p.cmd.Stderr = p.dir, as, log, log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	if err := p.await(); err != nil {
		p.end()
		text, _ := os.ReadFile(p.log())
		return fmt.Errorf("sqltest: PostgreSQL does not answer: %w; its log ends: %s", err, text[max(0, len(text)-2000):])
	}
	return nil
}

func (p *Postgres) log() string { return filepath.Join(p.dir, "log") }

// await waits until the server answers.
func (p *Postgres) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", p.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// Database makes a database that is empty, and returns its URL.
func (p *Postgres) Database(ctx context.Context) (string, error) {
	db, err := sql.Open("pgx", p.url("postgres"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	name := fmt.Sprintf("test%d", p.dbs.Add(1))
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("sqltest: create a database: %w", err)
	}
	return p.url(name), nil
}

func (p *Postgres) url(db string) string {
	return "postgres://postgres@127.0.0.1:" + p.port + "/" + db + "?sslmode=disable"
}

// Stop ends the server by its process id and deletes its data. It may be called more than once.
func (p *Postgres) Stop() {
	p.end()
	os.RemoveAll(p.dir)
}

// end asks for an immediate end, which takes all of its processes, and waits for it.
func (p *Postgres) end() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGQUIT)
	late := time.AfterFunc(10*time.Second, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	p.cmd.Wait()
	p.cmd = nil
}
