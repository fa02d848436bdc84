#!/bin/sh
# hunt.sh valgrind|sanitize: every test there is, on a server with assertions
# (assert_server.sh), under valgrind, or with the extension compiled with the
# address and undefined-behaviour sanitizers.
#
# KEEP names a folder where that server is kept for the next run; without it
# nothing is left behind.  LIMIT: seconds, of which building the server takes
# some hundred.  REGRESS, ISOLATION and TAP choose tests as in check.sh.
set -eu
cd "$(dirname "$0")/.."
how=$1
if [ -n "${KEEP:-}" ]; then
	mkdir -p "$KEEP"
	server=$(cd "$KEEP" && pwd)
else
	server=$(mktemp -d /tmp/activate.XXXXXX)
	trap 'rm -rf "$server"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
fi
# the tests run as another user
chmod 755 "$server"
timeout "${LIMIT:-14400}" nice sh -c '
	set -eu
	sh test/assert_server.sh "$1"
	export PG_CONFIG="$1/pg/bin/pg_config"
	[ "$2" != sanitize ] || export COPT="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
	sh test/sandbox.sh sh test/hunted.sh "$2"' hunt "$server" "$how" || {
	status=$?
	[ $status != 124 ] || echo "$how: not done after ${LIMIT:-14400} seconds"
	exit $status
}
