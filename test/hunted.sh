#!/bin/sh
# hunted.sh valgrind|sanitize, in the sandbox of hunt.sh: runs check.sh with a server
# that reports what is wrong with memory; the last line counts tests and findings.
set -u
how=$1
bin=$("$PG_CONFIG" --bindir)
reports=$PWD/tmp_check/reports
mkdir -p "$reports"

case $how in
	valgrind)
		hunter="valgrind --quiet --leak-check=no --num-callers=30 --error-markers=FINDING,END
			--suppressions=$("$PG_CONFIG" --sharedir)/valgrind.supp --log-file=$reports/%p"
		;;
	sanitize)
		hunter="env LD_PRELOAD=$(gcc -print-file-name=libasan.so)
			ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:fast_unwind_on_malloc=0:log_path=$reports/asan
			LSAN_OPTIONS=exitcode=0 UBSAN_OPTIONS=print_stacktrace=1"
		;;
esac

# Not what initdb starts: it would take minutes, and does not know us.
mv "$bin/postgres" "$bin/postgres.bare"
cat >"$bin/postgres" <<EOF
#!/bin/sh
case " \$* " in
	*" -V "* | *" --boot "* | *" --single "* | *" --check "*) exec $bin/postgres.bare "\$@" ;;
esac
exec $(echo $hunter) $bin/postgres.bare "\$@"
EOF
# A restart starts what postmaster.opts names.
mv "$bin/pg_ctl" "$bin/pg_ctl.bare"
cat >"$bin/pg_ctl" <<EOF
#!/bin/sh
last=
for word; do
	[ "\$last" != -D ] || [ ! -f "\$word/postmaster.opts" ] || sed -i 's|^$bin/postgres.bare|$bin/postgres|' "\$word/postmaster.opts"
	last=\$word
done
exec $bin/pg_ctl.bare "\$@"
EOF
chmod 755 "$bin/postgres" "$bin/pg_ctl"
# An immediate stop leaves nobody time to report leaks.
sed -i "s/->stop('immediate')/->stop('fast')/" "$(dirname "$("$PG_CONFIG" --pgxs)")/../test/perl/PostgreSQL/Test/Cluster.pm"

# Everything takes ten times as long.
cat >>test/activate.conf <<EOF
activate.http_timeout = '60s'
activate.render_timeout = '60s'
authentication_timeout = '5min'
EOF
export PG_TEST_TIMEOUT_DEFAULT="${PG_TEST_TIMEOUT_DEFAULT:-900}" PGCTLTIMEOUT=900

sh test/check.sh 2>&1 | tee check.log

# Leaks of the server are its own; ours have a frame of ours.  What is undefined is
# told in the server's log.
findings=$(cat "$reports"/* /dev/null | awk -v RS= '
	/FINDING|ERROR: AddressSanitizer/ || (/ leak of / && / src\/[a-z]+\/[a-z_]+\.c:/) {
		print $0 "\n" >"/dev/stderr"
		n += /FINDING/ ? gsub(/ FINDING/, "") : 1
	}
	END { print n + 0 }')
find tmp_check -name '*.log' -exec grep -h 'runtime error:' {} + | sort | uniq -c >undefined.log
cat undefined.log >&2
findings=$((findings + $(wc -l <undefined.log)))
echo "$how: $(tail -n 1 check.log), $findings findings"
grep -q '^[1-9][0-9]* passed, 0 failed$' check.log && [ "$findings" = 0 ]
