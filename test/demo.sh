#!/bin/sh
# demo.sh, in the sandbox: the whole way of a row, from an operational database
# and a file to a CRM, on a throw-away server.  Every statement is printed before
# it runs: the output is meant to be read, and its statements to be copied.
set -eu

server=$TMPDIR/server
log=$TMPDIR/server.log
started=$(date +%s)
chapter=0

finish()
{
	status=$?
	trap - EXIT
	[ $status = 0 ] || { echo "The demo failed; the server's last words:"; tail -n 20 "$log"; } >&2
	[ ! -f "$server/postmaster.pid" ] || pg_ctl -D "$server" -m fast -w stop >/dev/null 2>&1 </dev/null
	stop_service
	exit $status
}

chapter()
{
	chapter=$((chapter + 1))
	printf '\n== %d. %s ==\n' $chapter "$1"
}

# sql DATABASE: statements from stdin, printed as they are, with their results
sql()
{
	echo
	psql -X -q -a -v ON_ERROR_STOP=1 -v crm="$ACTIVATE_SERVICE_URL" -v files="$TMPDIR" -v sockets="$TMPDIR" \
		-P footer=off -P null=- -d "$1"
}

# value STATEMENT: of the warehouse, as plain text
value()
{
	psql -X -q -A -t -v ON_ERROR_STOP=1 -d warehouse -c "$1"
}

# until_true STATEMENT: asks again until it is
until_true()
{
	tries=600
	while [ "$(value "$1")" != t ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "waited in vain for: $1" >&2; exit 1; }
		sleep 0.05
	done
}

# crm METHOD PATH [BODY]: what the people at the CRM do or see
crm()
{
	printf '\ncrm> %s\n' "$*"
	"$ACTIVATE_SERVICE" call "$@"
}

. test/service.sh
trap finish EXIT

echo "A throw-away PostgreSQL server with two databases, and a small CRM at $ACTIVATE_SERVICE_URL"
initdb -D "$server" -U demo -A trust -E UTF8 --locale=C.UTF-8 -N >/dev/null </dev/null
cat >>"$server/postgresql.conf" <<-CONF
	listen_addresses = ''
	unix_socket_directories = '$TMPDIR'
	max_worker_processes = 16
	shared_preload_libraries = 'activate'
	activate.allowed_hosts = '127.0.0.1'    # the CRM of the demo: plain http, loopback
	activate.retry_backoff_max = '2s'       # a short outage shall be over soon
CONF
pg_ctl -D "$server" -l "$log" -w start >/dev/null </dev/null
export PGHOST="$TMPDIR" PGUSER=demo
createdb shop
createdb warehouse
grep -E '^(shared_preload|activate\.)' "$server/postgresql.conf"
"$ACTIVATE_SERVICE" call POST /_control '{"require_bearer": "demo-token"}' >/dev/null

chapter "Where the rows come from: the shop's own database, and a file from marketing"
sql shop <<'SQL'
CREATE TABLE customer (
    id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL, country text NOT NULL);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer bigint NOT NULL REFERENCES customer,
    total numeric(10,2) NOT NULL, ordered_at timestamptz NOT NULL DEFAULT clock_timestamp());

INSERT INTO customer
SELECT i, f || ' ' || l, lower(f || '.' || l || i || '@Example.com'), (ARRAY['DE','FR','UK','US'])[i % 4 + 1]
  FROM generate_series(1, 2000) i,
       LATERAL (SELECT (ARRAY['Ada','Alan','Edgar','Grace','Jim','Tony'])[i % 6 + 1] AS f,
                       (ARRAY['Codd','Gray','Hoare','Hopper','Lovelace','Turing','Wirth'])[i % 7 + 1] AS l) n;
INSERT INTO orders
SELECT i, i * 7919 % 2000 + 1, (i * 37 % 20000 + 500) / 100.0, timestamptz '2024-01-01' + i * interval '1 hour'
  FROM generate_series(1, 10000) i;
SELECT count(*) AS customers, (SELECT count(*) FROM orders) AS orders FROM customer;
SQL
echo
echo '$ head -4 consent.csv                        # who may be written to'
{
	echo 'customer,newsletter'
	seq 1 2000 | awk '{ print $1 "," ($1 % 10 ? "yes" : "no") }'
} >"$TMPDIR/consent.csv"
head -n 4 "$TMPDIR/consent.csv"

chapter "The warehouse sees both as foreign tables"
sql warehouse <<'SQL'
CREATE EXTENSION activate;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION file_fdw;

CREATE SERVER shop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host :'sockets', dbname 'shop');
CREATE USER MAPPING FOR CURRENT_USER SERVER shop OPTIONS (user 'demo');
CREATE SCHEMA shop;
IMPORT FOREIGN SCHEMA public FROM SERVER shop INTO shop;

CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
\set consent :files '/consent.csv'
CREATE FOREIGN TABLE shop.consent (customer bigint, newsletter boolean)
    SERVER files OPTIONS (filename :'consent', format 'csv', header 'true');
SQL

chapter "Extract: a sync moves rows from one relation to another"
sql warehouse <<'SQL'
CREATE SCHEMA raw;
-- a missing target is made from the source's columns
SELECT activate_sync('customers', source => 'shop.customer', target => 'raw.customer', key => 'id', mode => 'mirror');
SELECT activate_sync('consent', source => 'shop.consent', target => 'raw.consent', key => 'customer', mode => 'mirror');
-- orders only grow: read on from where the last run ended
SELECT activate_sync('orders', source => 'shop.orders', target => 'raw.orders', key => 'id',
                     capture => 'cursor', options => '{"cursor": "ordered_at", "lag": "1 minute"}');

SELECT activate_run('customers') AS customers, activate_run('consent') AS consent, activate_run('orders') AS orders;
SELECT r.id AS run, s.name, s.target, r.status, r.rows_read, r.rows_inserted, r.finished_at - r.started_at AS took
  FROM activate.run r JOIN activate.sync s ON s.id = r.sync ORDER BY r.id;
SQL

chapter "Incremental: the first load shows how far it is, the next one reads what is new"
sql shop <<'SQL'
CREATE TABLE visit (id bigint PRIMARY KEY, customer bigint NOT NULL, page text NOT NULL, seen_at timestamptz NOT NULL);
INSERT INTO visit SELECT i, i % 2000 + 1, '/product/' || i % 977, timestamptz '2025-01-01' + i * interval '20 s'
  FROM generate_series(1, 400000) i;
CREATE INDEX ON visit (seen_at);
ANALYZE visit;
SQL
sql warehouse <<'SQL'
IMPORT FOREIGN SCHEMA public LIMIT TO (visit) FROM SERVER shop INTO shop;
ANALYZE shop.visit;                             -- how many rows there are to expect
SELECT activate_sync('visits', source => 'shop.visit', target => 'raw.visit', key => 'id',
                     capture => 'cursor', options => '{"cursor": "seen_at", "lag": "1 minute"}');
SQL
printf '\n%s\n' "warehouse=# SELECT activate_run('visits');      -- meanwhile, in another session, from activate.stat_run:"
value "SELECT activate_run('visits')" >/dev/null &
load=$!
while kill -0 $load 2>/dev/null; do
	value "SELECT format('%s of about %s rows read, %s %%, %s, done at %s', rows_read, rows_expected, percent, pg_size_pretty(bytes_read), eta::time(1))
		FROM activate.stat_run WHERE name = 'visits' AND rows_read > 0"
	sleep 0.1
done | uniq | head -n 5
wait $load
sql shop <<'SQL'
INSERT INTO visit SELECT i, i % 2000 + 1, '/checkout', timestamptz '2025-01-01' + i * interval '20 s' FROM generate_series(400001, 400250) i;
SQL
sql warehouse <<'SQL'
SELECT activate_run('visits');
SELECT r.rows_read AS read, r.rows_inserted AS inserted, r.finished_at - r.started_at AS took
  FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'visits' ORDER BY r.id;
SQL

chapter "Transform: a model is a sync from a query to a table"
sql warehouse <<'SQL'
CREATE SCHEMA analytics;
SELECT activate_sync('model', target => 'analytics.contact', key => 'id', mode => 'mirror', source => $$
    SELECT c.id, c.name, c.email, c.country, count(o.id) AS orders, coalesce(sum(o.total), 0) AS spent,
           CASE WHEN sum(o.total) > 650 THEN 'gold' WHEN sum(o.total) > 500 THEN 'silver' ELSE 'basic' END AS tier
      FROM raw.customer c
      JOIN raw.consent p ON p.customer = c.id AND p.newsletter
      LEFT JOIN raw.orders o ON o.customer = c.id
     GROUP BY c.id$$);
SELECT activate_run('model');
SELECT tier, count(*), round(avg(spent), 2) AS average FROM analytics.contact GROUP BY tier ORDER BY 3 DESC;
SQL

chapter "Activate: the CRM is a foreign server, its contacts a foreign table"
sql warehouse <<'SQL'
SELECT activate_target('crm', 'rest', jsonb_build_object('base_url', :'crm', 'objects', '{
    "contacts": {
        "path": "/objects/contacts", "key": "id",
        "columns": {"id": "bigint", "email": "text", "country": "text", "tier": "text",
                    "full_name": {"type": "text", "path": "properties.name"},
                    "spent": {"type": "numeric", "path": "properties.spent"}},
        "read": {"records": "data", "page": {"style": "cursor", "param": "cursor", "next": "paging.next"}},
        "write": {
            "upsert": {"method": "POST", "path": "/objects/contacts/batch/upsert?shape=keyed", "batch": 100, "envelope": "inputs",
                       "answer": {"shape": "keyed", "path": "results", "key": "key", "column": "id", "ok": "ok", "error": "error"}},
            "delete": {"method": "DELETE", "path": "/objects/contacts/{id}"}}}}'::jsonb),
    secret => '{"bearer": "demo-token"}');

-- what goes where: SQL expressions, checked against the target's types
SELECT activate_sync('contacts', source => 'analytics.contact', target => 'crm.contacts',
    map => '{"id": "id", "email": "lower(email)", "country": "country", "full_name": "name", "tier": "tier", "spent": "spent"}',
    mode => 'mirror', capture => 'trigger');

-- the exact request that would be sent; nothing is
SELECT method, url, body, row_count FROM activate_preview('contacts', 1) \gx
SELECT activate_explain('contacts');

-- a transaction is the unit of truth, so this is a dry run
BEGIN;
SELECT activate_run('contacts');
SELECT op, count(*) FROM activate.outbox GROUP BY op;
ROLLBACK;
SELECT count(*) AS outbox FROM activate.outbox;

-- and this is the backfill
SELECT activate_run('contacts');
SELECT activate_wait('contacts');
SELECT name, state, pending, delivered, rejected, requests, p50_ms, p99_ms FROM activate.stat_sync WHERE name = 'contacts';
-- the API can be read as well: the CRM against the model
SELECT count(*) AS in_crm FROM crm.contacts;
SELECT count(*) AS differences FROM (SELECT id, email, tier, spent FROM analytics.contact
                                     EXCEPT SELECT id, email, tier, spent FROM crm.contacts) d;
SQL

chapter "A row changes, and is in the CRM within milliseconds of its commit"
arrivals=
for tier in platinum gold platinum silver platinum; do
	[ -n "$arrivals" ] || printf '\n%s\n\n' "warehouse=# UPDATE analytics.contact SET tier = '...' WHERE id = 42;        -- five times, measured"
	committed=$(value "UPDATE analytics.contact SET tier = '$tier' WHERE id = 42 RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
	value "SELECT activate_wait('contacts')" >/dev/null
	arrived=$("$ACTIVATE_SERVICE" call GET '/_log?path=/objects/contacts/batch&last=1')
	ms=$(psql -X -q -A -t -v log="$arrived" -v committed="$committed" -d warehouse <<-'SQL'
		SELECT round(((:'log'::jsonb -> -1 ->> 'at_us')::bigint - :committed) / 1000.0, 1)
	SQL
	)
	echo "tier '$tier': at the CRM $ms ms after the UPDATE"
	arrivals="$arrivals $ms"
done
crm GET /_objects/contacts/42

chapter "The CRM refuses one row: only that row waits for someone"
crm POST /_control '{"reject": {"field": "email", "equals": "nobody@invalid", "error": "email is not deliverable"}}'
sql warehouse <<'SQL'
UPDATE analytics.contact SET email = 'nobody@invalid' WHERE id = 7;
UPDATE analytics.contact SET tier = 'gold' WHERE id BETWEEN 1 AND 6;
SELECT activate_wait('contacts');
SELECT key, op, code, reason, attempts FROM activate.rejection;
SELECT outcome, count(*) FROM activate.receipt GROUP BY outcome ORDER BY outcome;

-- mended at the source: it goes by itself, and the rejection goes with it
UPDATE analytics.contact SET email = 'ada@example.com' WHERE id = 7;
SELECT activate_wait('contacts');
SELECT count(*) AS rejections FROM activate.rejection;
SQL

chapter "The CRM goes down: changes wait, nothing is lost, no attempt is used up"
crm POST /_control '{"fault": "down"}'
sql warehouse <<'SQL'
UPDATE analytics.contact SET country = 'NL' WHERE country = 'DE';
SQL
until_true "SELECT state = 'down' FROM activate.stat_target WHERE name = 'crm'"
sql warehouse <<'SQL'
SELECT name, state, since::timestamp(0), next_probe::timestamp(0), reason FROM activate.stat_target;
SELECT name, state, pending, delivered, rejected, lag FROM activate.stat_sync WHERE name = 'contacts';
SELECT count(*) AS waiting, max(attempts) AS attempts FROM activate.outbox;
SELECT id, key, op, attempts, enqueued_at FROM activate.outbox ORDER BY id LIMIT 3;
SQL
printf '\ncrm> (comes back)\n'
kill -USR1 "$service_pid"
sql warehouse <<'SQL'
SELECT activate_wait('contacts');
SQL
until_true "SELECT state = 'up' FROM activate.stat_target WHERE name = 'crm'"
sql warehouse <<'SQL'
SELECT name, state, since::timestamp(0) FROM activate.stat_target;
SELECT name, state, pending, delivered, rejected, retried FROM activate.stat_sync WHERE name = 'contacts';
SELECT count(*) AS differences FROM (SELECT id, email, country, tier, spent FROM analytics.contact
                                     EXCEPT SELECT id, email, country, tier, spent FROM crm.contacts) d;
SQL

chapter "The chain by itself: an order in the shop changes a contact in the CRM"
sql warehouse <<'SQL'
-- declaring again changes a sync; the schedule may be cron, @every, or "after" others
SELECT activate_sync('orders', source => 'shop.orders', target => 'raw.orders', key => 'id', capture => 'cursor',
                     options => '{"cursor": "ordered_at", "lag": "1 minute", "on_drift": "propose"}', schedule => '@every 1s');
SELECT activate_sync('model', source => source, target => target, key => key, mode => mode, schedule => 'after orders')
  FROM activate.sync WHERE name = 'model';
SQL
sql shop <<'SQL'
INSERT INTO orders (id, customer, total) VALUES (10001, 42, 9999.99);
SQL
until_true "SELECT spent > 9999 FROM analytics.contact WHERE id = 42"
value "SELECT activate_wait('contacts')" >/dev/null
crm GET /_objects/contacts/42

chapter "The shop renames a column: its values say which one it is, and one call heals the sync"
sql shop <<'SQL'
ALTER TABLE orders RENAME total TO amount;
SQL
until_true "SELECT count(*) = 1 FROM activate.drift WHERE state = 'proposed'"
sql warehouse <<'SQL'
SELECT what, confidence::numeric(3,2), state FROM activate.drift;
SELECT activate_heal(id) FROM activate.drift WHERE state = 'proposed';
SQL
sql shop <<'SQL'
INSERT INTO orders (id, customer, amount) VALUES (10002, 42, 1234.56);
SQL
until_true "SELECT spent > 11000 FROM analytics.contact WHERE id = 42"
value "SELECT activate_wait('contacts')" >/dev/null
crm GET /_objects/contacts/42

chapter "A gate: an order that cannot be is not let in, and the CRM hears nothing of it until it is mended"
sql warehouse <<'SQL'
SELECT activate_expect('raw.orders', 'sane', 'range(total, 0, 100000)', on_fail => 'hold');
SQL
sql shop <<'SQL'
INSERT INTO orders (id, customer, amount) VALUES (10003, 8, 5000000);
SQL
until_true "SELECT EXISTS (SELECT FROM activate.run WHERE status = 'held' AND error LIKE '%sane%')"
sql warehouse <<'SQL'
SELECT s.name, r.status, r.error FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE r.status = 'held' ORDER BY r.id LIMIT 1;
SQL
sql shop <<'SQL'
UPDATE orders SET amount = 50 WHERE id = 10003;
SQL
until_true "SELECT EXISTS (SELECT FROM raw.orders WHERE id = 10003 AND total = 50)"
until_true "SELECT spent = (SELECT sum(total) FROM raw.orders WHERE customer = 8) FROM analytics.contact WHERE id = 8"
value "SELECT activate_wait('contacts')" >/dev/null
crm GET /_objects/contacts/8

chapter "Consent is withdrawn in the file: the mirror deletes the contact"
sed -i 's/^42,yes/42,no/' "$TMPDIR/consent.csv"
printf '\n%s\n' "\$ sed -i 's/^42,yes/42,no/' consent.csv"
sql warehouse <<'SQL'
SELECT activate_run('consent'), activate_run('model');
SELECT activate_wait('contacts');
SELECT key, op, outcome, code FROM activate.receipt ORDER BY id DESC LIMIT 1;
SQL
crm GET /_objects/contacts/42 || true

chapter "What the operator sees"
sql warehouse <<'SQL'
SELECT name, state, pending, delivered, rejected, requests, last_success::timestamp(0) FROM activate.stat_sync ORDER BY name;
SELECT s.name, r.status, r.rows_read AS read, r.rows_inserted AS inserted, r.rows_updated AS updated, r.rows_deleted AS deleted
  FROM activate.run r JOIN activate.sync s ON s.id = r.sync ORDER BY r.id DESC LIMIT 6;
SELECT backend_type, datname, state FROM pg_stat_activity WHERE backend_type LIKE 'activate%' ORDER BY 1;
SQL

contacts=$(value "SELECT count(*) FROM crm.contacts")
delivered=$(value "SELECT delivered FROM activate.stat_sync WHERE name = 'contacts'")
differences=$(value "SELECT count(*) FROM (SELECT id, email, country, tier, spent FROM analytics.contact
	EXCEPT SELECT id, email, country, tier, spent FROM crm.contacts) d")
cat <<SUMMARY

== Summary ==
400,250 visits came by an incremental load. 2000 customers, 10000 orders and a file of consents became a model; $contacts contacts are in the CRM.
$delivered messages were delivered: a backfill, changes by trigger, a refused row, an outage, a deletion.
From UPDATE to the CRM, in ms:$arrivals
Rows in which the CRM differs from the model: $differences
It took $(($(date +%s) - started)) s; the server and everything it wrote is gone now.
SUMMARY
[ "$differences" = 0 ]
