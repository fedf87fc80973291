# `make` alone prints what there is. Recipes say what they do; commands show only when they fail.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

FUZZTIME    ?= 20s # for each fuzz target
EXAMPLETIME ?= 30s # then an example that serves for ever gets its Ctrl-C
BENCHFLAGS  ?=     # as: make bench-quick BENCHFLAGS='-only latency'
SEED        ?= 0   # of make chaos; 0 for a random one, which is printed
ROWS        ?=     # as: make chaos ROWS=G1,G2
DURATION    ?= 1h  # of make soak
ROWSATONCE  := 3   # rows of make chaos that run side by side
TESTFLAGS   ?=     # as: make test TESTFLAGS='-run Drain -count 5'

# Every module of the repository: the library, and those apart so that what they import stays out of its module graph.
MODULES := $(patsubst %/,%,$(dir $(wildcard go.mod */go.mod */*/go.mod)))

.DEFAULT_GOAL := help
.PHONY: help setup tools test check fmt vet staticcheck arch tidy tidy-check bench bench-quick chaos chaos-full soak matrix examples fuzz cover clean
.SILENT:
MAKEFLAGS += --no-print-directory

help: ## what there is to make
	awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: tools ## install what the tests need (redis-server, redis-py, PostgreSQL, promtool, a C compiler) and download modules
	go mod download

tools:
	scripts/setup.sh

test: tools ## all tests, with the race detector, on real servers that the tests start themselves
	$(call in_modules,go test -race $(TESTFLAGS) ./...)

check: fmt vet staticcheck arch tidy-check ## everything that needs no server: fmt, vet, staticcheck, architecture, tidy

fmt: ## fail if a file is not formatted as gofmt does
	bad=$$("$$(go env GOROOT)/bin/gofmt" -l $$(find . -name '*.go' -not -path './build/*')); \
	[ -z "$$bad" ] || { echo "not formatted, run gofmt -w on:"; echo "$$bad"; exit 1; }

vet: ## go vet
	$(call in_modules,go vet ./...)

staticcheck: ## staticcheck, run without entering go.mod
	$(call in_modules,go run $(STATICCHECK) ./...)

arch: ## the architecture test: who may import whom, and the habits of the house
	go test -count=1 ./internal/arch

tidy: ## write go.mod and go.sum as they should be
	$(call in_modules,go mod tidy)

tidy-check:
	$(call in_modules,go mod tidy -diff) || { echo "go.mod or go.sum is not tidy: run make tidy"; exit 1; }

bench: tools ## measure typedbus against its rivals (6 minutes, on an idle machine); renews bench/results.json and docs/performance.md
	cd bench && go run . -docs "$(CURDIR)/docs" $(BENCHFLAGS)

bench-quick: tools ## a look at the same in a minute and a half; writes bench/results-quick.json
	cd bench && go run . -quick $(BENCHFLAGS)

chaos: tools ## break everything on purpose, with real processes (5 minutes); renews the table of docs/reliability.md
	$(call chaos,10m,quick -report=$(CURDIR)/docs/reliability.md)

chaos-full: tools ## the same with full loads (three quarters of an hour); renews the other table
	$(call chaos,3h,full -report=$(CURDIR)/docs/reliability.md)

soak: tools ## faults by chance, for DURATION (1h)
	$(call chaos,0,soak -duration=$(strip $(DURATION)))

matrix: tools ## tests and some rows of chaos on Redis 8 and Valkey 9 (unpacked into build/), the rows on the installed server too
	scripts/servers.sh build/redis8 sid redis-server redis-tools
	scripts/servers.sh build/valkey9 sid valkey-server valkey-tools
	SEED=$(strip $(SEED)) scripts/matrix.sh redis-server "$(CURDIR)/build/redis8/run redis-server" "$(CURDIR)/build/valkey9/run valkey-server" -- -race $(TESTFLAGS)

examples: ## run every example; those that serve for ever get a Ctrl-C after EXAMPLETIME
	scripts/examples.sh $(strip $(EXAMPLETIME))

fuzz: ## each fuzz target for FUZZTIME (20s)
	scripts/fuzz.sh $(strip $(FUZZTIME))

cover: tools ## test coverage: the total here, the details in build/cover.html
	mkdir -p build
	go test -coverpkg=./... -coverprofile=build/cover.out $(TESTFLAGS) ./...
	go tool cover -html=build/cover.out -o build/cover.html
	go tool cover -func=build/cover.out | tail -1

clean: ## remove build/
	rm -rf build

# chaos runs TestChaos with a time limit and a tier.
chaos = go test -race ./internal/chaos -run '^TestChaos$$' -count=1 -v -parallel $(ROWSATONCE) -timeout $(1) -args -seed=$(strip $(SEED)) -rows=$(strip $(ROWS)) -tier=$(2)

# in_modules runs a command in every module, and stops at the first that fails.
define in_modules
for module in $(MODULES); do \
	[ $$module = . ] || echo "$$module:"; \
	(cd $$module && $(1)) || exit 1; \
done
endef
