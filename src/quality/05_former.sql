-- Values of columns that have another type than the declaration of a sync knows, in its query (former.c): as the type that
-- they had.  "former" is a NULL of that.  Executed as owners of syncs, so PUBLIC may; they cast what the caller could cast.
-- Each attempt at a cast is a subtransaction, which parallel plans may not have.
CREATE FUNCTION activate._former(value "any", former anyelement, typmod integer) RETURNS anyelement
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'activate_former';
COMMENT ON FUNCTION activate._former("any", anyelement, integer) IS 'private: a value as the type that its column had';

CREATE FUNCTION activate._former_or_null(value "any", former anyelement, typmod integer) RETURNS anyelement
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'activate_former_or_null';
COMMENT ON FUNCTION activate._former_or_null("any", anyelement, integer) IS 'private: the same, NULL if it does not fit';

CREATE FUNCTION activate._former_misfit(value "any", former anyelement, typmod integer, words text) RETURNS text
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'activate_former_misfit';
COMMENT ON FUNCTION activate._former_misfit("any", anyelement, integer, text) IS 'private: that it does not fit, in words; NULL: it does';

-- API: Private.  The code of the rejection of a row that has this flaw (quality_code() in C).
CREATE FUNCTION activate._flaw_code(flaw text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN flaw LIKE 'expectation %' THEN 'expectation' ELSE 'former_type' END;
END;
COMMENT ON FUNCTION activate._flaw_code(text) IS 'private: the code of a rejection';
REVOKE ALL ON FUNCTION activate._flaw_code(text) FROM PUBLIC;
