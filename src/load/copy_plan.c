/*
 * copy_plan.c
 *	  Which scans of a run's statement are read by COPY.
 *
 * postgres_fdw fetches text through a cursor, and waits meanwhile.  What it has
 * put together, a query for the other server and the columns that this returns,
 * can be read by COPY as well; so once the statement of a run is planned, a scan of
 * ours takes its place, whatever stands around it.  Its snapshot is that of the
 * statement, not of the transaction.  All scans of a server as one user see the
 * same one: if any of them must stay with postgres_fdw, all do.  These stay:
 *
 * - in a transaction that has promised one snapshot for all its statements;
 * - of a server to which this transaction has written: only its own connection
 *	 sees that, and may have locked what we would wait for;
 * - with parameters, or locks of rows, or read more than once, or asynchronous.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "core/compat.h"
#include "core/guc.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "load/copy.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* More of them would be too many connections. */
#define SCANS_OF_A_SERVER 8

typedef struct Candidate
{
	Plan	  **link;			/* where it hangs */
	ForeignScan *scan;
	Oid			userid;
	int			subplan;		/* in which subplan it is; 0: in none */
	bool		again;			/* it may be read more than once */
} Candidate;

typedef struct Search
{
	PlannedStmt *statement;
	List	   *candidates;		/* all scans of postgres_fdw */
	Bitmapset  *once;			/* subplans that are executed once */
	int			subplan;
} Search;

static ExecutorStart_hook_type next_executor_start = NULL;

/* The statement of a run that is about to be executed, in its transaction's memory. */
static LocalTransactionId armed = InvalidLocalTransactionId;
static char *armed_statement;

static void start_executor(QueryDesc *query, int eflags);
static void replace_scans(PlannedStmt *statement);
static void find_scans(Plan **link, bool again, Search *search);
static void find_in_list(List *plans, bool again, Search *search);
static void note_scan(Plan **link, bool again, Search *search);
static bool is_postgres(Oid serverid);
static bool locks_rows(PlannedStmt *statement);
static void replace_group(Search *search, List *group);
static bool is_readable(const Candidate *candidate, const Search *search);
static bool has_usual_form(ForeignScan *scan);
static bool was_written(Oid serverid);
static CopySource *make_source(Search *search, const Candidate *candidate, CopyRemote *remote);

void
copy_init(void)
{
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
}

void
copy_arm(const char *statement)
{
	armed = InvalidLocalTransactionId;
	if (!activate_copy || IsolationUsesXactSnapshot())
		return;
	armed_statement = MemoryContextStrdup(TopTransactionContext, statement);
	armed = compat_my_lxid();
}

static void
start_executor(QueryDesc *query, int eflags)
{
	/* what else is executed until then is the owner's, in functions */
	if (armed != InvalidLocalTransactionId && armed == compat_my_lxid() &&
		strcmp(query->sourceText, armed_statement) == 0)
	{
		armed = InvalidLocalTransactionId;
		replace_scans(query->plannedstmt);
	}
	if (next_executor_start)
		next_executor_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

/* The plan is executed this once: it is ours to change. */
static void
replace_scans(PlannedStmt *statement)
{
	Search		search = {.statement = statement};
	ListCell   *cell;

	find_scans(&statement->planTree, false, &search);
	foreach(cell, statement->subplans)
	{
		search.subplan++;
		find_scans((Plan **) &lfirst(cell), false, &search);
	}
	if (locks_rows(statement))
		return;
	while (search.candidates != NIL)
	{
		Candidate  *first = linitial(search.candidates);
		List	   *group = NIL;
		List	   *others = NIL;

		/* those of one connection of postgres_fdw */
		foreach(cell, search.candidates)
		{
			Candidate  *candidate = lfirst(cell);

			if (candidate->scan->fs_server == first->scan->fs_server && candidate->userid == first->userid)
				group = lappend(group, candidate);
			else
				others = lappend(others, candidate);
		}
		replace_group(&search, group);
		search.candidates = others;
	}
}

static void
find_scans(Plan **link, bool again, Search *search)
{
	Plan	   *plan = *link;
	bool		inner = again;
	ListCell   *cell;

	if (plan == NULL)
		return;
	foreach(cell, plan->initPlan)
		search->once = bms_add_member(search->once, lfirst_node(SubPlan, cell)->plan_id);
	switch (nodeTag(plan))
	{
		case T_ForeignScan:
			note_scan(link, again, search);
			return;
		case T_NestLoop:
			inner = again || ((NestLoop *) plan)->nestParams != NIL || !IsA(innerPlan(plan), Material);
			break;
		case T_RecursiveUnion:
			inner = true;
			break;
		case T_Append:
			find_in_list(((Append *) plan)->appendplans, again, search);
			break;
		case T_MergeAppend:
			find_in_list(((MergeAppend *) plan)->mergeplans, again, search);
			break;
		case T_SubqueryScan:
			find_scans(&((SubqueryScan *) plan)->subplan, again, search);
			break;
		default:
			break;
	}
	find_scans(&outerPlan(plan), again, search);
	find_scans(&innerPlan(plan), inner, search);
}

static void
find_in_list(List *plans, bool again, Search *search)
{
	ListCell   *cell;

	foreach(cell, plans)
		find_scans((Plan **) &lfirst(cell), again, search);
}

static void
note_scan(Plan **link, bool again, Search *search)
{
	ForeignScan *scan = (ForeignScan *) *link;
	Candidate  *candidate;

	if (!OidIsValid(scan->fs_server) || !is_postgres(scan->fs_server))
		return;
	candidate = palloc(sizeof(Candidate));
	candidate->link = link;
	candidate->scan = scan;
	candidate->userid = compat_plan_check_as(scan, search->statement->rtable);
	if (!OidIsValid(candidate->userid))
		candidate->userid = GetUserId();
	candidate->subplan = search->subplan;
	candidate->again = again;
	search->candidates = lappend(search->candidates, candidate);
}

/* Whatever the wrapper is called, the handler is the extension's. */
static bool
is_postgres(Oid serverid)
{
	Oid			extension = get_extension_oid("postgres_fdw", true);
	ForeignDataWrapper *wrapper = GetForeignDataWrapper(GetForeignServer(serverid)->fdwid);

	return OidIsValid(extension) &&
		getExtensionOfObject(ProcedureRelationId, wrapper->fdwhandler) == extension;
}

static bool
locks_rows(PlannedStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->rowMarks)
	{
		if (lfirst_node(PlanRowMark, cell)->strength != LCS_NONE)
			return true;
	}
	return false;
}

static void
replace_group(Search *search, List *group)
{
	Candidate  *first = linitial(group);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	CopyRemote *remote;
	ListCell   *cell;

	if (list_length(group) > SCANS_OF_A_SERVER || was_written(first->scan->fs_server))
		return;
	foreach(cell, group)
	{
		if (!is_readable(lfirst(cell), search))
			return;
	}

	/* deleted with that of the portal */
	context = AllocSetContextCreate(caller, "activate copy", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	remote = copy_remote_open(first->scan->fs_server, first->userid, list_length(group));
	if (remote != NULL)
	{
		foreach(cell, group)
		{
			Candidate  *candidate = lfirst(cell);

			*candidate->link = (Plan *) copy_scan_make(candidate->scan, make_source(search, candidate, remote));
		}
	}
	MemoryContextSwitchTo(caller);
	if (remote == NULL)
		MemoryContextDelete(context);
}

static bool
is_readable(const Candidate *candidate, const Search *search)
{
	return !candidate->again && has_usual_form(candidate->scan) &&
		(candidate->subplan == 0 || bms_is_member(candidate->subplan, search->once));
}

/* What postgres_fdw keeps of a scan: its query, then the attributes that this returns, ... */
static bool
has_usual_form(ForeignScan *scan)
{
	ListCell   *cell;

	if (scan->operation != CMD_SELECT || scan->fdw_exprs != NIL || scan->fsSystemCol || scan->scan.plan.async_capable ||
		list_length(scan->fdw_private) < 2 || !IsA(linitial(scan->fdw_private), String) ||
		(lsecond(scan->fdw_private) != NULL && !IsA(lsecond(scan->fdw_private), IntList)))
		return false;
	foreach(cell, (List *) lsecond(scan->fdw_private))
	{
		if (lfirst_int(cell) <= 0)
			return false;
	}
	foreach(cell, scan->fdw_scan_tlist)
	{
		/* a whole row of a join: which type it has only postgres_fdw works out */
		if (exprType((Node *) lfirst_node(TargetEntry, cell)->expr) == RECORDOID)
			return false;
	}
	return true;
}

/* Who writes to a table has a lock on it until then, unless that was rolled back. */
static bool
was_written(Oid serverid)
{
	Relation	rel = table_open(ForeignTableRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_table table = (Form_pg_foreign_table) GETSTRUCT(tuple);
		LOCKTAG		tag;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, table->ftrelid);
		found = table->ftserver == serverid && compat_lock_held(&tag, RowExclusiveLock);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static CopySource *
make_source(Search *search, const Candidate *candidate, CopyRemote *remote)
{
	ForeignScan *scan = candidate->scan;
	List	   *attributes = lsecond(scan->fdw_private);
	CopySource *source = palloc0(sizeof(CopySource));
	Index		relid = scan->scan.scanrelid;
	Relation	rel = relid > 0 ? table_open(rt_fetch(relid, search->statement->rtable)->relid, NoLock) : NULL;
	ListCell   *cell;

	source->remote = remote;
	source->columns = palloc0(list_length(attributes) * sizeof(CopyColumn));
	foreach(cell, attributes)
	{
		CopyColumn *column = &source->columns[source->ncolumns++];

		column->position = lfirst_int(cell) - 1;
		if (scan->fdw_scan_tlist == NIL)
		{
			Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(rel), column->position);

			column->name = pstrdup(NameStr(attribute->attname));
			column->type = attribute->atttypid;
			column->typmod = attribute->atttypmod;
		}
		else
		{
			TargetEntry *entry = list_nth_node(TargetEntry, scan->fdw_scan_tlist, column->position);

			column->name = entry->resname ? entry->resname : psprintf("%d", column->position + 1);
			column->type = exprType((Node *) entry->expr);
			column->typmod = exprTypmod((Node *) entry->expr);
		}
	}
	if (rel != NULL)
		table_close(rel, NoLock);
	copy_choose_forms(source, strVal(linitial(scan->fdw_private)));
	return source;
}
