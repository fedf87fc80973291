#!/usr/bin/env bash
# Runs each fuzz target for the given time. What it finds is written to testdata/fuzz beside the target: commit it.
set -euo pipefail

grep -roE --include='*_test.go' '^func Fuzz\w+' . |
	while IFS=: read -r file func; do
		printf '\n== %s %s\n' "$(dirname "$file")" "${func#func }"
		go test -run='^$' -fuzz="^${func#func }\$" -fuzztime="$1" "$(dirname "$file")"
	done
