/*
 * writable.c
 *	  What may be written to a web API's table, and how a plan does it.
 *
 * An object takes what its "write" names.  UPDATE and DELETE identify a row by
 * the object's key, whose columns a plan that reads carries along as junk.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/xact.h"
#include "commands/explain.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/inherit.h"
#include "optimizer/pathnode.h"
#include "parser/parsetree.h"
#include "rest/rest.h"
#include "utils/builtins.h"
#include "utils/rel.h"

bool
rest_is_key(const Connector *connector, const char *column)
{
	for (int i = 0; i < connector->nkeys; i++)
	{
		if (strcmp(connector->key[i], column) == 0)
			return true;
	}
	return false;
}

/* For messages: "a, b". */
static char *
writable_key_text(const Connector *connector)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < connector->nkeys; i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "", quote_identifier(connector->key[i]));
	return text.data;
}

/* What an INSERT becomes: "insert", else "upsert". */
static OutboxOp
writable_insert_op(const Connector *connector)
{
	return connector_write(connector, OUTBOX_INSERT) != NULL ? OUTBOX_INSERT : OUTBOX_UPSERT;
}

OutboxOp
rest_command_op(const Connector *connector, CmdType command)
{
	return command == CMD_UPDATE ? OUTBOX_UPDATE :
		command == CMD_DELETE ? OUTBOX_DELETE : writable_insert_op(connector);
}

/* Bits of CmdType. */
static int
writable_possible(const Connector *connector)
{
	int			possible = 0;

	if (connector_write(connector, writable_insert_op(connector)) != NULL)
		possible |= 1 << CMD_INSERT;
	if (connector->free_columns || connector->nkeys == 0)
		return possible;
	if (connector_write(connector, OUTBOX_UPDATE) != NULL)
		possible |= 1 << CMD_UPDATE;
	if (connector_write(connector, OUTBOX_DELETE) != NULL)
		possible |= 1 << CMD_DELETE;
	return possible;
}

typedef struct Updatable
{
	Oid			relation;
	int			possible;
} Updatable;

static void
updatable_work(void *arg)
{
	Updatable  *it = arg;

	it->possible = writable_possible(connector_load(it->relation, CurrentMemoryContext));
}

/*
 * Asked for every table by information_schema, which must not fail because one
 * definition is broken: who cannot be written to says so when it is tried.  A
 * parallel worker may have no subtransaction, and fails.
 */
static int
writable_updatable(Relation relation)
{
	Updatable	it = {RelationGetRelid(relation), 1 << CMD_INSERT | 1 << CMD_UPDATE | 1 << CMD_DELETE};
	ErrorData  *error;

	if (IsInParallelMode())
	{
		updatable_work(&it);
		return it.possible;
	}
	error = attempt(updatable_work, &it);
	if (error != NULL && attempt_was_cancelled(error))
		ReThrowError(error);
	return it.possible;
}

void
rest_refuse_write(Relation relation, const char *verb, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s foreign table \"%s\"", verb,
					rest_table_name(RelationGetRelid(relation))),
			 errhint("%s", hint)));
}

/* Definitions of connectors are no catalog that plans depend on. */
void
rest_refuse_key(Oid relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the key of foreign table \"%s\" has changed since the statement was planned",
					rest_table_name(relation)),
			 errhint("Prepare it again, or run DISCARD PLANS.")));
}

/* When planned; of a partition, which the planner does not ask about, when executed. */
void
rest_refuse_conflict(Relation relation)
{
	rest_refuse_write(relation, "use ON CONFLICT on",
				  "What happens to a row that the API has already is decided there; declare a sync in mode \"upsert\" with activate_sync().");
}

static void
writable_require_possible(Relation relation, const Connector *connector, CmdType command)
{
	const char *verb = command == CMD_UPDATE ? "update" :
		command == CMD_DELETE ? "delete from" : "insert into";

	if ((writable_possible(connector) & 1 << command) != 0)
		return;
	if (command == CMD_INSERT)
		rest_refuse_write(relation, verb,
					  "Its object has neither \"write.insert\" nor \"write.upsert\": give one in the definition of the target.");
	if (connector->free_columns)
		rest_refuse_write(relation, verb,
					  "A webhook takes INSERT only, each row is an event; a sync in mode \"mirror\" or \"update\" sends what changes in a table.");
	if (connector->nkeys == 0)
		rest_refuse_write(relation, verb,
					  "Its object has no \"key\": give the columns that identify a row in the definition of the target.");
	if (command == CMD_UPDATE)
		rest_refuse_write(relation, verb,
					  "Its object has no \"write.update\": give it in the definition of the target. An upsert might clear what is not assigned.");
	rest_refuse_write(relation, verb,
				  "Its object has no \"write.delete\": give it in the definition of the target.");
}

/* Children of one parent may share a junk column only if it is the same in all. */
char *
rest_junk_name(Form_pg_attribute attribute)
{
	return psprintf("activate key %d %u %d %u", attribute->attnum, attribute->atttypid,
					attribute->atttypmod, attribute->attcollation);
}

/* A row is found again by its key; a DELETE ... RETURNING needs all of it. */
static void
writable_add_targets(PlannerInfo *root, Index rtindex, RangeTblEntry *rte, Relation relation)
{
	Connector  *connector = connector_load(RelationGetRelid(relation), CurrentMemoryContext);
	TupleDesc	desc = RelationGetDescr(relation);

	writable_require_possible(relation, connector, root->parse->commandType);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && rest_is_key(connector, NameStr(attribute->attname)))
			add_row_identity_var(root,
								 makeVar(rtindex, attribute->attnum, attribute->atttypid,
										 attribute->atttypmod, attribute->attcollation, 0),
								 rtindex, rest_junk_name(attribute));
	}
	/* in an UPDATE, and for triggers, the core adds the same */
	if (root->parse->commandType == CMD_DELETE && root->parse->returningList != NIL)
		add_row_identity_var(root, makeVar(rtindex, InvalidAttrNumber, RECORDOID, -1, InvalidOid, 0),
							 rtindex, "wholerow");
}

/* A WHERE that can be true of nothing, or a NULL for a parameter of it, leaves no scan. */
static bool
writable_reads(const ModifyTable *plan)
{
	return !IsA(outerPlan(plan), Result) || outerPlan(outerPlan(plan)) != NULL;
}

/*
 * Attribute numbers of what an UPDATE assigns, generated columns that follow
 * among them.  Here, because the executor is asked for them too late: it finds
 * them out after BeginForeignModify, and must not be made to do so twice.
 */
static List *
writable_assigned(PlannerInfo *root, Index relation)
{
	Bitmapset  *columns = get_rel_all_updated_cols(root, find_base_rel(root, relation));
	List	   *assigned = NIL;
	int			column = -1;

	while ((column = bms_next_member(columns, column)) >= 0)
		assigned = lappend_int(assigned, column + FirstLowInvalidHeapAttributeNumber);
	return assigned;
}

/* The plan's fdw_private: writable_assigned() of an UPDATE. */
static List *
writable_plan(PlannerInfo *root, ModifyTable *plan, Index result_relation, int subplan)
{
	RangeTblEntry *rte = planner_rt_fetch(result_relation, root);
	Relation	relation = table_open(rte->relid, NoLock);
	Connector  *connector = connector_load(rte->relid, CurrentMemoryContext);

	if (plan->onConflictAction != ONCONFLICT_NONE)
		rest_refuse_conflict(relation);
	writable_require_possible(relation, connector, plan->operation);
	if (plan->operation != CMD_INSERT && !connector->read.possible && writable_reads(plan))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s foreign table \"%s\" without reading it, and it cannot be read",
						plan->operation == CMD_UPDATE ? "update" : "delete from", rest_table_name(rte->relid)),
				 errhint("Let WHERE fix each column of the key (%s) by =, or one of them by = ANY, and look at no other column."
						 " To assign a column of the key, row triggers, stored generated columns and views with CHECK OPTION need to read.",
						 writable_key_text(connector))));
	table_close(relation, NoLock);
	return plan->operation == CMD_UPDATE ? writable_assigned(root, result_relation) : NIL;
}

/* A column that is never sent cannot be assigned; those of the key are looked at row by row. */
void
rest_check_assigned(Relation relation, const Connector *connector, const Bitmapset *assigned)
{
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; i < connector->ncolumns; i++)
	{
		const TemplateColumn *column = &connector->columns[i];

		if (!column->skip || rest_is_key(connector, column->name))
			continue;
		for (int a = 0; a < desc->natts; a++)
		{
			if (bms_is_member(a + 1 - FirstLowInvalidHeapAttributeNumber, assigned) &&
				strcmp(NameStr(TupleDescAttr(desc, a)->attname), column->name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot update column \"%s\" of foreign table \"%s\"", column->name,
								rest_table_name(RelationGetRelid(relation))),
						 errhint("The definition of its object says that it is \"readonly\": it is read and never sent.")));
		}
	}
}

void
rest_explain_intent(Relation relation, CmdType command, const Bitmapset *assigned, const char *how,
					ExplainState *es)
{
	Connector  *connector = connector_load(RelationGetRelid(relation), CurrentMemoryContext);
	OutboxOp	op = rest_command_op(connector, command);
	const ConnectorWrite *write = connector_write(connector, op);
	TupleDesc	desc = RelationGetDescr(relation);
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; command == CMD_UPDATE && i < desc->natts; i++)
	{
		if (bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, assigned))
			appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : " of ",
							 quote_identifier(NameStr(TupleDescAttr(desc, i)->attname)));
	}
	ExplainPropertyText("Intent", psprintf("%s%s%s", outbox_op_name(op), columns.data, how), es);
	if (es->verbose && write != NULL)
		ExplainPropertyText("Request", psprintf("%s %s", write->method,
												connector_url(connector, write->path)), es);
}

void
rest_writable_routine(FdwRoutine *routine)
{
	routine->IsForeignRelUpdatable = writable_updatable;
	routine->AddForeignUpdateTargets = writable_add_targets;
	routine->PlanForeignModify = writable_plan;
}
