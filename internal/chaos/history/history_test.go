package history_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/typedbus/typedbus/internal/chaos/history"
	"github.com/typedbus/typedbus/internal/childtest"
)

func open(t *testing.T, dir, process string) *history.Writer {
	w, err := history.Open(dir, process)
	require.NoError(t, err)
	return w
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	a, b := open(t, dir, "../a B"), open(t, dir, "../a b")
	before := history.Now()
	want := history.Record{What: history.Failed, ID: "1", Key: "k", Attempt: 2, Redelivered: 3, Text: "line one\nline \"two\""}
	a.Log(want)
	b.Log(history.Record{What: history.Killed, Process: "consumer-1"})
	a.Log(history.Record{What: history.Settled, ID: "1", Text: "failed"})
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())

	got, err := history.Read(dir)
	require.NoError(t, err)
	require.Len(t, got, 3)
	assert.True(t, before <= got[0].At && got[0].At < got[1].At && got[1].At < got[2].At && got[2].At <= history.Now())
	want.At, want.Process = got[0].At, "../a B"
	assert.Equal(t, want, got[0])
	assert.Equal(t, "consumer-1", got[1].Process, "who is named stays")
}

func TestManyWriteAtOnce(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, "a")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				w.Log(history.Record{What: history.Started, ID: fmt.Sprint(g, "-", i)})
			}
		})
	}
	wg.Wait()
	require.NoError(t, w.Close())
	got, err := history.Read(dir)
	require.NoError(t, err)
	ids := make(map[string]bool)
	for _, r := range got {
		ids[r.ID] = true
	}
	assert.Len(t, ids, 4000)
	assert.Len(t, got, 4000)
}

func TestABrokenLineIsNamed(t *testing.T) {
	for _, broken := range []string{"{\"at\":1,\n", "{}\n", "\n", "{\"at\":1,\"p\":\"x\",\"w\":\"started\"}}\n"} {
		dir := t.TempDir()
		w := open(t, dir, "a")
		w.Log(history.Record{What: history.Started, ID: "1"})
		require.NoError(t, w.Close())
		name := filepath.Join(dir, "a.history")
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, append(append(text, broken...), text...), 0o600))
		_, err = history.Read(dir)
		assert.ErrorContains(t, err, name+":2: ", "%q", broken)
	}
}

func TestNoHistory(t *testing.T) {
	_, err := history.Read(t.TempDir())
	assert.ErrorContains(t, err, "no file")
	_, err = history.Open(t.TempDir(), "")
	assert.ErrorContains(t, err, "needs a name")
}

func TestAWriteThatFailsIsTold(t *testing.T) {
	w := open(t, t.TempDir(), "a")
	require.NoError(t, w.Close())
	w.Log(history.Record{What: history.Started})
	assert.ErrorContains(t, w.Close(), "history: write to ")
}

func TestAWriterThatIsKilledLeavesWholeLines(t *testing.T) {
	dir := t.TempDir()
	const kills = 15
	for range kills {
		p := childtest.Start(t, "writer", dirOfChild+"="+dir)
		<-p.Lines // of the time that follows only a part is known, which makes the moment a random one
		p.Kill()
		p.Wait()
	}
	got, err := history.Read(dir)
	require.NoError(t, err)
	next := make(map[string]int) // by process and goroutine: what is written is there without a gap
	for _, r := range got {
		g, number, _ := strings.Cut(r.ID, "-")
		require.Equal(t, fmt.Sprint(next[r.Process+" "+g]), number)
		require.Len(t, r.Text, r.Attempt%9000)
		next[r.Process+" "+g]++
	}
	assert.GreaterOrEqual(t, len(next), kills)
}

func TestAMemoryHasTheTimeOfItsBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m history.Memory
		m.Process("a").Log(history.Record{What: history.Paused, Process: "b"})
		time.Sleep(time.Second)
		m.Process("a").Log(history.Record{What: history.Started, ID: "1"})
		got := m.Records()
		assert.Equal(t, []history.Record{
			{At: 1, Process: "b", What: history.Paused},
			{At: 1 + int64(time.Second), Process: "a", What: history.Started, ID: "1"}}, got)
		assert.True(t, slices.IsSortedFunc(got, func(a, b history.Record) int { return int(a.At - b.At) }))
	})
}
