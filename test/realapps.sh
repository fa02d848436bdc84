#!/bin/sh
# realapps.sh, in the sandbox: the tests against applications that nobody here wrote.
# APPS names some (parse rt directus), else all; see docs/realapps.md.
set -u

tools=$("$PG_CONFIG" --pgxs)
tools=${tools%/makefiles/pgxs.mk}/test
out=$PWD/tmp_check
passed=0
failed=0
mkdir -p "$out"

for app in ${APPS:-parse rt directus}; do
	echo "== $app"
	TESTDIR=$PWD TESTDATADIR=$out TESTLOGDIR=$out/log PG_TEST_PORT_DIR=$out/portlock \
		PG_REGRESS=$tools/regress/pg_regress PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-120} \
		perl -I "$tools/perl" -I test/perl "test/realapps/$app.pl" >"$out/$app.tap" 2>"$out/$app.err" </dev/null
	status=$?
	cat "$out/$app.tap"
	good=$(grep -c '^ok ' "$out/$app.tap")
	bad=$(grep -c '^not ok ' "$out/$app.tap")
	# a script that dies has failed, however many of its tests had passed
	[ $status = 0 ] || [ "$bad" -gt 0 ] || bad=1
	[ $status = 0 ] || { cat "$out/$app.err"; tail -n 60 "$out"/log/*_"$app"_*.log 2>/dev/null; } >&2
	passed=$((passed + good))
	failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
