-- A comparison in memory (src/capture/compare.c) finds what the statement of
-- src/capture/plan.sql finds: random rows, and random things known of them, in
-- every mode.  Nothing of it is sent.
SET client_min_messages = error;
SET timezone = 'UTC';
SELECT setseed(0.5);
SELECT activate_target('cmphook', 'webhook', '{"url": "https://hook.example.com/cmp"}');
CREATE TABLE cmp (id int, n numeric, t text, at timestamptz, doc jsonb, u uuid, v int);

-- Few values of each kind, of which some are the same key and not the same text.
CREATE FUNCTION cmp_fill() RETURNS void LANGUAGE sql AS $$
	TRUNCATE cmp;
	INSERT INTO cmp
	SELECT CASE WHEN random() < 0.9 THEN i WHEN random() < 0.5 THEN i - 1 END,
		(ARRAY[NULL, '0', '-0.0', '1', '-1', '1.0', '1.50', '1.5', 'NaN', '1e30', '-12345678901234567890.5', '10000'])[1 + (random() * 11)::int]::numeric,
		(ARRAY[NULL, '', 'a', 'A', 'ä', repeat('long', 200)])[1 + (random() * 5)::int] || (random() * 20)::int,
		timestamptz '2026-01-01' + (random() * 30)::int * interval '1 s',
		(ARRAY[NULL, 'null', '1', '1.0', '"1"', '[1, 2]', '[1.0, 2]', '{"a": {"b": [null, true]}}', '{}', '[]'])[1 + (random() * 9)::int]::jsonb,
		md5((random() * 40)::int::text)::uuid,
		(random() * 2)::int
	  FROM generate_series(1, 60) i;
$$;

-- What is known: of the rows as they are, as they were, and of others; then other rows.
CREATE FUNCTION cmp_known(sync bigint, keys text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TEMP TABLE state ON COMMIT DROP AS
		SELECT DISTINCT ON (key) to_jsonb(k) AS key, activate._row_hash(x) + (random() * 1.2)::int AS hash, random() AS r, random() AS q FROM cmp x, LATERAL (SELECT %s) k', keys);
	INSERT INTO activate._sent (sync, digest, key, hash, seq, sent_at)
	SELECT cmp_known.sync, activate._key_digest(key), key, CASE WHEN q < 0.9 THEN hash END, 1, now() FROM state WHERE r < 0.7;
	INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key, planned, forced, held, undo)
	SELECT cmp_known.sync, 1, CASE WHEN h THEN 'd' ELSE 'c' END, now(), key, CASE WHEN random() < 0.8 THEN hash + (random() * 0.8)::int END, random() < 0.3,
			h, CASE WHEN random() < 0.2 AND NOT h THEN 's' END
	  FROM state, generate_series(1, 2), LATERAL (SELECT random() < 0.2 AS h OFFSET 0 * length(key::text)) o WHERE random() < 0.2;
	INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, keys, steps, plans)
	SELECT cmp_known.sync, 1, 'c', now(), array_agg(key), array_agg(row_number::smallint), array_agg(hash)
	  FROM (SELECT key, hash, row_number() OVER () - 1 AS row_number FROM state WHERE q > 0.85) s HAVING count(*) > 0;
	PERFORM setval('activate.outbox_id_seq', nextval('activate.outbox_id_seq') + 100);
	INSERT INTO activate.rejection (sync, key, op, code, reason, hash)
	SELECT cmp_known.sync, key, CASE WHEN random() < 0.3 THEN 'delete' ELSE 'upsert' END, (ARRAY['422', 'undone', 'null_key', NULL])[1 + (random() * 3)::int], 'no',
		CASE WHEN random() < 0.9 THEN hash + (random() * 0.7)::int END
	  FROM state, generate_series(1, 2) WHERE random() < 0.15;
	IF random() < 0.2 THEN
		INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key) VALUES (cmp_known.sync, 1, 't', now(), '{}');
	END IF;
	DROP TABLE state;
	-- some go, some come, some change
	DELETE FROM cmp WHERE random() < 0.15;
	UPDATE cmp SET v = v + 1 WHERE random() < 0.2;
	INSERT INTO cmp SELECT id + 1000, n * 2, t || '!', at, doc, u, v FROM cmp WHERE random() < 0.1;
END
$$;

-- All that a run does, taken back again.  Keys that are equal are one, whichever of its rows gave it: 1.0 or 1.
CREATE FUNCTION cmp_outcome(name text, of bigint, everything boolean, memory boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	it bigint;
BEGIN
	PERFORM set_config('activate.comparison', memory::text, true);
	BEGIN
		it := activate_run(name, full => everything);
		RAISE EXCEPTION USING ERRCODE = 'ZZZZZ', MESSAGE = format(E'%s\n%s\n%s\n%s',
			(SELECT format('%s %s %s %s %s %s', status, rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected) FROM activate.run WHERE id = it),
			(SELECT string_agg(format('%s %s %s %s %s %s', activate._key_digest(key), op, forced, held, planned, writer), E'\n' ORDER BY activate._key_digest(key), op, forced, held, planned)
			   FROM activate._intent i WHERE i.run = it AND i.sync = of),
			(SELECT string_agg(format('%s %s %s', activate._key_digest(key), code, hash), E'\n' ORDER BY activate._key_digest(key), code, hash, op) FROM activate.rejection r WHERE r.sync = of),
			(SELECT string_agg(format('%s %s', activate._key_digest(key), hash), E'\n' ORDER BY activate._key_digest(key)) FROM activate._sent s WHERE s.sync = of));
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLERRM;
	END;
END
$$;

DO $$
DECLARE
	of bigint;
	ours text;
	theirs text;
	same int := 0;
	stated int := 0;
	mode text;
	capture text;
	keys text;
	asked boolean;
BEGIN
	FOR mode, capture, keys, asked IN
		SELECT m, c, k, a FROM unnest(ARRAY['upsert', 'insert', 'update', 'mirror', 'replace']) m, unnest(ARRAY['diff', 'full', 'trigger']) c,
			unnest(ARRAY['id', 'n', 't, id', 'doc, at', 'u']) k, unnest(ARRAY[false, true]) a LOOP
		PERFORM cmp_fill();
		of := activate_sync('cmp', 'cmp', 'cmphook.change', key => keys, mode => mode, capture => capture,
			options => CASE WHEN random() < 0.3 THEN '{"backfill": false}' WHEN random() < 0.3 THEN '{"min_deletes": 1000}' ELSE '{}' END::jsonb);
		IF random() < 0.9 THEN
			PERFORM cmp_known(of, keys);
		END IF;
		theirs := cmp_outcome('cmp', of, asked, false);
		ours := cmp_outcome('cmp', of, asked, true);
		IF ours <> theirs THEN
			RAISE EXCEPTION 'not the same: % % (%) %', mode, capture, keys, asked USING DETAIL = format(E'in memory: %s\n\nby the statement: %s', ours, theirs);
		END IF;
		same := same + 1;
		stated := stated + (ours ~ '^(succeeded|held) ')::int;
		PERFORM activate_drop('cmp');
	END LOOP;
	RAISE INFO '% runs were the same, % of them did something', same, CASE WHEN stated > same * 0.9 THEN 'nearly all' ELSE stated::text END;
END
$$;

-- so many keys that memory does not do for them
SET maintenance_work_mem = '1MB';
SET work_mem = '64kB';
SET hash_mem_multiplier = 1;
CREATE TABLE cmp_many AS SELECT i AS id, 0 AS v FROM generate_series(1, 60000) i;
ANALYZE cmp_many;
SELECT activate_sync('cmp', 'cmp_many', 'cmphook.change', key => 'id', mode => 'mirror') AS of \gset
SELECT activate_run('cmp') AS run \gset
SELECT status, rows_read, rows_inserted FROM activate.run WHERE id = :run;
SELECT count(*), count(DISTINCT key) FROM activate._intent WHERE sync = :of;
-- ... which is noticed on the way
SELECT activate_drop('cmp');
SELECT activate_sync('cmp', 'SELECT i AS id FROM generate_series(1, (SELECT count(*)::int FROM cmp_many)) i', 'cmphook.change', key => 'id', mode => 'mirror') AS of \gset
SELECT activate_run('cmp') AS run \gset
SELECT status, rows_read, rows_inserted FROM activate.run WHERE id = :run;
SELECT count(*), count(DISTINCT key) FROM activate._intent WHERE sync = :of;
SELECT activate_drop('cmp');

-- keys have room, what is to be done has not
RESET maintenance_work_mem;
SELECT activate_sync('cmp', 'cmp_many', 'cmphook.change', key => 'id', mode => 'mirror') AS of \gset
SELECT activate_run('cmp') AS run \gset
SELECT status, rows_read, rows_inserted FROM activate.run WHERE id = :run;
SELECT count(*), count(DISTINCT key) FROM activate._intent WHERE sync = :of;
SELECT activate_drop('cmp');

DROP TABLE cmp, cmp_many;
DROP FUNCTION cmp_fill, cmp_known, cmp_outcome;
DROP SERVER cmphook CASCADE;
