/*
 * graph.c
 *	  What a query reads, circles, and activate_graph().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/identity.h"
#include "core/own.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "model/model.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

ACTIVATE_FUNCTION(activate_graph);

static bool
reads_walker(Node *node, void *context)
{
	List	  **relations = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		ListCell   *cell;

		foreach(cell, ((Query *) node)->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

			if (rte->rtekind == RTE_RELATION)
				*relations = list_append_unique_oid(*relations, rte->relid);
		}
		return query_tree_walker((Query *) node, reads_walker, context, 0);
	}
	return expression_tree_walker(node, reads_walker, context);
}

List *
model_reads(Query *query)
{
	List	   *relations = NIL;

	(void) reads_walker((Node *) query, &relations);
	return relations;
}

void
model_refuse_cycle(int64 sync, const char *name)
{
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2];
	char	   *way;

	values[0] = Int64GetDatum(sync);
	values[1] = CStringGetTextDatum(GetDatabaseEncoding() == PG_UTF8 ? " \342\206\222 " : " -> ");
	way = own_text("SELECT array_to_string(activate._cycle($1), $2)", 2, types, values);
	if (way)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("model \"%s\" would depend on itself: %s", name, way),
				 errdetail("Each of them reads what the one before it writes, so none can be the first to run."),
				 errhint("Let one of them read or write another relation.")));
}

Datum
activate_graph(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	IdentityScope scope;
	Oid			type = NAMEOID;
	Datum		role = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)));

	InitMaterializedSRF(fcinfo, 0);
	identity_enter_extension(&scope);
	SPI_connect();
	if (SPI_execute_with_args("SELECT sync, source, target, depends_on, level FROM activate._graph_of($1)",
							  1, &type, &role, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the graph");
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
	identity_leave(&scope);
	return (Datum) 0;
}
