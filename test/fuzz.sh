#!/bin/sh
# fuzz.sh SECONDS [TARGET...]: libFuzzer with the address and undefined-behaviour
# sanitizers on what reads strangers' text, so many seconds for each target of
# test/fuzz.  A finding is shown with the input that caused it; put that input
# into the seeds when it is mended.  Leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
[ $# -gt 0 ] || set -- $(ls test/fuzz/*.c | sed 's|.*/\(.*\)\.c|\1|')

work=$(mktemp -d /tmp/activate.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Every file that needs no postgres.h; a target takes what it calls.
compile="clang -std=gnu11 -g -O1 -Wall -Wextra -Werror -Isrc -Itest/fuzz -fsanitize=address,undefined -fno-sanitize-recover=all"
for file in $(grep -L '^#include "postgres.h"' src/*/*.c); do
	$compile -fsanitize=fuzzer-no-link -c -o "$work/$(echo "$file" | tr / _).o" "$file"
done
ar rc "$work/plain.a" "$work"/*.o

executions=0
findings=0
for target in "$@"; do
	$compile -fsanitize=fuzzer -o "$work/$target" "test/fuzz/$target.c" "$work/plain.a" -lcurl -ljson-c
	mkdir "$work/corpus.$target" "$work/found.$target"
	awk -v dir="$work/corpus.$target" '{ file = dir "/" NR; printf "%s", $0 >file; close(file) }' "test/fuzz/seeds/$target"
	status=0
	nice "$work/$target" -max_total_time="$seconds" -max_len=512 -timeout=20 -print_final_stats=1 \
		-artifact_prefix="$work/found.$target/" "$work/corpus.$target" >"$work/log" 2>&1 </dev/null || status=$?
	n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
	edges=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$work/log" | tail -n 1)
	executions=$((executions + ${n:-0}))
	echo "fuzz: $target: ${n:-0} executions, ${edges:-0} edges"
	if [ $status != 0 ]; then
		findings=$((findings + 1))
		grep -v '^#' "$work/log" | tail -n 60
		for input in "$work/found.$target"/*; do
			[ -f "$input" ] || continue
			echo "---- the input, $(wc -c <"$input") bytes ----"
			od -A d -c "$input"
		done
	fi
done
echo "fuzz: $# targets, $executions executions, $findings findings"
[ $findings = 0 ]
