CREATE VIEW activate._intent WITH (security_invoker = true) AS
SELECT o.sync, o.xid, o.id, o.nonce, o.op, o.forced, o.held, o.run, o.writer, o.enqueued_at, o.key, o.body, o.planned, o.undo
  FROM activate._outbox o WHERE o.keys IS NULL
UNION ALL
SELECT o.sync, o.xid, o.id + u.step, o.nonce, o.op, o.forced, o.held, o.run, o.writer, o.enqueued_at, u.key, o.body, u.planned, o.undo
  FROM activate._outbox o CROSS JOIN LATERAL unnest(o.keys, o.steps, o.plans) AS u(key, step, planned) WHERE o.keys IS NOT NULL;
COMMENT ON VIEW activate._intent IS 'private: the intents in activate._outbox, one by one';
GRANT SELECT ON activate._intent TO PUBLIC;

CREATE VIEW activate.outbox WITH (security_invoker = true) AS
SELECT o.id, o.sync, o.key,
	CASE o.op WHEN 'c' THEN 'change' WHEN 'i' THEN 'insert' WHEN 'u' THEN 'update'
		WHEN 's' THEN 'upsert' WHEN 't' THEN 'truncate' ELSE 'delete' END AS op,
	o.body,
	coalesce(r.attempts, 0) AS attempts,
	coalesce(r.due_at, o.enqueued_at) AS due_at,
	o.enqueued_at, r.last_error, o.held, o.run, o.writer, coalesce(o.undo <> 'r', false) AS undo
  FROM activate._intent o LEFT JOIN activate._retry r ON r.id = o.id;
COMMENT ON VIEW activate.outbox IS 'intents not yet delivered';
GRANT SELECT ON activate.outbox TO PUBLIC;

CREATE VIEW activate.sent WITH (security_invoker = true) AS
SELECT sync, key, hash, image, remote_id, sent_at, seq, run FROM activate._sent;
COMMENT ON VIEW activate.sent IS 'per sync and key: what the target holds as far as we know';
GRANT SELECT ON activate.sent TO PUBLIC;

CREATE VIEW activate.receipt WITH (security_invoker = true) AS
SELECT p.id + u.ord - 1 AS id, p.sync, u.key, p.op, p.outcome, p.code, u.id::text AS idempotency_key,
	u.sent_at, u.latency * interval '1 microsecond' AS latency, p.reason
  FROM activate._receipt p
 CROSS JOIN LATERAL unnest(p.keys, p.ids, p.times, p.latencies) WITH ORDINALITY AS u(key, id, sent_at, latency, ord);
COMMENT ON VIEW activate.receipt IS 'delivery log, kept for activate.receipt_retention';
GRANT SELECT ON activate.receipt TO PUBLIC;
