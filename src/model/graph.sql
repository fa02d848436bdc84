-- The graph of syncs: which relations each reads, and who writes those.  What looks at it sets jit off: how
-- many rows a recursion has is overestimated, and compiling takes a thousand times as long as the rest.

-- A view stands for what it reads.  One that a sync makes stands for itself as well;
-- what is found behind it is "behind".  In a copy the numbers of a declaration mean nothing: there
-- only sources that are relations are known.
CREATE FUNCTION activate._reads() RETURNS TABLE (sync bigint, relation oid, behind boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE read(sync, relation, behind) AS (
		SELECT s.id, r.relation, false
		  FROM activate.sync s
		 CROSS JOIN unnest(CASE WHEN activate._installation() = 'copy' THEN ARRAY[s.source_rel::oid] ELSE s.reads END) r(relation)
		 WHERE NOT s.implicit
		UNION
		SELECT r.sync, d.refobjid, r.behind OR EXISTS (SELECT FROM activate.sync t WHERE t.target_rel = w.ev_class)
		  FROM read r
		  JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.relation AND w.ev_type = '1'
		  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
			AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class)
	SELECT r.sync, r.relation, bool_and(r.behind)
	  FROM read r JOIN pg_catalog.pg_class c ON c.oid = r.relation
	 WHERE c.relkind IN ('r', 'p', 'f') OR EXISTS (SELECT FROM activate.sync t WHERE t.target_rel = r.relation)
	 GROUP BY r.sync, r.relation;
END;
COMMENT ON FUNCTION activate._reads() IS 'private: the relations that syncs read, through views';
REVOKE ALL ON FUNCTION activate._reads() FROM PUBLIC;

-- A line per sync and relation, and per sync that writes it, wholly or in part (partitions).  Not what goes into web
-- APIs: it is there some time after the run.
CREATE FUNCTION activate._edges() RETURNS TABLE (sync bigint, relation oid, behind boolean, upstream bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE read AS MATERIALIZED (SELECT r.sync, r.relation, r.behind FROM activate._reads() r),
	writer AS MATERIALIZED (
		SELECT s.id, s.target_rel::oid AS relation FROM activate.sync s WHERE s.kind <> 'api' AND NOT s.implicit),
	above(relation, ancestor) AS (
		SELECT r.relation, r.relation FROM read r
		UNION SELECT w.relation, w.relation FROM writer w
		UNION SELECT a.relation, i.inhparent FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.ancestor)
	SELECT r.sync, r.relation, r.behind, w.id
	  FROM read r JOIN above a ON a.ancestor = r.relation JOIN writer w ON w.relation = a.relation AND w.id <> r.sync
	UNION
	SELECT r.sync, r.relation, r.behind, w.id
	  FROM read r JOIN above a ON a.relation = r.relation JOIN writer w ON w.relation = a.ancestor AND w.id <> r.sync
	  JOIN pg_catalog.pg_class c ON c.oid = w.relation AND c.relkind = 'p';
END;
COMMENT ON FUNCTION activate._edges() IS 'private: which syncs write what syncs read';
REVOKE ALL ON FUNCTION activate._edges() FROM PUBLIC;

-- Syncs in a circle, which can come of a view that was changed since, would rise for ever.
CREATE FUNCTION activate._levels() RETURNS TABLE (sync bigint, level integer)
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE edge AS MATERIALIZED (SELECT DISTINCT e.sync, e.upstream FROM activate._edges() e),
	risen(sync, level) AS (
		SELECT s.id, 0 FROM activate.sync s WHERE NOT s.implicit
		UNION
		SELECT e.sync, r.level + 1 FROM risen r JOIN edge e ON e.upstream = r.sync
		 WHERE r.level < (SELECT count(*) FROM activate.sync))
	SELECT r.sync, max(r.level) FROM risen r GROUP BY r.sync;
END;
COMMENT ON FUNCTION activate._levels() IS 'private: how many syncs in a row come before each, at most';
REVOKE ALL ON FUNCTION activate._levels() FROM PUBLIC;

CREATE FUNCTION activate._relation_name(relation oid) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('%I.%I', n.nspname, c.relname)
	  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
END;
COMMENT ON FUNCTION activate._relation_name(oid) IS 'private: a relation''s name with its schema, always; NULL: it is gone';
REVOKE ALL ON FUNCTION activate._relation_name(oid) FROM PUBLIC;

-- Levels are those of the whole graph; of other people's syncs nothing else is told.
CREATE FUNCTION activate._graph_of(role name) RETURNS TABLE (sync text, source text, target text, depends_on text[], level integer)
LANGUAGE sql STABLE
SET jit = off
BEGIN ATOMIC
	WITH mine AS MATERIALIZED (
		SELECT s.id, s.name, s.target, s.target_rel FROM activate.sync s
		  JOIN activate._names_of(_graph_of.role) n ON n = s.name
		 WHERE NOT s.implicit),
	edge AS MATERIALIZED (SELECT e.sync, e.relation, e.upstream FROM activate._edges() e WHERE NOT e.behind)
	SELECT m.name, activate._relation_name(r.relation), coalesce(activate._relation_name(m.target_rel), m.target),
		coalesce((SELECT array_agg(u.name ORDER BY u.name COLLATE "C") FROM edge e JOIN mine u ON u.id = e.upstream
			 WHERE e.sync = m.id AND e.relation = r.relation), '{}'),
		l.level
	  FROM mine m JOIN activate._levels() l ON l.sync = m.id
	  LEFT JOIN activate._reads() r ON r.sync = m.id AND NOT r.behind
	 ORDER BY l.level, m.name COLLATE "C", activate._relation_name(r.relation) COLLATE "C";
END;
COMMENT ON FUNCTION activate._graph_of(name) IS 'private: activate_graph() for a role';
REVOKE ALL ON FUNCTION activate._graph_of(name) FROM PUBLIC;

-- Searches against the stream, near ones first.  A sync into a table may read that table; a view cannot.
CREATE FUNCTION activate._cycle(sync bigint) RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
	edges jsonb;
	found bigint[] := ARRAY[_cycle.sync];
	reader integer[] := ARRAY[0];		-- position in found of who reads what it writes
	names text[];
	i integer := 1;
	u bigint;
BEGIN
	IF EXISTS (SELECT FROM activate._reads() r JOIN activate.sync s ON s.id = r.sync AND s.target_rel = r.relation
			WHERE s.id = _cycle.sync AND s.options->>'materialized' = 'view') THEN
		RETURN (SELECT ARRAY[s.name, s.name] FROM activate.sync s WHERE s.id = _cycle.sync);
	END IF;
	SELECT jsonb_object_agg(e.sync, e.ups) INTO edges FROM (
		SELECT e.sync, jsonb_agg(DISTINCT e.upstream) AS ups FROM activate._edges() e
		  JOIN activate.sync a ON a.id = e.sync AND a.kind = 'local' JOIN activate.sync b ON b.id = e.upstream AND b.kind = 'local'
		 GROUP BY e.sync) e;
	WHILE i <= cardinality(found) LOOP
		FOR u IN SELECT v::bigint FROM jsonb_array_elements_text(edges -> found[i]::text) v LOOP
			IF u = _cycle.sync THEN
				names := (SELECT ARRAY[s.name] FROM activate.sync s WHERE s.id = u);
				WHILE i > 0 LOOP
					names := names || (SELECT s.name FROM activate.sync s WHERE s.id = found[i]);
					i := reader[i];
				END LOOP;
				RETURN names;
			ELSIF u <> ALL (found) THEN
				found := found || u;
				reader := reader || i;
			END IF;
		END LOOP;
		i := i + 1;
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION activate._cycle(bigint) IS
	'private: the names of the models in a circle with that sync, each reads what the one before writes; NULL: there is none';
REVOKE ALL ON FUNCTION activate._cycle(bigint) FROM PUBLIC;

-- A model that has no schedule starts after what it reads was written: one whose source is nothing but local tables, and that
-- nothing else starts.
CREATE FUNCTION activate._note_upstream() RETURNS void
LANGUAGE sql
SET jit = off
BEGIN ATOMIC
	WITH abroad AS MATERIALIZED (
		SELECT DISTINCT r.sync FROM activate._reads() r JOIN pg_catalog.pg_class c ON c.oid = r.relation AND c.relkind = 'f'),
	found AS MATERIALIZED (
		SELECT e.sync, e.upstream, s.kind = 'local' AND s.capture <> 'trigger' AND s.id NOT IN (SELECT a.sync FROM abroad a) AS starts
		  FROM (SELECT DISTINCT y.sync, y.upstream FROM activate._edges() y) e
		  JOIN activate.sync s ON s.id = e.sync AND s.options->>'materialized' IS DISTINCT FROM 'view'
		  JOIN activate.sync w ON w.id = e.upstream AND w.options->>'materialized' IS DISTINCT FROM 'view'),
	gone AS (
		DELETE FROM activate._upstream o
		 WHERE NOT EXISTS (SELECT FROM found f WHERE f.sync = o.sync AND f.upstream = o.upstream))
	INSERT INTO activate._upstream AS o (sync, upstream, starts)
	SELECT f.sync, f.upstream, f.starts FROM found f
	 WHERE NOT EXISTS (SELECT FROM activate._upstream k WHERE k.sync = f.sync AND k.upstream = f.upstream AND k.starts = f.starts)
	ON CONFLICT (sync, upstream) DO UPDATE SET starts = excluded.starts;
END;
COMMENT ON FUNCTION activate._note_upstream() IS 'private: for the worker, writes down which syncs run before which';
REVOKE ALL ON FUNCTION activate._note_upstream() FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_graph(
	OUT sync		text,
	OUT source		text,
	OUT target		text,
	OUT depends_on	text[],
	OUT level		integer
) RETURNS SETOF record
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'activate_graph';
COMMENT ON FUNCTION @extschema@.activate_graph() IS
	'the graph of syncs: a line per sync and relation that it reads, with the syncs that write that relation';

CREATE FUNCTION @extschema@.activate_graph_dot() RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT E'digraph activate {\n\trankdir=LR;\n\tnode [shape=box];\n' || coalesce(string_agg(
			CASE WHEN g.source IS NULL THEN format(E'\t%s;\n', n.names[2]) ELSE format(E'\t%s -> %s [label=%s];\n', VARIADIC n.names) END,
			'' ORDER BY g.level, g.sync COLLATE "C", g.source COLLATE "C"), '') || '}'
	  FROM @extschema@.activate_graph() g
	 CROSS JOIN LATERAL (
		-- quoted; a line break would end the line
		SELECT array_agg('"' || regexp_replace(regexp_replace(u.name, '[\r\n]', ' ', 'g'), '(["\\])', '\\\1', 'g') || '"' ORDER BY u.ord)
		  FROM unnest(ARRAY[g.source, g.target, g.sync]) WITH ORDINALITY u(name, ord)) n(names);
END;
COMMENT ON FUNCTION @extschema@.activate_graph_dot() IS 'the graph of syncs in DOT: relations, and the syncs between them';
