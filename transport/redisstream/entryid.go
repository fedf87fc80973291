package redisstream

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// parseEntryID splits "1526919030474-55". The sequence may be missing and is 0 then.
func parseEntryID(id string) (ms, seq uint64, ok bool) {
	a, b, found := strings.Cut(id, "-")
	ms, err := strconv.ParseUint(a, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if found {
		if seq, err = strconv.ParseUint(b, 10, 64); err != nil {
			return 0, 0, false
		}
	}
	return ms, seq, true
}

// entryTime is when the server stored the entry; the zero time if id is no entry id.
func entryTime(id string) time.Time {
	ms, _, ok := parseEntryID(id)
	if !ok || ms > math.MaxInt64 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

// entryIDBefore is the greatest id less than the given one: groups begin after a position, Start.ID means at it.
func entryIDBefore(ms, seq uint64) string {
	switch {
	case seq > 0:
		seq--
	case ms > 0:
		ms, seq = ms-1, math.MaxUint64
	}
	return strconv.FormatUint(ms, 10) + "-" + strconv.FormatUint(seq, 10)
}

// entryIDLess compares positions.
func entryIDLess(a, b string) bool {
	ams, aseq, _ := parseEntryID(a)
	bms, bseq, _ := parseEntryID(b)
	return ams < bms || ams == bms && aseq < bseq
}
