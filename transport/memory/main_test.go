package memory_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "3000") // they are fast; the command line overrides it
	goleak.VerifyTestMain(m)
}
