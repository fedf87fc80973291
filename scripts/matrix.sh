#!/usr/bin/env bash
# Runs the tests that use Redis on one server after the other, and fails if any of them failed:
#   scripts/matrix.sh 'build/redis8/run redis-server' 'build/valkey9/run valkey-server' -- -race
set -euo pipefail

servers=()
while [ "$1" != -- ]; do
	servers+=("$1")
	shift
done
shift # what is left goes to go test

# Every package whose tests start servers, and those of redistest itself.
users='{{.ImportPath}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}}'
mapfile -t packages < <(go list -f "$users" ./... | grep -F /internal/redistest | cut -d' ' -f1)

failed=0
for server in "${servers[@]}"; do
	printf '\n== %s\n' "$($server --version)"
	TYPEDBUS_REDIS_SERVER=$server go test -count=1 "$@" "${packages[@]}" || failed=1
done
exit $failed
