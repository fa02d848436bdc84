#!/bin/sh
# chaos.sh, in the sandbox: test/t/710_chaos.pl, and what it does while it does it.
set -u

tools=$("$PG_CONFIG" --pgxs)
tools=${tools%/makefiles/pgxs.mk}/test
out=$PWD/tmp_check
mkdir -p "$out"
TESTDIR=$PWD TESTDATADIR=$out TESTLOGDIR=$out/log PG_TEST_PORT_DIR=$out/portlock \
	PG_REGRESS=$tools/regress/pg_regress PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-120} \
	perl -I "$tools/perl" -I test/perl test/t/710_chaos.pl 2>&1
status=$?
[ $status = 0 ] || tail -n 100 "$out"/log/710_chaos_*.log "$out"/log/regress_log_710_chaos >&2
exit $status
