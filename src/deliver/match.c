/*
 * match.c
 *	  When a row of a source is the row of a key.
 *
 * By the equality operator of each key's type, which an index knows.  Where
 * equal values need not be the same (citext, a collation that ignores case),
 * they must be rendered alike, too: a key that became 'a' is not 'A' any more.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/analyze.h"
#include "catalog/pg_operator.h"
#include "core/identity.h"
#include "deliver/engine.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

static char *
operator_text(Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *text;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	text = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(form->oprnamespace)), NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return text;
}

static char *
key_condition(const Sync *sync, const Query *query, int i)
{
	Oid			type;
	int32		typmod;
	Oid			operator;
	Oid			collation = exprCollation((Node *) list_nth_node(TargetEntry, query->targetList, i)->expr);
	char	   *condition;

	parseTypeString(sync->key_types[i], &type, &typmod, false);
	operator = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
	if (!OidIsValid(operator))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify an equality operator for key column \"%s\" of type %s",
						sync->key[i], sync->key_types[i])));
	condition = psprintf("q.k%d %s k.k%d", i + 1, operator_text(operator), i + 1);
	if (equal_is_same(type, collation))
		return condition;
	return psprintf("%s AND pg_catalog.to_jsonb(q.k%d) OPERATOR(pg_catalog.=) pg_catalog.to_jsonb(k.k%d)",
					condition, i + 1, i + 1);
}

/* text[]: for each key column, a condition over q.k<i> and k.k<i>; type names are read as at declaration. */
Datum
deliver_key_conditions(const Sync *sync)
{
	Query	   *query = sync_tree(sync);	/* which render.c and held.c have read before */
	char	  **conditions = palloc(sizeof(char *) * Max(sync->nkeys, 1));
	IdentityScope scope;

	identity_enter_owner(&scope, sync->owner, sync->search_path);
	for (int i = 0; i < sync->nkeys; i++)
		conditions[i] = key_condition(sync, query, i);
	identity_leave_owner(&scope);
	return deliver_text_array(conditions, sync->nkeys);
}
