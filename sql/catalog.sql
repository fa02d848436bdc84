-- A key's digest stands for it in activate._sent: it is the same for keys that
-- are equal as jsonb, and for no others; and it is written down, so it may never change.
SELECT activate._key_digest('{"id": 1}') AS one, activate._key_digest('{"id": 1}') = activate._key_digest('{"id": 1.00}') AS equal;
SELECT activate._key_digest('{"tenant": "ä", "id": [true, null, {"a": -0.5e3}]}') AS nested;
SELECT count(*) AS keys, count(DISTINCT k::jsonb) AS unequal, count(DISTINCT activate._key_digest(k::jsonb)) AS digests
  FROM unnest(ARRAY['{"id": 1}', '{"id": -1}', '{"id": "1"}', '{"id": 10}', '{"id": 0.1}', '{"id": 1e2}', '{"id": 100}', '{"id": true}', '{"id": "true"}',
	'{"id": null}', '{"id": "null"}', '{"id": ""}', '{"id": []}', '{"id": {}}', '{"id": [1]}', '{"id": [[1]]}', '{"id": [1, 2]}', '{"id": [12]}',
	'{"id": "a", "b": "c"}', '{"id": "ab", "b": "c"}', '{"id": "a", "bb": "c"}', '{"b": "c", "id": "a"}', '{"id": "as", "b": ""}', '{}', '[]', '1', '[1]', '"1"']) k;
SELECT count(DISTINCT activate._key_digest(jsonb_build_object('a', a, 'b', b))) AS of_40401
  FROM generate_series(-100, 100) a, generate_series(-100, 100) b;
