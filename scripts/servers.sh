#!/usr/bin/env bash
# Unpacks a server of another Debian release beside the system's own, with its libraries. Nothing is installed.
#
#   scripts/servers.sh build/redis8 sid redis-server redis-tools
#   build/redis8/run redis-server --port 7001
#
# It uses the machine's configured Debian mirror, keys and proxy, needs no root, and does nothing when DIR/run is there.
set -euo pipefail

dir=$(realpath -m "$1") suite=$2
shift 2
[ ! -x "$dir/run" ] || exit 0

mirror() {
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
		sed -nE 's/^URIs: *([^ ]*).*/\1/p; s/^deb (\[[^]]*\] )?([^ ]*) .*/\2/p' | grep -m1 -E '/debian/?$'
}

for tool in apt-get dpkg; do
	command -v $tool >/dev/null || { echo "servers: no $tool here: the matrix needs Debian or a relative of it" >&2; exit 1; }
done
url=$(mirror) || url=http://deb.debian.org/debian
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keys ] || { echo "servers: no $keys: sudo apt-get install debian-archive-keyring" >&2; exit 1; }

rm -rf "$dir"
mkdir -p "$dir"/lists/partial "$dir"/cache/archives/partial "$dir"/root
echo "deb [signed-by=$keys] $url $suite main" >"$dir/sources.list"
: >"$dir/status" # nothing counts as installed, so that every library comes along

apt=(
	apt-get -qq
	-o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=-
	-o Dir::State::Lists="$dir/lists" -o Dir::State::status="$dir/status" -o Dir::Cache="$dir/cache"
	-o APT::Sandbox::User="$(id -un)"
)
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends --download-only "$@" >/dev/null
for deb in "$dir"/cache/archives/*.deb; do dpkg -x "$deb" "$dir/root"; done
rm -rf "$dir"/lists "$dir"/cache

# Its programs need the C library they were built for, so they start through that library's own loader.
cat >"$dir/run" <<'RUN'
#!/bin/sh
# Runs a program of the unpacked release: run PROGRAM ARGUMENT...
root=$(dirname "$(readlink -f "$0")")/root
program=$1
shift
loader=$(echo "$root"/usr/lib/*-linux-gnu/ld-linux*.so.*)
exec "$loader" --library-path "$(dirname "$loader")" "$root/usr/bin/$program" "$@"
RUN
chmod +x "$dir/run"
