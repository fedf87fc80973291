#!/usr/bin/env bash
# Runs the tests that use Redis, and some rows of chaos, on one server after the other, and fails if any of them failed. What it
# found stands in docs/reliability.md afterwards.
#   scripts/matrix.sh redis-server 'build/redis8/run redis-server' 'build/valkey9/run valkey-server' -- -race
set -euo pipefail

rows=G1,G2,G7,G8,G8d,G17
seed=${SEED:-0}

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
	export TYPEDBUS_REDIS_SERVER=$server
	if [ "$server" = redis-server ]; then
		suite='`make test`'
		echo 'the tests are not repeated here: `make test` runs them on this server'
	else
		suite=passed
		go test -p 1 -count=1 "$@" "${packages[@]}" || suite=**failed** failed=1
		[ $# -le 1 ] || suite+=" (\`$*\`)" # perhaps not all of them
	fi
	go test -race ./internal/chaos -run '^TestChaos$' -count=1 -v -parallel 3 -timeout 10m \
		-args -tier=quick -seed="$seed" -rows=$rows -suite="$suite" -servers="$PWD/docs/reliability.md" || failed=1
done
exit $failed
