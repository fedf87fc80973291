#!/usr/bin/env bash
# Runs each fuzz target for the given time. What it finds is written to testdata/fuzz beside the target: commit it.
set -euo pipefail

failed=0
while IFS=: read -r file func; do
	name=${func#func }
	printf '\n== %s %s\n' "$(dirname "$file")" "$name"
	go test -run='^$' -fuzz="^$name\$" -fuzztime="$1" "$(dirname "$file")" || failed=1
done < <(grep -roE --include='*_test.go' '^func Fuzz\w+' .)
exit $failed
