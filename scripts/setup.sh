#!/usr/bin/env bash
# Sees to what the tests need beside Go: redis-server, a Python with redis-py, a PostgreSQL server, a C compiler for the race
# detector, and promtool, which is part of prometheus.
# Says nothing and takes no time when all is there. Otherwise it installs what is missing, or says in one line how to.
set -euo pipefail

packages=(redis-server python3-redis postgresql gcc libc6-dev prometheus)

# Debian's own Python first: python3-redis belongs to it, whatever other python3 stands before it in the path.
has_redis_py() {
	local python
	for python in /usr/bin/python3 python3; do
		"$python" -c 'import redis' 2>/dev/null && return
	done
	return 1
}

# Debian keeps the server out of the path.
has_postgres() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

has_c() { printf '#include <stdlib.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1; }

missing() {
	command -v redis-server >/dev/null || echo redis-server
	has_redis_py || echo redis-py
	has_postgres || echo postgresql
	has_c || echo "a C compiler"
	command -v promtool >/dev/null || echo promtool
}

# as_root runs a command as root, asking for a password only where somebody can type it.
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"
	elif [ -t 0 ]; then sudo "$@"
	else sudo -n "$@"; fi
}

can_install() {
	command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }
}

# apt runs without questions and without starting the service. What it says is shown only when it fails.
apt() {
	local said
	said=$(as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq "$@" 2>&1) || printf '%s\n' "$said" >&2
}

give_up() {
	echo "setup: missing: $(missing | paste -sd, | sed 's/,/, /g'). Install them, as: sudo apt-get install ${packages[*]}" >&2
	exit 1
}

[ -n "$(missing)" ] || exit 0
can_install || give_up
echo "setup: apt-get install ${packages[*]}"
apt update
apt install -y --no-install-recommends "${packages[@]}"
# A package whose service cannot start is reported as failed and works all the same: only what is there counts.
[ -z "$(missing)" ] || give_up
