/*
 * first.c
 *	  A run into an empty table: nothing need be compared.
 *
 * Only where the outcome is that of a comparison, to the last count: the
 * unique index on the key says what the statement of load.sql would have found
 * out by a window, and whatever it refuses (or a constraint or a type does, for
 * of a key that occurs twice no row may go in) takes all back, and the
 * comparison follows.  Triggers would fire for statements that are not
 * executed here, and functions might look into the table meanwhile: then there
 * is a comparison at once.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/progress.h"
#include "commands/defrem.h"
#include "core/attempt.h"
#include "core/guc.h"
#include "core/identity.h"
#include "core/own.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "load/bulk.h"
#include "load/copy.h"
#include "load/first.h"
#include "load/load.h"
#include "load/worker.h"
#include "optimizer/optimizer.h"
#include "quality/quality.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

typedef struct FirstLoad
{
	const Sync *sync;
	const char *statement;
	Bulk		bulk;
	char	   *newest;			/* the cursor's greatest value as text; NULL: none */
} FirstLoad;

static bool is_fit(Bulk *bulk, const Sync *sync);
static bool has_begun(const Sync *sync);
static bool is_about_a_row(int code);
static bool is_possible(const Sync *sync, bool full);
static bool is_plain(Relation rel, const Sync *sync);
static bool has_triggers(Relation rel);
static bool has_key_index(Relation rel, const AttrNumber *attributes, const Sync *sync);
static bool is_key_index(Relation index, const Bitmapset *key);
static bool is_empty(Relation rel);
static void refuse_unpublishable(Relation rel, const Sync *sync);
static bool find_attributes(Bulk *bulk, const Sync *sync);
static char *statement_text(const Sync *sync, const RunChunk *chunk);
static void load_all(void *arg);
static char *text_of(Oid type, Datum value);
static void tell_progress(int64 rows);

/* What was there before the load began, for tell_progress(). */
static int64 read_before;
static int64 written_before;
static int64 rows_so_far;

bool
load_first(const Sync *sync, bool full, const RunChunk *chunk, RunCounts *counts)
{
	FirstLoad	load = {.sync = sync};
	ErrorData  *error = NULL;
	bool		tried = false;

	if (!is_possible(sync, full))
		return false;
	load.bulk.rel = try_table_open(sync->target_rel, RowExclusiveLock);
	if (load.bulk.rel == NULL)
		return false;
	if (is_fit(&load.bulk, sync) &&
		((chunk && (chunk->beside || (chunk->ahead && has_begun(sync)))) || is_empty(load.bulk.rel)))
	{
		tried = true;
		refuse_unpublishable(load.bulk.rel, sync);
		load.statement = statement_text(sync, chunk);
		load.bulk.progress = tell_progress;
		read_before = counts->read;
		written_before = counts->inserted + counts->updated + counts->deleted;
		rows_so_far = 0;
		progress_update("loading", read_before, written_before);
		error = attempt(load_all, &load);
	}
	table_close(load.bulk.rel, NoLock);
	if (error && error->sqlerrcode != ERRCODE_ACTIVATE_BULK_IMPOSSIBLE &&
		!(load.bulk.writing && is_about_a_row(error->sqlerrcode)))
		ReThrowError(error);
	if (!tried || error)
		return false;

	ereport(DEBUG1,
			(errmsg_internal("activate: sync \"%s\" was loaded without a comparison", sync->name)));
	counts->read += load.bulk.rows;
	counts->inserted += load.bulk.rows;
	progress_update("recording", counts->read, written_before + load.bulk.rows);
	if (load.newest)
	{
		Oid			types[2] = {INT8OID, TEXTOID};
		Datum		values[2] = {Int64GetDatum(sync->id), CStringGetTextDatum(load.newest)};

		(void) own_value("SELECT activate._load_marked($1, $2)", 2, types, values, NULL, NULL);
	}
	return true;
}

/* Is what differs in the source never one key of the target?  Rows of one key must not be in two chunks. */
static bool
keeps_keys(const Sync *sync)
{
	for (int i = 0; i < sync->nkeys; i++)
	{
		for (int c = 0; c < sync->ncolumns; c++)
			if (strcmp(sync->columns[c], sync->target_key[i]) == 0 && strcmp(sync->column_types[c], sync->key_types[i]) != 0)
				return false;
	}
	return true;
}

bool
load_by_chunks(const Sync *sync)
{
	Bulk		bulk = {0};
	bool		possible = false;

	if (sync->capture == CAPTURE_CURSOR || sync->mode == SYNC_REPLACE || !is_possible(sync, false) || !keeps_keys(sync))
		return false;
	bulk.rel = try_table_open(sync->target_rel, RowExclusiveLock);
	if (bulk.rel == NULL)
		return false;
	possible = is_fit(&bulk, sync) && (has_begun(sync) || is_empty(bulk.rel));
	table_close(bulk.rel, NoLock);
	return possible;
}

/*
 * Of rows of different keys none waits for another only if no other index or
 * constraint compares them: who waits for the others to commit must not be
 * waited for.
 */
bool
load_in_parallel(const Sync *sync)
{
	Relation	rel = try_table_open(sync->target_rel, RowExclusiveLock);
	int			unique = 0;
	ListCell   *cell;

	if (rel == NULL)
		return false;
	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		unique += index->rd_index->indisunique || index->rd_index->indisexclusion;
		index_close(index, AccessShareLock);
	}
	table_close(rel, NoLock);
	return unique == 1;
}

/* Are rows that are new to it written to this table as COPY does? */
static bool
is_fit(Bulk *bulk, const Sync *sync)
{
	return find_attributes(bulk, sync) && is_plain(bulk->rel, sync) && has_key_index(bulk->rel, bulk->attributes, sync);
}

/* Chunks of a run were written: what is there now is theirs, or is met as a key that occurs twice. */
static bool
has_begun(const Sync *sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);

	return own_int64("SELECT count(*) FROM activate._backfill b WHERE b.sync = $1", 1, &type, &id) > 0;
}

/* A comparison perhaps rejects this row. */
static bool
is_about_a_row(int code)
{
	return ERRCODE_TO_CATEGORY(code) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		ERRCODE_TO_CATEGORY(code) == ERRCODE_DATA_EXCEPTION;
}

/* As far as the declaration says. */
static bool
is_possible(const Sync *sync, bool full)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	Query	   *tree = sync_tree(sync);
	bool		judged;

	if (!activate_first_load || sync->kind != SYNC_TO_LOCAL || sync->nkeys == 0 || tree == NULL ||
		sync->mode == SYNC_UPDATE || sync->mode == SYNC_APPEND || sync_option_bool(sync, "history", false))
		return false;
	/* deletes of it may be held, or rows say that they are gone */
	if (sync->mode == SYNC_MIRROR && (sync->capture == CAPTURE_TRIGGER || sync->capture == CAPTURE_CURSOR))
		return false;
	if (sync->capture == CAPTURE_CURSOR && !full &&
		own_int64("SELECT count(*) FROM activate._watermark w WHERE w.sync = $1 AND w.value IS NOT NULL", 1, &type, &id) > 0)
		return false;
	(void) quality_query_needed(sync, &judged);
	return !judged && !contain_volatile_functions((Node *) tree);
}

/* Does an INSERT of its rows do nothing but insert them, and would nothing else happen or be refused? */
static bool
is_plain(Relation rel, const Sync *sync)
{
	return rel->rd_rel->relkind == RELKIND_RELATION && !rel->rd_rel->relispartition && !rel->rd_rel->relhassubclass &&
		rel->rd_rules == NULL && !has_triggers(rel) &&
		pg_class_aclmask(RelationGetRelid(rel), sync->owner, ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE, ACLMASK_ALL) ==
		(ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE) &&
		check_enable_rls(RelationGetRelid(rel), sync->owner, true) != RLS_ENABLED;
}

/* A comparison is an UPDATE, and perhaps a DELETE, too: triggers of statements fire. */
static bool
has_triggers(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	return triggers &&
		(triggers->trig_insert_before_row || triggers->trig_insert_after_row || triggers->trig_insert_instead_row ||
		 triggers->trig_insert_before_statement || triggers->trig_insert_after_statement ||
		 triggers->trig_update_before_statement || triggers->trig_update_after_statement ||
		 triggers->trig_delete_before_statement || triggers->trig_delete_after_statement);
}

static bool
has_key_index(Relation rel, const AttrNumber *attributes, const Sync *sync)
{
	Bitmapset  *key = NULL;
	ListCell   *cell;
	bool		found = false;

	for (int i = 0; i < sync->nkeys; i++)
	{
		AttrNumber	attribute = get_attnum(RelationGetRelid(rel), sync->target_key[i]);
		Oid			collation;

		if (attribute <= 0)
			return false;
		collation = TupleDescAttr(RelationGetDescr(rel), attribute - 1)->attcollation;
		if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
			return false;
		key = bms_add_member(key, attribute);
	}
	foreach(cell, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		found |= is_key_index(index, key);
		index_close(index, AccessShareLock);
	}
	return found;
}

/* As activate._has_unique() wants it; and what is equal for it is equal for anybody. */
static bool
is_key_index(Relation index, const Bitmapset *key)
{
	Form_pg_index form = index->rd_index;
	oidvector  *classes;
	Bitmapset  *columns = NULL;
	bool		isnull;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid || !form->indisready ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	classes = (oidvector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, index->rd_indextuple,
															Anum_pg_index_indclass, &isnull));
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		AttrNumber	attribute = form->indkey.values[i];

		if (attribute <= 0 ||
			classes->values[i] != GetDefaultOpClass(TupleDescAttr(RelationGetDescr(index), i)->atttypid, index->rd_rel->relam))
			return false;
		columns = bms_add_member(columns, attribute);
	}
	return bms_equal(columns, key);
}

static bool
is_empty(Relation rel)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan;
	bool		found;

	PushActiveSnapshot(GetTransactionSnapshot());
	scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	table_endscan(scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(slot);
	return !found;
}

/* A comparison may not update or delete, not even nothing, where a publication could not tell which rows. */
static void
refuse_unpublishable(Relation rel, const Sync *sync)
{
	if (sync->mode == SYNC_MIRROR || sync->mode == SYNC_REPLACE)
		CheckCmdReplicaIdentity(rel, CMD_DELETE);
	if (sync->mode != SYNC_INSERT && sync->ncolumns > sync->nkeys)
		CheckCmdReplicaIdentity(rel, CMD_UPDATE);
}

/* False: some of them cannot be written so, or not be updated; a comparison says it. */
static bool
find_attributes(Bulk *bulk, const Sync *sync)
{
	bulk->ncolumns = sync->ncolumns;
	bulk->cursor = sync->capture == CAPTURE_CURSOR;
	bulk->attributes = palloc(sync->ncolumns * sizeof(AttrNumber));
	bulk->not_null = palloc0(sync->ncolumns * sizeof(bool));
	for (int i = 0; i < sync->ncolumns; i++)
	{
		Form_pg_attribute attribute;

		bulk->attributes[i] = get_attnum(RelationGetRelid(bulk->rel), sync->columns[i]);
		if (bulk->attributes[i] <= 0)
			return false;
		for (int k = 0; k < sync->nkeys; k++)
			bulk->not_null[i] |= strcmp(sync->columns[i], sync->target_key[k]) == 0;
		attribute = TupleDescAttr(RelationGetDescr(bulk->rel), bulk->attributes[i] - 1);
		if (attribute->attgenerated || (attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS && !bulk->not_null[i]))
			return false;
	}
	return true;
}

static char *
statement_text(const Sync *sync, const RunChunk *chunk)
{
	StringInfoData sql;
	char	   *query = sync_query_needed(sync);

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 1; i <= sync->ncolumns; i++)
		appendStringInfo(&sql, "%sq.v%d", i > 1 ? ", " : "", i);
	if (sync->capture == CAPTURE_CURSOR)
		appendStringInfo(&sql, ", q.c FROM (%s) q WHERE q.c IS NOT NULL%s%s", query,
						 chunk ? " AND " : "", chunk ? chunk->condition : "");
	else
		appendStringInfo(&sql, " FROM (%s) q%s%s", query, chunk ? " WHERE " : "", chunk ? chunk->condition : "");
	return sql.data;
}

/* In a subtransaction. */
static void
load_all(void *arg)
{
	FirstLoad  *load = arg;
	SPIExecuteOptions options = {.dest = &load->bulk.dest};
	IdentityScope scope;

	sync_enter_owner(load->sync, &scope);
	/* workers may not run while there is written; a comparison has none either */
	identity_set_local("max_parallel_workers_per_gather", "0");
	bulk_begin(&load->bulk);
	SPI_connect();
	copy_arm(load->statement);
	if (SPI_execute_extended(load->statement, &options) < 0)
		elog(ERROR, "could not load sync \"%s\"", load->sync->name);
	SPI_finish();
	bulk_end(&load->bulk);
	if (OidIsValid(load->bulk.newest_type))
		load->newest = text_of(load->bulk.newest_type, load->bulk.newest);
	sync_leave_owner(load->sync, &scope);
}

/* Its cast to text, as a comparison makes it. */
static char *
text_of(Oid type, Datum value)
{
	char	   *text;
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	SPI_execute_with_args("SELECT $1::pg_catalog.text", 1, &type, &value, NULL, true, 1);
	text = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return text;
}

static void
tell_progress(int64 rows)
{
	int64		others = load_worker_rows(rows);

	rows_so_far = rows;
	progress_update(NULL, read_before + rows + others, written_before + rows + others);
}

void
load_tell_progress(void)
{
	tell_progress(rows_so_far);
}
