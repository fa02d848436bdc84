#!/bin/sh
# floors.sh ROOM...: fails if a room includes a header of a room to its right.
# The order of the arguments is the order of the floors, lowest first.
# (PostgreSQL has folders of the same names: only headers that are ours count.)
set -eu
cd "$(dirname "$0")/.."
bad=0
above=" $* "
for room in "$@"; do
	above=${above#" $room"}
	for upper in $above; do
		for header in $(sed -n "s|^#include \"\($upper/[^\"]*\)\".*|\1|p" src/"$room"/*.[ch] /dev/null | sort -u); do
			[ -f "src/$header" ] || continue
			grep -n "#include \"$header\"" src/"$room"/*.[ch] /dev/null >&2
			echo "floors: room \"$room\" may not include \"$header\"" >&2
			bad=1
		done
	done
done
for dir in src/*/; do
	room=$(basename "$dir")
	case " $* upgrade " in
		*" $room "*) ;;
		*) echo "floors: src/$room is not in ROOMS" >&2; bad=1 ;;
	esac
done
[ $bad = 0 ] && echo "floors: $# rooms, every include goes down"
exit $bad
