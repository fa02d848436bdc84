#!/bin/sh
# deps.sh [PACKAGE...]: installs what build, tests and demo need, and these packages,
# as far as this machine lacks them.
# Debian packages only.  Says nothing and needs no rights if nothing is missing.
set -eu

if ! command -v dpkg-query >/dev/null; then
	echo "deps: not a Debian system; needed are the PostgreSQL server with its headers, libcurl, json-c, libpq, Perl's IPC::Run" >&2
	exit 0
fi

installed()
{
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

pg_config=${PG_CONFIG:-pg_config}
major=$("$pg_config" --version 2>/dev/null | sed 's/^PostgreSQL \([0-9]*\).*/\1/') || major=
missing=
for package in gcc make libc6-dev pkg-config libcurl4-openssl-dev libjson-c-dev libpq-dev zlib1g-dev libipc-run-perl "$@"; do
	installed $package || missing="$missing $package"
done

# A PostgreSQL that is complete, whoever built it, is taken as it is.
if [ -n "$major" ] && [ "$major" -ge 15 ] && [ -f "$("$pg_config" --pgxs)" ] &&
	[ -f "$("$pg_config" --includedir-server)/postgres.h" ] && [ -x "$("$pg_config" --bindir)/initdb" ]; then
	server=
else
	server=yes
fi
[ -n "$missing$server" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	root=
elif sudo -n true 2>/dev/null; then
	root="sudo -n"
else
	root=none
fi

if [ -n "$server" ]; then
	[ "$root" = none ] || $root apt-get -q update </dev/null
	if [ -z "$major" ] || [ "$major" -lt 15 ]; then
		# the metapackage depends on the default major of this release
		major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | tail -n 1)
		[ "${major:-0}" -ge 15 ] || { echo "deps: PostgreSQL 15 or later is needed, this release has ${major:-none}" >&2; exit 1; }
	fi
	# both together: the headers must be those of the server
	missing="$missing postgresql-$major postgresql-server-dev-$major"
elif [ "$root" != none ]; then
	$root apt-get -q update </dev/null
fi

command="apt-get install -y --no-install-recommends$missing"
if [ "$root" = none ]; then
	echo "deps: packages are missing; as root, please: apt-get update && $command" >&2
	exit 1
fi

# A server that we bring shall not bring a running cluster of its own.
if [ -n "$server" ] && ! installed "postgresql-$major" &&
	! grep -qs '^ *create_main_cluster' /etc/postgresql-common/createcluster.conf; then
	$root mkdir -p /etc/postgresql-common
	echo "create_main_cluster = false" | $root tee -a /etc/postgresql-common/createcluster.conf >/dev/null
fi

# Nothing that comes along starts to serve, now or when the machine is started again.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap '$root rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' | $root tee $policy >/dev/null
	$root chmod 755 $policy
fi
echo "deps: $command"
$root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 $command </dev/null
case $missing in
	*nghttp2-proxy*) $root update-rc.d nghttpx disable >/dev/null 2>&1 || true ;;
esac
