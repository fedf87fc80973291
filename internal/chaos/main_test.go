package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/typedbus/typedbus/internal/childtest"
)

// specVar is the environment variable with the spec of a child, in JSON.
const specVar = "TYPEDBUS_CHAOS"

var roles = map[string]func(context.Context, spec) error{"publisher": publish, "consumer": consume}

func TestMain(m *testing.M) {
	if role := os.Getenv(childtest.Name); role != "" {
		if err := play(roles[role], os.Getenv(specVar)); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", role, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// play is a child until it is done or gets a SIGTERM.
func play(role func(context.Context, spec) error, in string) error {
	var s spec
	if err := json.Unmarshal([]byte(in), &s); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return role(ctx, s)
}
