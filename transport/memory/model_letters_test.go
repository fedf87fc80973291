package memory_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/typedbus/typedbus/transport"
)

// bound is that of the letters of each group in the model.
var bound = transport.LetterBound{MaxLen: 6, MaxAge: time.Minute}

// letters names the letters of a group, and sees that they are those of the model, but for what the bound has removed.
func (m *model) letters(rt *rapid.T, group string) []string {
	ls, err := m.tr.Letters(m.ctx, m.topic, group, "", 1000)
	require.NoError(rt, err)
	var ids, there []string
	for _, l := range ls {
		f := m.fates[group][l.ID]
		require.Equal(rt, "dead", f.state)
		require.Equal(rt, f.body, string(l.Body), "the letter is not as it was stored")
		require.Equal(rt, [3]int{f.attempt, f.redelivered, f.replays}, [3]int{l.Attempt, l.Redelivered, l.Replays})
		require.True(rt, f.died.Equal(l.Died))
		f.letter = l.LetterID
		ids, there = append(ids, l.LetterID), append(there, l.ID)
	}
	m.drop(rt, group, there)
	return ids
}

// drop notes which letters the bound has removed. It must have had to.
func (m *model) drop(rt *rapid.T, group string, there []string) {
	kept := m.dead[group][:0:0]
	for i, id := range m.dead[group] {
		f := m.fates[group][id]
		if slices.Contains(there, id) {
			kept = append(kept, id)
			continue
		}
		old, many := time.Since(f.died) >= bound.MaxAge, len(m.dead[group])-i > int(bound.MaxLen)
		require.True(rt, old || many, "%s is gone, and is one of %d letters, %v old", id, len(m.dead[group]), time.Since(f.died))
		f.state = "done"
		m.dropped[group]++
	}
	require.Equal(rt, kept, append(kept[:0:0], there...), "the order of the letters")
	m.dead[group] = kept
}

// remove draws letters and has one of the two calls remove them.
func (m *model) remove(rt *rapid.T, call func(context.Context, transport.Topic, string, ...string) (int, error)) (gone []*fate) {
	group, ids := m.drawLetters(rt)
	ids = append(rapid.SliceOfDistinct(rapid.SampledFrom(ids), rapid.ID[string]).Draw(rt, "ids"), "9999")
	n, err := call(m.ctx, m.topic, group, ids...)
	require.NoError(rt, err)
	require.Equal(rt, len(ids)-1, n)
	for id, f := range m.fates[group] {
		if f.state == "dead" && slices.Contains(ids, f.letter) {
			gone = append(gone, f)
			m.unbury(group, id)
		}
	}
	return gone
}

// drawLetters draws a group, and returns the ids of its letters.
func (m *model) drawLetters(rt *rapid.T) (group string, ids []string) {
	group = rapid.SampledFrom(m.groups).Draw(rt, "group")
	if ids = m.letters(rt, group); len(ids) == 0 {
		rt.Skip()
	}
	return group, ids
}

// unbury forgets that a message is a letter. What comes of it is another message: the old receipts mean nothing to it.
func (m *model) unbury(group, id string) {
	m.dead[group] = slices.DeleteFunc(m.dead[group], func(d string) bool { return d == id })
	for _, a := range m.actors {
		if a.group == group {
			delete(a.late, id)
		}
	}
}

func (m *model) replay(rt *rapid.T) {
	for _, f := range m.remove(rt, m.tr.Replay) {
		*f = fate{state: "ready", from: time.Now(), attempt: 1, replays: f.replays + 1, body: f.body}
	}
}

func (m *model) discard(rt *rapid.T) {
	for _, f := range m.remove(rt, m.tr.Discard) {
		f.state = "done"
	}
}

// put adds a letter of a message that the group never had.
func (m *model) put(rt *rapid.T) {
	group := rapid.SampledFrom(m.groups).Draw(rt, "group")
	m.sent++
	id := fmt.Sprintf("m%03d", m.sent)
	ago := time.Duration(rapid.IntRange(0, 50).Draw(rt, "died ago")) * time.Second
	f := &fate{state: "dead", attempt: 3, redelivered: 2, replays: 1, body: id, died: time.Now().Add(-ago)}
	m.fates[group][id] = f
	m.store(rt, group, id, "")
}

// edit puts a letter in place of another, which has another body then.
func (m *model) edit(rt *rapid.T) {
	group, ids := m.drawLetters(rt)
	replaces := rapid.SampledFrom(ids).Draw(rt, "letter")
	l, err := m.tr.Letter(m.ctx, m.topic, group, replaces)
	require.NoError(rt, err)
	f := m.fates[group][l.ID]
	require.Equal(rt, f.body, string(l.Body))
	f.body += "!"
	m.unbury(group, l.ID)
	m.store(rt, group, l.ID, replaces)
	_, err = m.tr.Letter(m.ctx, m.topic, group, replaces)
	require.ErrorIs(rt, err, transport.ErrNoLetter)
	_, err = m.tr.PutLetter(m.ctx, m.topic, group, l, replaces)
	require.ErrorIs(rt, err, transport.ErrNoLetter)
}

// store puts the letter of a message as the model has it.
func (m *model) store(rt *rapid.T, group, id, replaces string) {
	f := m.fates[group][id]
	letter, err := m.tr.PutLetter(m.ctx, m.topic, group, &transport.Letter{
		Message: &transport.Message{ID: id, Body: []byte(f.body)},
		Attempt: f.attempt, Redelivered: f.redelivered, Replays: f.replays, Died: f.died,
	}, replaces)
	require.NoError(rt, err)
	f.letter = letter
	m.dead[group] = append(m.dead[group], id)
}

func (m *model) record(rt *rapid.T) {
	group := rapid.SampledFrom(m.groups).Draw(rt, "group")
	detail := rapid.String().Draw(rt, "detail")
	require.NoError(rt, m.tr.RecordAct(m.ctx, m.topic, group, transport.Act{Detail: detail}))
	m.acts[group] = append(m.acts[group], detail)
	as, err := m.tr.Acts(m.ctx, m.topic, group, "", 1000)
	require.NoError(rt, err)
	require.Len(rt, as, len(m.acts[group]))
	for i, a := range as {
		require.Equal(rt, m.acts[group][i], a.Detail)
	}
}

// bounded sees that no letter is beyond the bound where a consumer has had ten seconds to remove it.
func (m *model) bounded(rt *rapid.T) {
	for _, a := range m.actors {
		if a.dead || !a.muted.IsZero() {
			continue
		}
		m.letters(rt, a.group)
		require.LessOrEqual(rt, int64(len(m.dead[a.group])), bound.MaxLen)
		for _, id := range m.dead[a.group] {
			require.Less(rt, time.Since(m.fates[a.group][id].died), bound.MaxAge+10*time.Second)
		}
	}
}

// lag looks at a group, and sees that what the bound removed is counted and reported.
func (m *model) lag(rt *rapid.T, group string) transport.Lag {
	m.letters(rt, group)
	lag, err := m.tr.Lag(m.ctx, m.topic, group)
	require.NoError(rt, err)
	require.EqualValues(rt, len(m.dead[group]), lag.Dead)
	require.Equal(rt, m.dropped[group], lag.LettersDropped)
	require.Equal(rt, m.dropped[group], m.told[group].Load())
	return lag
}
