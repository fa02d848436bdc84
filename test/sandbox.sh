#!/bin/sh
# sandbox.sh COMMAND [ARG...]: runs COMMAND in a copy of this checkout, built with
# warnings as errors and installed into a PostgreSQL of its own.
#
# The installed server is copied under a temporary directory; its pg_config finds
# everything relative to itself, so nothing shared is touched.  Everything there
# belongs to an ordinary user (initdb refuses root) and is gone afterwards, with
# every server that COMMAND left running.
#
# COMMAND finds: its working directory, the copy; PG_CONFIG, PATH, TMPDIR;
# ACTIVATE_SERVICE, the program of test/service; ACTIVATE_SHARED, the folder with
# the real data and the vendors' documents where there is one.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
pg_config=$(command -v "${PG_CONFIG:-pg_config}")
# Not TMPDIR: the path of a unix socket has 107 bytes.
sandbox=$(mktemp -d /tmp/activate.XXXXXX)

as_user()
{
	if [ "$(id -u)" != 0 ]; then
		"$@"
	elif id postgres >/dev/null 2>&1; then
		runuser -u postgres -- "$@"
	else
		runuser -u nobody -- "$@"
	fi
}

stop_server()
{
	pid=$(head -n 1 "$1")
	kill -QUIT "$pid" 2>/dev/null || return 0
	tries=50
	while kill -0 "$pid" 2>/dev/null && [ $tries -gt 0 ]; do
		tries=$((tries - 1))
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null || true
}

clean()
{
	trap - EXIT
	find "$sandbox" -name postmaster.pid 2>/dev/null | while read -r file; do
		stop_server "$file"
	done
	rm -rf "$sandbox"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The server: programs, libraries and shared files copied, headers linked.
root=$sandbox/pg
for dir in bindir pkglibdir sharedir; do
	path=$("$pg_config" --$dir)
	[ -e "$root$path" ] && continue
	mkdir -p "$(dirname "$root$path")"
	cp -a "$path" "$(dirname "$root$path")/"
done
for dir in includedir pkgincludedir includedir-server; do
	path=$("$pg_config" --$dir)
	[ -e "$root$path" ] && continue
	mkdir -p "$(dirname "$root$path")"
	ln -s "$path" "$root$path"
done
PG_CONFIG=$root$("$pg_config" --bindir)/pg_config
if [ "$("$PG_CONFIG" --pkglibdir)" != "$root$("$pg_config" --pkglibdir)" ] ||
	[ ! -f "$("$PG_CONFIG" --pgxs)" ]; then
	echo "sandbox: the copy of PostgreSQL does not find itself" >&2
	exit 1
fi

# The checkout, without what was built there; and the real data.
src=$sandbox/src
mkdir "$src" "$sandbox/t"
(cd "$top" && tar -cf - --exclude=./.git --exclude=./build --exclude='*.o' --exclude='*.d' --exclude='*.bc' \
	--exclude='*.so' --exclude=./results --exclude=./log --exclude=./tmp_check .) | tar -xf - -C "$src"
shared=${ACTIVATE_SHARED:-$top/../shared}
if [ -r "$shared/data/online_retail.csv" ]; then
	mkdir -p "$sandbox/shared/data"
	cp "$shared/data/online_retail.csv" "$sandbox/shared/data/"
fi
if [ -r "$shared/specs/responses.json" ]; then
	mkdir -p "$sandbox/shared/specs"
	cp "$shared/specs/responses.json" "$sandbox/shared/specs/"
fi
if [ -r "$shared/specs/intercom.json" ]; then
	mkdir -p "$sandbox/shared/specs"
	cp "$shared/specs/"*.json "$sandbox/shared/specs/"
fi
chmod 755 "$sandbox"
[ "$(id -u)" != 0 ] || chown -R "$(as_user id -u):$(as_user id -g)" "$sandbox"

unset $(env | sed -n 's/^\(PG[A-Z]*\)=.*/\1/p') LANGUAGE LC_ALL MAKEFLAGS MAKELEVEL MFLAGS
export PG_CONFIG LANG=C.UTF-8 TMPDIR="$sandbox/t" HOME="$sandbox"
export PATH="$(dirname "$PG_CONFIG"):$PATH"
export ACTIVATE_SERVICE="$src/build/service" ACTIVATE_SHARED="$sandbox/shared"

cd "$src"
log=$sandbox/make.log
as_user make -s -j"$(nproc)" WERROR=1 with_llvm=no PG_CONFIG="$PG_CONFIG" all build/service >"$log" 2>&1 </dev/null &&
	as_user make -s with_llvm=no PG_CONFIG="$PG_CONFIG" install >>"$log" 2>&1 </dev/null || {
	cat "$log" >&2
	echo "sandbox: the build failed" >&2
	exit 1
}
as_user "$@" </dev/null
