package redisstream

import (
	"context"
	"fmt"
	"strconv"

	"github.com/typedbus/typedbus/transport"
)

// startPosition is the id after which a new group begins, for XGROUP CREATE.
func startPosition(st transport.Start) (string, error) {
	switch {
	case st.ID != "":
		ms, seq, ok := parseEntryID(st.ID)
		if !ok {
			return "", fmt.Errorf("redisstream: bad Start.ID %.50q: use an entry id such as \"1526919030474-55\"", st.ID)
		}
		return entryIDBefore(ms, seq), nil
	case !st.Time.IsZero():
		return entryIDBefore(uint64(max(st.Time.UnixMilli(), 0)), 0), nil
	case st.Latest:
		return "$", nil
	}
	return "0", nil
}

// join makes the group where it is missing. first says that it may be new: then it begins at its Start. Otherwise it was
// there and is lost, and goes on at the cursor that retention.go keeps in a key of its own, which repeats a little and loses
// nothing; if that is gone too, or the stream is another one, at the beginning of what there is.
//
// Of several consumers that notice, the one whose call made the group again reports it.
func (s *subscription) join(ctx context.Context, first bool) error {
	start, err := startPosition(s.group.Start)
	if err != nil {
		return err
	}
	reply, err := scriptJoin.run(ctx, s.t.cmd, []string{s.keys.stream, s.keys.retry, s.keys.cursor},
		s.group.Name, start, map[bool]string{true: "1", false: "0"}[first])
	if err != nil {
		return s.t.clarify("subscribe to "+s.name(), s.keys.stream, err)
	}
	r := list(reply)
	where := text(at(r, 1))
	if number(at(r, 3)) == 1 {
		s.warn(s.loss("the key "+s.keys.retry+" was gone, and with it what the group was to get again", 0, "", ""))
	}
	switch text(at(r, 0)) {
	case "resumed":
		s.warn(s.loss("the group was gone; it goes on after entry "+where+", so some messages may come again", 0, "", ""))
	case "restarted":
		from, to := "", ""
		if read, _ := s.seen.get(); read != (position{}) { // and what came after it
			from, to = "0-0", read.String()
		}
		s.warn(s.loss("the stream or the group's position was gone; the group begins with the "+
			strconv.FormatInt(number(at(r, 2)), 10)+" entries there are now", 0, from, to))
	}
	return nil
}
