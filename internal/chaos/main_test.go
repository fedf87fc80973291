package chaos

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"github.com/typedbus/typedbus/internal/chaos/child"
	"github.com/typedbus/typedbus/internal/childtest"
)

var roles = map[string]func(context.Context, child.Spec) error{"publisher": child.Publish, "consumer": counting(child.Consume)}

func TestMain(m *testing.M) {
	logging.Disable() // go-redis says each dial that fails
	if role := os.Getenv(childtest.Name); role != "" {
		if err := child.Play(context.Background(), roles[role]); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", role, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	removeBuilt()
	os.Exit(code)
}
