#!/bin/sh
# floors.sh ROOM...: fails if a room includes a header of a room to its right.
# The order of the arguments is the order of the floors, lowest first.
set -eu
cd "$(dirname "$0")/.."
bad=0
above=" $* "
for room in "$@"; do
	above=${above#" $room"}
	for upper in $above; do
		if grep -n "#include \"$upper/" src/"$room"/*.[ch] /dev/null; then
			echo "floors: room \"$room\" may not include \"$upper\"" >&2
			bad=1
		fi
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
