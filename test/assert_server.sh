#!/bin/sh
# assert_server.sh DIRECTORY: builds the installed major of PostgreSQL from Debian's
# source into DIRECTORY/pg, unless it is there: with assertions, debug symbols and
# what tells valgrind of palloc, without NLS (with it the address sanitizer hangs).
# Takes some minutes.  Needs no rights; writes nowhere else.
set -eu
dir=$1
unset MAKEFLAGS MAKELEVEL MFLAGS
[ ! -x "$dir/pg/bin/pg_config" ] || exit 0
major=$("${PG_CONFIG:-pg_config}" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
mkdir -p "$dir/apt/parts" "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/build"
cd "$dir"

# The machine's own sources, those of Debian, for source packages.
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
	grep -qsi debian "$file" || continue
	sed 's/^deb /deb-src /; s/^Types:.*/Types: deb-src/' "$file" >"apt/parts/$(basename "$file")"
done
apt()
{
	tool=$1
	shift
	"$tool" -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dir/apt/parts" \
		-o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" -o APT::Sandbox::User= "$@" </dev/null
}
apt apt-get update >apt.log 2>&1 || true
# The newest may be announced without being there: security updates of some mirrors.
for version in $(apt apt-cache showsrc "postgresql-$major" | sed -n 's/^Version: //p' | sort -rV); do
	apt apt-get source --download-only "postgresql-$major=$version" >>apt.log 2>&1 && break
done
tar -xf "postgresql-${major}"_*.orig.tar.* || { cat apt.log >&2; exit 1; }

cd build
"../postgresql-$major".*/configure -q --prefix="$dir/pg" --enable-cassert --enable-debug --enable-tap-tests \
	--with-libxml --without-readline --without-zlib --without-icu \
	CFLAGS='-Og -g -fno-omit-frame-pointer' CPPFLAGS=-DUSE_VALGRIND >make.log 2>&1
for part in . contrib; do
	make -s -j"$(nproc)" -C $part
	make -s -C $part install
done >>make.log 2>&1 || { tail -n 40 make.log >&2; exit 1; }
cd ..
cp "postgresql-$major".*/src/tools/valgrind.supp "$(pg/bin/pg_config --sharedir)/"
rm -rf apt build "postgresql-$major"*
