#!/usr/bin/env bash
# Builds and runs every program under examples/. One that serves for ever gets a Ctrl-C after the given time, and must then
# drain and end without an error like any other.
set -euo pipefail

limit=$1
failed=0
while read -r name package; do
	printf '\n== %s\n' "$name"
	go build -o "build/examples/$name" "$package" &&
		timeout --preserve-status --signal=INT --kill-after=60 "$limit" "build/examples/$name" </dev/null ||
		{ echo "$name failed: exit status $?"; failed=1; }
done < <(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./examples/... | sed -nE 's,^.*/examples/(.*)$,\1 &,p')
exit $failed
