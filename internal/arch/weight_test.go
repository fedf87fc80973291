package arch

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type weight struct{ part, brings string }

// weights says which modules from elsewhere a package brings into the program of a user who imports it.
var weights = []weight{
	{"transport", uuid},
	{"transport/memory", uuid},
	{"transport/transporttest", uuid},
	{"transport/redisstream", uuid + goRedis},
	{"codec", codecs},
	{"codec/codectest", codecs},
	{"codec/protobuf", codecs + "google.golang.org/protobuf"},
	{"bus", uuid + codecs},
	{"bus/bustest", uuid + codecs},
	{"dlq", uuid + codecs + xtime},
	{"middleware", uuid + codecs + resilience},
	{"middleware/compress", uuid + codecs + "github.com/klauspost/compress"},
	{"middleware/redisrate", uuid + codecs + resilience + goRedis + "github.com/go-redis/redis_rate/v10"},
	{"middleware/sqlclaims", uuid + codecs + resilience},
	{"middleware/claimtest", uuid + codecs + resilience},
	{"middleware/telemetry", uuid + codecs + resilience + otel},
}

const (
	xtime      = "golang.org/x/time "
	resilience = xtime + "github.com/sony/gobreaker/v2 github.com/cenkalti/backoff/v5 "
	otel       = "go.opentelemetry.io/otel go.opentelemetry.io/otel/log go.opentelemetry.io/otel/metric go.opentelemetry.io/otel/trace github.com/cespare/xxhash/v2 github.com/go-logr/logr github.com/go-logr/stdr go.opentelemetry.io/auto/sdk "

	uuid    = "github.com/google/uuid "
	codecs  = "github.com/vmihailenco/msgpack/v5 github.com/vmihailenco/tagparser/v2 "
	goRedis = "github.com/redis/go-redis/v9 github.com/cespare/xxhash/v2 go.uber.org/atomic golang.org/x/sys "
)

func TestWeight(t *testing.T) {
	var breaches []string
	for _, part := range publicParts(t) {
		i := slices.IndexFunc(weights, func(w weight) bool { return w.part == part })
		if i < 0 {
			breaches = append(breaches, part+" has no row in weights")
			continue
		}
		for _, m := range modulesOf(t, part) {
			if !slices.Contains(strings.Fields(weights[i].brings), m) {
				breaches = append(breaches, part+" brings "+m)
			}
		}
	}
	report(t, "a package brings no more modules into a user's program than its row in weights says",
		"do without the new dependency, or put it into a package of its own; if it is worth it add it to weights in internal/arch/weight_test.go", breaches)
}

// publicParts are the packages that a user can import.
func publicParts(t *testing.T) (parts []string) {
	for _, s := range readSources(t) {
		if !s.apart && !s.inTestFile() && s.ast.Name.Name != "main" && !anyUnder(s.dir(), "internal/... codec/internal/... examples/...") {
			parts = append(parts, s.dir())
		}
	}
	slices.Sort(parts)
	return slices.Compact(parts)
}

func modulesOf(t *testing.T, part string) []string {
	t.Helper()
	list := exec.Command("go", "list", "-e", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", module+"/"+part)
	list.Dir = root
	out, err := list.Output()
	require.NoError(t, err)
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	return slices.Compact(modules)
}
