package redisstream

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"io/fs"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts
var scriptFiles embed.FS

// A script is one atomic step on the server. Its file begins with what it takes and returns.
type script struct{ src, sha string }

// newScript reads a script and what it is built on.
func newScript(name string) *script {
	lib, err1 := fs.ReadFile(scriptFiles, "scripts/lib.lua")
	body, err2 := fs.ReadFile(scriptFiles, "scripts/"+name+".lua")
	if err1 != nil || err2 != nil {
		return &script{} // scripts_test.go looks at all of them
	}
	flags, rest := "", string(body)
	if strings.HasPrefix(rest, "#!") { // has to be the first line
		flags, rest, _ = strings.Cut(rest, "\n")
		flags += "\n"
	}
	src := flags + string(lib) + duePutLua + rest
	sum := sha1.Sum([]byte(src))
	return &script{src: src, sha: hex.EncodeToString(sum[:])}
}

var (
	scriptJoin   = newScript("join")
	scriptRenew  = newScript("renew")
	scriptClaim  = newScript("claim")
	scriptAdopt  = newScript("adopt")
	scriptLeave  = newScript("leave")
	scriptSettle = newScript("settle")
	scriptMove   = newScript("move")
	scriptSurvey = newScript("survey")
	scriptLag    = newScript("lag")
	scriptReplay = newScript("replay")
	scriptGaps   = newScript("gaps")
	scriptTend   = newScript("tend")
	scriptRelay  = newScript("relay")
	scriptReap   = newScript("reap")

	scriptPut     = newScript("put")
	scriptDiscard = newScript("discard")
	scriptRecord  = newScript("record")

	scriptPublish = newScript("publish")

	scriptBegin   = newScript("begin")
	scriptKeep    = newScript("keep")
	scriptRelease = newScript("release")
)

// A processor is a client, a Cluster client or a connection.
type processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// command is the script as one command, by its hash or, because servers forget scripts, in full.
func (sc *script) command(ctx context.Context, full bool, keys []string, args ...any) *redis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	if full {
		all = append(all, "eval", sc.src)
	} else {
		all = append(all, "evalsha", sc.sha)
	}
	all = append(all, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return redis.NewCmd(ctx, append(all, args...)...)
}

// run runs the script, once: a lost answer is an error. What a Cluster refuses for now is tried again; a connection of its own is not:
// what it is for has other things to do meanwhile.
func (sc *script) run(ctx context.Context, c processor, keys []string, args ...any) (any, error) {
	_, cluster := c.(*redis.ClusterClient)
	for end, try := time.Now().Add(clusterPatience), 1; ; try++ {
		v, err := sc.try(ctx, c, keys, args...)
		if !cluster || !refusedForNow(err) || !clusterPause(ctx, end, try) {
			return v, err
		}
	}
}

// clusterPatience is how long what a Cluster refuses for now is repeated. Slots move in milliseconds to seconds, and another master is
// there in a few.
const clusterPatience = 10 * time.Second

// clusterPause waits before another try. It returns false if there is no time left for one.
func clusterPause(ctx context.Context, end time.Time, try int) bool {
	d := jittered(min(5*time.Millisecond<<min(try, 10), 200*time.Millisecond))
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	timer := time.NewTimer(min(d, max(time.Until(end), 0)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return time.Now().Before(end)
	case <-ctx.Done():
		return false
	}
}

// try runs the script, if need be in full.
func (sc *script) try(ctx context.Context, c processor, keys []string, args ...any) (any, error) {
	cmd := sc.command(ctx, false, keys, args...)
	if err := c.Process(ctx, once{cmd}); isNoScript(err) {
		cmd = sc.command(ctx, true, keys, args...)
		_ = c.Process(ctx, once{cmd})
	}
	return cmd.Result()
}

// each runs the script n times in one round trip, each once, with the keys and arguments that of returns.
func (sc *script) each(ctx context.Context, c redis.UniversalClient, n int, of func(i int) ([]string, []any)) []*redis.Cmd {
	cmds := make([]*redis.Cmd, n)
	for _, full := range []bool{false, true} {
		pipe := c.Pipeline()
		for i := range cmds {
			if full && !isNoScript(cmds[i].Err()) {
				continue
			}
			keys, args := of(i)
			cmds[i] = sc.command(ctx, full, keys, args...)
			_ = pipe.Process(ctx, once{cmds[i]})
		}
		if pipe.Len() == 0 {
			break
		}
		if _, err := pipe.Exec(ctx); err != nil {
			blame(cmds, err)
		}
	}
	return cmds
}

// blame gives an error to the commands of a pipeline that have neither one nor an answer: a refused connection leaves them so.
func blame(cmds []*redis.Cmd, err error) {
	for _, cmd := range cmds {
		if cmd.Err() == nil && !hasAnswer(cmd) {
			cmd.SetErr(err)
		}
	}
}

func isNoScript(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") }

// list, text and number read the replies of scripts; what has another form reads as empty.
func list(v any) []any   { l, _ := v.([]any); return l }
func text(v any) string  { s, _ := v.(string); return s }
func number(v any) int64 { n, _ := v.(int64); return n }
func at(l []any, i int) any {
	if i < len(l) {
		return l[i]
	}
	return nil
}
