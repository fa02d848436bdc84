#!/bin/sh
# run.sh, in the sandbox: measures the figures, all or those of FIGURES, and prints
# the page docs/benchmarks.md; what goes on meanwhile, to the error stream.
set -eu

tools=$("$PG_CONFIG" --pgxs)
tools=${tools%/makefiles/pgxs.mk}/test
make -s build/loop build/listen WERROR=1

export TESTDIR="$PWD" TESTDATADIR="$PWD/tmp_check" TESTLOGDIR="$PWD/tmp_check/log" PG_TEST_PORT_DIR="$TMPDIR"
export PG_REGRESS="$tools/regress/pg_regress" PG_TEST_TIMEOUT_DEFAULT=600
perl -I "$tools/perl" -I test/perl -I test/bench test/bench/bench.pl && exit 0
tail -n 20 tmp_check/log/*.log >&2
exit 1
