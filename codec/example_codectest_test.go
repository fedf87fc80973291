package codec_test

import (
	"testing"

	"github.com/typedbus/typedbus/codec/codectest"
)

// A codec of one's own is held against the whole contract with one line.
func TestDecimalFollowsTheContract(t *testing.T) {
	codectest.Run(t, decimal{}, 0, 42, -7)
}
