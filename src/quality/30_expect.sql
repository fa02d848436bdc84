CREATE FUNCTION activate._expect_store(relation oid, name text, expectation text, on_fail text, options jsonb, owner name,
	kind text, bounds jsonb, search_path text, tree text, tree_major integer, harmless boolean) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	SELECT activate._record_installation();

	-- another expectation has another history
	DELETE FROM activate."check" k USING activate._expectation e
	 WHERE e.relation = _expect_store.relation AND e.name = _expect_store.name AND k.expectation = e.id
	   AND (e.expectation, e.options) IS DISTINCT FROM (_expect_store.expectation, _expect_store.options);

	INSERT INTO activate._expectation AS e (relation, name, expectation, on_fail, options, owner, kind, bounds, search_path, tree, tree_major, harmless)
	VALUES (relation, name, expectation, on_fail, options, owner, kind, bounds, search_path, tree, tree_major, harmless)
	ON CONFLICT ON CONSTRAINT _expectation_relation_name_key DO UPDATE SET expectation = excluded.expectation,
		on_fail = excluded.on_fail, options = excluded.options, owner = excluded.owner, kind = excluded.kind,
		bounds = excluded.bounds, search_path = excluded.search_path, tree = excluded.tree, tree_major = excluded.tree_major, harmless = excluded.harmless, declared_at = now()
	RETURNING e.id;
END;
COMMENT ON FUNCTION activate._expect_store(oid, text, text, text, jsonb, name, text, jsonb, text, text, integer, boolean) IS
	'private: writes a checked expectation; its id';
REVOKE ALL ON FUNCTION activate._expect_store(oid, text, text, text, jsonb, name, text, jsonb, text, text, integer, boolean) FROM PUBLIC;

CREATE FUNCTION activate._expect_adopt() RETURNS TABLE (id bigint, owner name, search_path text)
LANGUAGE sql
BEGIN ATOMIC
	UPDATE activate._expectation SET tree_major = 0 RETURNING id, owner, search_path;
END;
COMMENT ON FUNCTION activate._expect_adopt() IS 'private: no kept tree is read any more; the expectations that are to be declared anew';
REVOKE ALL ON FUNCTION activate._expect_adopt() FROM PUBLIC;

CREATE FUNCTION activate._expect_drop(expectation bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate."check" k WHERE k.expectation = _expect_drop.expectation;
	DELETE FROM activate._expectation e WHERE e.id = _expect_drop.expectation;
END;
COMMENT ON FUNCTION activate._expect_drop(bigint) IS 'private: removes an expectation and its history';
REVOKE ALL ON FUNCTION activate._expect_drop(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_expect(
	relation	text,
	name		text,
	expectation	text,
	on_fail		text DEFAULT 'hold',
	options		jsonb DEFAULT '{}'
) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_expect';
COMMENT ON FUNCTION @extschema@.activate_expect(text, text, text, text, jsonb) IS
	'declares what is expected of a relation, and whether a failure warns, keeps the bad rows back or holds everything; its id';

CREATE FUNCTION @extschema@.activate_expect_drop(relation text, name text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_expect_drop';
COMMENT ON FUNCTION @extschema@.activate_expect_drop(text, text) IS 'removes an expectation and its history';

-- Anybody may call it: it checks what the caller may see, as its owner.
CREATE FUNCTION activate._check_now(relation text, name text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_check_now';
COMMENT ON FUNCTION activate._check_now(text, text) IS 'private: checks the expectations of a relation that the caller may see (name NULL: all)';

CREATE FUNCTION @extschema@.activate_check(relation text, name text DEFAULT NULL)
RETURNS TABLE (expectation text, on_fail text, state text, rows bigint, failed bigint, sample jsonb, message text)
LANGUAGE sql
BEGIN ATOMIC
	SELECT activate._check_now(activate_check.relation, activate_check.name);
	SELECT e.name, e.on_fail, e.state, e.rows, e.failed, e.sample, e.message
	  FROM activate.expectation e
	 WHERE e.relation = activate_check.relation::regclass AND (activate_check.name IS NULL OR e.name = activate_check.name)
	 ORDER BY e.name;
END;
COMMENT ON FUNCTION @extschema@.activate_check(text, text) IS 'checks what is expected of a relation now, and says what was found';
