package redisstream

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/internal/redistest"
)

// TestAnswersInParts: an answer is whole when its last byte is there, wherever it was cut on its way, and not earlier.
func TestAnswersInParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		answer := replyOf(map[string][]entry{"orders": {{id: "1-0", fields: anyFields.Draw(t, "fields")}, {id: "2-0"}}, "retry": {}})
		end := answerEnd{open: 1}
		for at := 0; at < len(answer); {
			over, err := end.in([]byte(answer[:at]))
			require.NoError(t, err)
			require.False(t, over, "cut at %d of %d", at, len(answer))
			require.LessOrEqual(t, end.wants, len(answer), "more room than the answer takes")
			at += rapid.IntRange(1, len(answer)-at).Draw(t, "part")
		}
		over, err := end.in([]byte(answer))
		require.NoError(t, err)
		require.True(t, over)
		_, err = (&answerEnd{open: 1}).in([]byte(answer + "+"))
		require.ErrorIs(t, err, errReply, "an answer to something else follows")
	})
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, broken := range []string{"\r\n", "x\r\n", "$x\r\n", "*\r\n", "*-2\r\n", "$99999999999\r\n", "+OK\n", ">1\r\n+a\r\n"} {
		_, err := (&answerEnd{open: 1}).in([]byte(broken))
		require.ErrorIs(t, err, errReply, "%q", broken)
	}
}

func FuzzAnswerEnd(f *testing.F) {
	f.Add(replyOf(map[string][]entry{"orders": {{id: "1-0", fields: fields{{"id", "1"}}}}}), 7)
	f.Add("-ERR x\r\n", 1)
	f.Add("*1\r\n*1\r\n$-1\r\n:7\r\n", 3)
	f.Fuzz(func(t *testing.T, answer string, cut int) {
		at := min(max(cut, 0), len(answer))
		end, whole := answerEnd{open: 1}, answerEnd{open: 1}
		over, err := end.in([]byte(answer[:at]))
		if err == nil && !over {
			over, err = end.in([]byte(answer))
			wantOver, wantErr := whole.in([]byte(answer))
			require.Equal(t, wantOver, over, "the same however it comes in")
			require.Equal(t, wantErr, err)
		}
	})
}

func TestAskEndsAtItsDeadline(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { _, _ = theirs.Read(make([]byte, 100)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, err := (&readConn{socket: ours}).ask(ctx, appendCommand(nil, "PING"), nil)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.True(t, isTimeout(err))
}

// TestAskLeavesNoDeadline: go-redis may not set one of its own before it writes.
func TestAskLeavesNoDeadline(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		for request := make([]byte, 100); ; {
			if _, err := theirs.Read(request); err != nil {
				return
			}
			_, _ = theirs.Write([]byte("+PONG\r\n"))
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c := &readConn{socket: ours}
	answer, _, err := c.ask(ctx, appendCommand(nil, "PING"), nil)
	require.NoError(t, err)
	assert.Equal(t, "+PONG\r\n", string(answer))
	<-ctx.Done()
	_, err = c.socket.Write(appendCommand(nil, "PING"))
	require.NoError(t, err)
}

// TestAnswersOfAServer: what is read is what was stored, also when it is larger than the first buffer, and go-redis can use the
// connection before and afterwards.
func TestAnswersOfAServer(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: redistest.Start(t).Addr, Protocol: 3})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, stream := range []string{"orders", "retry"} {
		require.NoError(t, c.XGroupCreateMkStream(ctx, stream, "g", "0").Err())
		for i := range 3 {
			require.NoError(t, c.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: []any{"id", i, "data", strings.Repeat("\r\n", i<<13), "a", 1, "a", 2}}).Err())
		}
	}
	reads := newReadClients(ctx, c, nil, c)
	conn, err := reads.conn(ctx, "orders")
	require.NoError(t, err)
	defer reads.close()

	var rr readReply
	rr.buffer, _, err = conn.ask(ctx, appendCommand(nil, "XREADGROUP", "GROUP", "g", "c", "COUNT", "10", "STREAMS", "orders", "retry", ">", ">"), nil)
	require.NoError(t, err)
	require.NoError(t, rr.parse(rr.text(), "retry"))
	require.Equal(t, 6, len(rr.entries))
	for i, e := range rr.entries {
		assert.Equal(t, source("mmmrrr"[i]), e.src)
		assert.Equal(t, fields{{"id", fmt.Sprint(i % 3)}, {"data", strings.Repeat("\r\n", i%3<<13)}, {"a", "2"}}, e.fields)
	}
	pending, err := conn.XPending(ctx, "orders", "g").Result()
	require.NoError(t, err)
	assert.Equal(t, int64(3), pending.Count)
	answer, _, err := conn.ask(ctx, appendCommand(nil, "XREADGROUP", "GROUP", "none", "c", "STREAMS", "orders", ">"), nil)
	require.NoError(t, err)
	assert.True(t, isGroupGone(new(readReply).parse(string(answer), "retry")))
}
