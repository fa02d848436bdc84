#!/bin/sh
# check.sh, in the sandbox: every test there is; the last line counts them, the
# lines before it name those that failed.
# REGRESS and ISOLATION name the tests, see the Makefile; TAP some files, else all.
set -u

tools=$("$PG_CONFIG" --pgxs)
tools=${tools%/makefiles/pgxs.mk}/test
out=$PWD/tmp_check
passed=0
failed=0
mkdir -p "$out"
: >"$out/failed"

. test/service.sh
trap stop_service EXIT

count()
{
	passed=$((passed + $1))
	failed=$((failed + $2))
}

show()
{
	[ -s "$1" ] || return 0
	echo "---- ${1#"$PWD"/} ----"
	tail -n "$2" "$1"
}

# regress NAME DRIVER TEST-FOLDER TEST...: in a server of its own.  Reads both
# dialects of the driver: "test x ... ok" (15) and TAP (16 and later).
regress()
{
	name=$1 driver=$2 input=$3
	shift 3
	[ $# -gt 0 ] || return 0
	mkdir -p "$out/$name"
	# the driver gives up altogether where an expected file is missing
	for test in "$@"; do
		[ -f "$input/expected/$test.out" ] || : >"$input/expected/$test.out"
	done
	"$driver" --bindir="$("$PG_CONFIG" --bindir)" --inputdir="$input" --outputdir="$out/$name" \
		--temp-instance="$out/$name/instance" --temp-config=test/activate.conf \
		--encoding=UTF8 --dbname="activate_$name" "$@" >"$out/$name.log" 2>&1 </dev/null
	status=$?
	cat "$out/$name.log"
	good=$(grep -cE '^(test .* \.\.\. ok |ok [0-9])' "$out/$name.log")
	bad=$(grep -cE '^(test .* \.\.\. FAILED|not ok [0-9])' "$out/$name.log")
	[ $status = 0 ] || [ "$bad" -gt 0 ] || bad=1
	count "$good" "$bad"
	if [ "$bad" -gt 0 ]; then
		sed -nE "s|^test ([^ ]+) .*FAILED.*|failed: $name: \1|p; s|^not ok [0-9]+ +[-+] ([^ ]+).*|failed: $name: \1|p" \
			"$out/$name.log" | grep . >>"$out/failed" || echo "failed: $name: the driver itself" >>"$out/failed"
		show "$out/$name/regression.diffs" 500
		show "$out/$name/log/postmaster.log" 60
	fi
}

# Counts as prove does: every test of every file, and a file that dies is one failure.
tap()
{
	[ $# -gt 0 ] || return 0
	TESTDIR=$PWD TESTDATADIR=$out TESTLOGDIR=$out/log PG_TEST_PORT_DIR=$out/portlock \
		PG_REGRESS=$tools/regress/pg_regress PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-120} \
		prove -j2 --timer -I "$tools/perl" -I test/perl "$@" >"$out/tap.log" 2>&1 </dev/null
	status=$?
	cat "$out/tap.log"
	all=$(sed -n 's/^Files=[0-9]*, Tests=\([0-9]*\).*/\1/p' "$out/tap.log")
	red=$(sed -n 's/^test.* (Wstat: .*Failed: \([0-9]*\))$/\1/p' "$out/tap.log" | awk '{ n += $1 } END { print n + 0 }')
	dead=$(grep -cE '^test.* \(Wstat: .*Failed: 0\)$' "$out/tap.log")
	bad=$((red + dead))
	[ $status = 0 ] || [ $bad -gt 0 ] || bad=1
	count $((${all:-0} - red)) $bad
	[ $bad -gt 0 ] || return 0
	# a bail-out names no file: then the logs of all
	names=$(sed -n 's|^test/t/\([^ ]*\)\.pl .*Wstat.*|\1|p' "$out/tap.log")
	for test in $names; do
		sed -n 's/^[^)]*) not ok [0-9]* - //p' "$out/log/regress_log_$test" | paste -sd ';' |
			sed "s|^|failed: test/t/$test.pl: |; s|: \$|: it died|" >>"$out/failed"
	done
	[ -n "$names" ] || echo "failed: prove itself" >>"$out/failed"
	for test in ${names:-"*"}; do
		for log in "$out/log/regress_log_"$test "$out/log/"${test}_*.log; do
			show "$log" 60
		done
	done
}

regress regress "$tools/regress/pg_regress" . ${REGRESS:-}
regress isolation "$tools/isolation/pg_isolation_regress" test/isolation ${ISOLATION:-}
tap ${TAP-$(ls test/t/*.pl 2>/dev/null)}

stop_service
cat "$out/failed"
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
