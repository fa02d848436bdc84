-- options.conflict: see conflict.c.

-- API: Private.  What is to be written down: kept (the application's columns, NULL: none) where "rekeep"; an image to
-- be laid over that of _sent; how: "d" the row counts as sent, "r" it does not; of the row's hash, as the message with
-- that seq left it; guard: "p" its delete is refused, "q" no more.
-- A column is the application's if it says otherwise than the source and than what we wrote last (of a key or a column
-- that we never wrote: if it has a value), and the policy lets it.  What the source has touched later is sent again,
-- once: only if that was after what we sent last.  Keys of which something was sent since
-- reading began, or of which we do not know what was written, are left as they are;
-- so are those that are missing, where the pages may have left them out ($5 is false).
CREATE FUNCTION activate._conflict_sql(sync bigint, query text, by_key boolean, since timestamptz, whole boolean DEFAULT true) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT activate._joined_sql(sync, query, by_key, since) || format($sql$,
cells AS (
	SELECT j.key, c.name, j.application -> c.name AS theirs, j.warehouse -> c.name AS ours, j.base IS NOT NULL AS based,
		j.base -> c.name AS base, x.same, x.moved, j.warehouse IS NOT NULL AS there,
		x.moved AND NOT x.same AND (c.policy = 'application' OR c.policy = 'newest' AND coalesce(j.their_change > j.changed_at, false)) AS kept,
		x.moved AND NOT x.same AND c.policy = 'newest' AND j.their_change <= j.changed_at AND j.changed_at > j.sent_at AS overtaken
	  FROM joined j CROSS JOIN LATERAL unnest($1, $2, $3, $4) c(name, type, silent, policy)
	 CROSS JOIN LATERAL (SELECT
		j.warehouse IS NOT NULL AND activate._same_value(j.application -> c.name, j.warehouse -> c.name, c.type, c.silent) AS same,
		CASE WHEN NOT j.sent OR NOT j.base ? c.name THEN NOT activate._is_nothing(j.application -> c.name) WHEN j.base IS NULL THEN false
			ELSE NOT activate._same_value(j.application -> c.name, j.base -> c.name, c.type, c.silent) END AS moved OFFSET 0) x
	 WHERE j.application IS NOT NULL AND j.settled AND (NOT j.sent OR j.sent_hash IS NOT NULL)),
judged AS (
	SELECT l.key, jsonb_object_agg(l.name, l.theirs) FILTER (WHERE l.kept AND l.there) AS kept,
		jsonb_object_agg(l.name, l.ours) FILTER (WHERE l.same AND l.based AND l.base IS DISTINCT FROM l.ours) AS agreed,
		bool_or(l.there AND NOT l.same AND NOT l.kept) AS wanted,
		bool_or(l.there AND NOT l.same AND NOT l.kept AND (l.base IS DISTINCT FROM l.ours OR l.overtaken)) AS unsent,
		bool_or(l.kept AND NOT l.there) AS guarded
	  FROM cells l GROUP BY l.key),
decided AS (
	SELECT coalesce(j.key, k.key) AS key, d.kept, k.columns AS kept_before, j.hash, j.seq,
		CASE WHEN j.image IS NULL AND j.base IS NOT NULL THEN j.base || coalesce(d.agreed, '{}') ELSE d.agreed END AS image,
		CASE WHEN j.warehouse IS NULL OR NOT j.sent THEN NULL
			WHEN j.sent_hash = j.hash THEN CASE WHEN d.unsent THEN 'r' END
			WHEN d.kept IS NOT NULL AND NOT d.wanted AND (j.base - $1) IS NOT DISTINCT FROM (j.warehouse - $1) THEN 'd' END AS how,
		CASE WHEN %1$L AND coalesce(d.guarded, false) THEN CASE WHEN g.sync IS NULL THEN 'p' END WHEN g.sync IS NOT NULL THEN 'q' END AS guard
	  FROM joined j LEFT JOIN judged d ON d.key = j.key
	  FULL JOIN (SELECT * FROM activate._kept k WHERE k.sync = %2$s) k ON k.key = j.key
	  LEFT JOIN (SELECT r.sync, r.key FROM activate.rejection r WHERE r.sync = %2$s AND r.code = 'conflict' GROUP BY r.sync, r.key) g ON g.key = j.key
	 WHERE coalesce(j.settled AND (NOT j.sent OR j.sent_hash IS NOT NULL) AND ($5 OR j.application IS NOT NULL), j.key IS NULL) AND (%3$L OR j.warehouse IS NOT NULL))
SELECT d.key, d.kept, d.kept IS DISTINCT FROM d.kept_before, d.image, d.how, d.hash, d.seq, d.guard FROM decided d
 WHERE d.key IS NOT NULL AND (d.kept IS DISTINCT FROM d.kept_before OR d.image IS NOT NULL OR d.how IS NOT NULL OR d.guard IS NOT NULL)$sql$,
		s.mode IN ('mirror', 'replace'), s.id, whole)
	  FROM activate.sync s WHERE s.id = _conflict_sql.sync;
END;
COMMENT ON FUNCTION activate._conflict_sql(bigint, text, boolean, timestamptz, boolean) IS
	'private: the statement that finds what a run must not overwrite';
REVOKE ALL ON FUNCTION activate._conflict_sql(bigint, text, boolean, timestamptz, boolean) FROM PUBLIC;

-- API: Private.  Of a part of the source: nothing is concluded of what is not in it.
CREATE FUNCTION activate._conflict_part_sql(sync bigint, query text, by_key boolean, since timestamptz) RETURNS text
LANGUAGE sql STABLE
RETURN activate._conflict_sql(sync, query, by_key, since, false);
COMMENT ON FUNCTION activate._conflict_part_sql(bigint, text, boolean, timestamptz) IS
	'private: the same for a run that reads a part of its source';
REVOKE ALL ON FUNCTION activate._conflict_part_sql(bigint, text, boolean, timestamptz) FROM PUBLIC;

-- API: Private.  What a message has changed since then is left: the next run looks again.
CREATE FUNCTION activate._conflict_write(sync bigint, keys jsonb[], kept jsonb[], rekeep boolean[], images jsonb[], hows text[],
	hashes bigint[], seqs bigint[], guards text[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate._kept k USING unnest(keys, kept, rekeep) u(key, kept, rekeep)
	 WHERE u.rekeep AND u.kept IS NULL AND k.sync = _conflict_write.sync AND k.digest = activate._key_digest(u.key);
	INSERT INTO activate._kept AS k (sync, digest, key, columns)
	SELECT _conflict_write.sync, activate._key_digest(u.key), u.key, u.kept FROM unnest(keys, kept, rekeep) u(key, kept, rekeep)
	 WHERE u.rekeep AND u.kept IS NOT NULL
	ON CONFLICT (sync, digest) DO UPDATE SET columns = excluded.columns;
	UPDATE activate._sent t
	   SET image = CASE WHEN u.image IS NULL THEN t.image ELSE coalesce(t.image, '{}') || u.image END,
		hash = CASE u.how WHEN 'd' THEN u.hash WHEN 'r' THEN NULL ELSE t.hash END
	  FROM unnest(keys, images, hows, hashes, seqs) u(key, image, how, hash, seq)
	 WHERE (u.image IS NOT NULL OR u.how IS NOT NULL) AND t.sync = _conflict_write.sync
		AND t.digest = activate._key_digest(u.key) AND t.seq = u.seq AND t.hash IS NOT NULL;
	DELETE FROM activate.rejection r USING unnest(keys, guards) u(key, guard)
	 WHERE u.guard = 'q' AND r.sync = _conflict_write.sync AND r.key = u.key AND r.code = 'conflict';
	INSERT INTO activate.rejection (sync, key, op, code, reason)
	SELECT _conflict_write.sync, u.key, 'delete', 'conflict', 'the application has changed the record since it was sent'
	  FROM unnest(keys, guards) u(key, guard) WHERE u.guard = 'p';
END;
COMMENT ON FUNCTION activate._conflict_write(bigint, jsonb[], jsonb[], boolean[], jsonb[], text[], bigint[], bigint[], text[]) IS
	'private: writes down what a run must not overwrite';
REVOKE ALL ON FUNCTION activate._conflict_write(bigint, jsonb[], jsonb[], boolean[], jsonb[], text[], bigint[], bigint[], text[]) FROM PUBLIC;

-- API: Private.  options.conflict is another now: what was withheld counts as not sent.
CREATE FUNCTION activate._conflict_forget(sync bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	UPDATE activate._sent t SET hash = NULL FROM activate._kept k
	 WHERE k.sync = _conflict_forget.sync AND t.sync = k.sync AND t.digest = k.digest;
	DELETE FROM activate._kept k WHERE k.sync = _conflict_forget.sync;
	DELETE FROM activate.rejection r WHERE r.sync = _conflict_forget.sync AND r.code = 'conflict';
END;
COMMENT ON FUNCTION activate._conflict_forget(bigint) IS 'private: nothing of a sync is kept as its application has it any more';
REVOKE ALL ON FUNCTION activate._conflict_forget(bigint) FROM PUBLIC;
