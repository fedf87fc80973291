package arch

import (
	"cmp"
	"strings"
)

// layers says, for each part of the repository, what it may import of ours outside its tests. A part may always import what
// lies below it. "x/..." is x and all below it; the first row that matches counts.
var layers = []struct{ part, may string }{
	{"transport", ""},
	{"transport/memory/...", "transport"},
	{"transport/redisstream/...", "transport"},
	{"transport/transporttest", "transport"},
	{"codec", ""},
	{"codec/internal/...", ""},
	{"codec/protobuf", "codec"},
	{"codec/codectest", "codec"},
	{"bus", "codec transport"},
	{"bus/bustest", "bus codec transport transport/memory"},
	{"dlq", "bus codec transport"},
	{"middleware", "bus codec dlq transport"},
	{"middleware/compress", "bus transport"},
	{"middleware/redisrate", "middleware"},
	{"middleware/sqlclaims", "bus middleware transport"},
	{"middleware/claimtest", "middleware transport"},
	{"middleware/telemetry", "bus middleware transport"},
	{"internal/chaos/...", "bus/... codec/... dlq/... middleware/... transport/... internal/chaos/..."},
	{"internal/sqltest/chaosworker", "bus middleware/... transport/redisstream internal/..."},
	{"internal/...", ""},
	{"examples/internal/...", ""},
	{"examples/...", "bus/... codec/... dlq/... middleware/... transport/... examples/internal/..."},
	{"cmd/...", "bus/... codec/... dlq/... middleware/... transport/..."},
	{"bench/...", "bus/... codec/... dlq/... middleware/... transport/... bench/..."},
}

var arrows = rule{
	name: "arrows",
	says: "imports point down: codec and transport import nothing of ours, a transport never imports bus, bus never imports a " +
		"transport or a middleware (the table layers has it all)",
	instead: "have the lower package declare the interface that it needs and main join the two; a new package needs a row in " +
		"layers of internal/arch/imports_test.go",
	find: func(s *source) (breaches []string) {
		if s.inTestFile() {
			return nil
		}
		may, known := allowed(s.dir())
		for p, at := range s.allImports() {
			part, ours := strings.CutPrefix(p, module+"/")
			if !ours || under(part, s.dir()+"/...") {
				continue
			}
			switch {
			case !known:
				breaches = append(breaches, s.breach(at, "%s has no row in layers and imports %s", s.dir(), part))
			case !anyUnder(part, may):
				breaches = append(breaches, s.breach(at, "%s imports %s, and may import only: %s", s.dir(), part, cmp.Or(may, "nothing of ours")))
			}
		}
		return breaches
	},
}

func allowed(part string) (may string, known bool) {
	for _, l := range layers {
		if under(part, l.part) {
			return l.may, true
		}
	}
	return "", false
}

// under says whether a part is, or with "/..." is or lies below, what the pattern names.
func under(part, pattern string) bool {
	tree, isTree := strings.CutSuffix(pattern, "/...")
	return part == tree || isTree && strings.HasPrefix(part, tree+"/")
}

func anyUnder(part, patterns string) bool {
	for p := range strings.FieldsSeq(patterns) {
		if under(part, p) {
			return true
		}
	}
	return false
}

var examplesAreLeaves = rule{
	name:    "examples are leaves",
	says:    "nothing imports an example, a command or a benchmark, not even a test; examples share what is in examples/internal",
	instead: "move what is shared into a package that both import",
	find: func(s *source) (breaches []string) {
		for p, at := range s.allImports() {
			part := strings.TrimPrefix(p, module+"/")
			if anyUnder(part, "examples/... cmd/... bench/...") && !sameProgram(part, s.dir()) && !sharedByExamples(part, s.dir()) {
				breaches = append(breaches, s.breach(at, "imports %s", part))
			}
		}
		return breaches
	},
}

// sameProgram says whether both lie in the same examples/x or cmd/x, or in bench.
func sameProgram(a, b string) bool {
	program := func(part string) string {
		names := strings.SplitN(part, "/", 3)
		if names[0] == "bench" {
			return "bench"
		}
		return strings.Join(names[:min(2, len(names))], "/")
	}
	return program(a) == program(b)
}

func sharedByExamples(part, by string) bool {
	return under(part, "examples/internal/...") && under(by, "examples/...")
}

// homes says, for each module from elsewhere, who may import it outside tests. Tests may import any module that has a row.
var homes = []struct{ module, who string }{
	{"github.com/google/uuid", "transport"},
	{"github.com/redis/go-redis", "transport/redisstream/... middleware/redisrate internal/redistest examples/... cmd/..."},
	{"github.com/vmihailenco/msgpack", "codec"},
	{"google.golang.org/protobuf", "codec/protobuf examples/..."},
	{"github.com/sony/gobreaker", "middleware"},
	{"github.com/cenkalti/backoff", "middleware"},
	{"golang.org/x/time", "middleware dlq"},
	{"github.com/klauspost/compress", "middleware/compress"},
	{"github.com/go-redis/redis_rate", "middleware/redisrate"},
	{"go.opentelemetry.io/otel", "middleware/telemetry"},
	{"github.com/stretchr/testify", ""},
	{"go.uber.org/goleak", ""},
	{"pgregory.net/rapid", ""},
}

var thirdParties = rule{
	name: "third parties",
	says: "each module from elsewhere has one home: only redisstream imports go-redis, only codec msgpack, only codec/protobuf " +
		"protobuf, only middleware/telemetry otel; test kits for users need the standard library only",
	instead: "use it through the package that is its home, or do without; a new module needs a row in homes of " +
		"internal/arch/imports_test.go and a reason in docs/design.md",
	find: func(s *source) (breaches []string) {
		for p, at := range s.allImports() {
			if s.apart || !fromElsewhere(p) {
				continue
			}
			who, known := home(p)
			switch {
			case !known:
				breaches = append(breaches, s.breach(at, "imports %s, which has no row in homes", p))
			case !s.inTestFile() && !anyUnder(s.dir(), who):
				breaches = append(breaches, s.breach(at, "imports %s, whose home is: %s", p, cmp.Or(who, "tests")))
			}
		}
		return breaches
	},
}

// fromElsewhere: import paths of the standard library have no dot in their first element.
func fromElsewhere(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".") && !under(p, module+"/...")
}

func home(p string) (who string, known bool) {
	for _, h := range homes {
		if under(p, h.module+"/...") {
			return h.who, true
		}
	}
	return "", false
}

var testingInTests = rule{
	name:    "testing in tests",
	says:    "only tests, and test kits, whose names end in \"test\", import testing",
	instead: "move the code into a _test.go file or a package xtest",
	find: func(s *source) (breaches []string) {
		for p, at := range s.allImports() {
			if under(p, "testing/...") && !s.inTest() {
				breaches = append(breaches, s.breach(at, "imports %s", p))
			}
		}
		return breaches
	},
}

var importSamples = []sample{
	{arrows, "bus/x.go", `package bus; import "github.com/typedbus/typedbus/transport/memory"`, "bus/x.go:1: bus imports transport/memory"},
	{arrows, "transport/redisstream/x.go", `package redisstream; import "github.com/typedbus/typedbus/bus"`, "may import only: transport"},
	{arrows, "transport/x.go", `package transport; import "github.com/typedbus/typedbus/codec"`, "nothing of ours"},
	{arrows, "codec/x.go", `package codec; import "github.com/typedbus/typedbus/transport"`, "nothing of ours"},
	{arrows, "brandnew/x.go", `package brandnew; import "github.com/typedbus/typedbus/bus"`, "no row in layers"},
	{arrows, "bus/x.go", `package bus; import "github.com/typedbus/typedbus/transport"`, ""},
	{arrows, "bus/x_test.go", `package bus; import "github.com/typedbus/typedbus/transport/memory"`, ""},
	{arrows, "transport/redisstream/x.go", `package redisstream; import "github.com/typedbus/typedbus/transport/redisstream/lua"`, ""},
	{examplesAreLeaves, "bus/x_test.go", `package bus; import "github.com/typedbus/typedbus/examples/quickstart"`, "imports examples/quickstart"},
	{examplesAreLeaves, "examples/shop/x.go", `package main; import "github.com/typedbus/typedbus/examples/quickstart"`, "imports examples/quickstart"},
	{examplesAreLeaves, "examples/shop/x.go", `package main; import "github.com/typedbus/typedbus/examples/internal/week"`, ""},
	{examplesAreLeaves, "bus/x.go", `package bus; import "github.com/typedbus/typedbus/examples/internal/week"`, "imports examples/internal/week"},
	{examplesAreLeaves, "examples/shop/billing/x.go", `package main; import "github.com/typedbus/typedbus/examples/shop/event"`, ""},
	{thirdParties, "bus/x.go", `package bus; import "github.com/redis/go-redis/v9"`, "whose home is: transport/redisstream"},
	{thirdParties, "bus/x.go", `package bus; import "github.com/google/uuid"`, "whose home is: transport"},
	{thirdParties, "middleware/x.go", `package middleware; import "go.opentelemetry.io/otel/trace"`, "whose home is: middleware/telemetry"},
	{thirdParties, "codec/codectest/x.go", `package codectest; import "github.com/stretchr/testify/require"`, "whose home is: tests"},
	{thirdParties, "bus/x_test.go", `package bus; import "example.com/leftpad"`, "no row in homes"},
	{thirdParties, "bus/x_test.go", `package bus; import "github.com/stretchr/testify/require"`, ""},
	{thirdParties, "transport/redisstream/x.go", `package redisstream; import ("context"; "github.com/redis/go-redis/v9")`, ""},
	{testingInTests, "bus/x.go", `package bus; import "testing"`, "imports testing"},
	{testingInTests, "bus/bustest/x.go", `package bustest; import "testing"`, ""},
}
