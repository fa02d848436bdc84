/*
 * record.c
 *	  What a settling writes of its outcomes (settle.c): what the target holds
 *	  now (sent.c), rejections, receipts (receipt.c), and what becomes of the intents.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/identity.h"
#include "deliver/record.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define MOST_COLUMNS 10

/* A statement over arrays: SELECT function($1, ...). */
typedef struct RecordStatement
{
	const char *function;
	int			ncolumns;
	Oid			types[MOST_COLUMNS];	/* of the elements */
	SPIPlanPtr	plan;
} RecordStatement;

#define STATEMENT(name, ...) \
	{.function = name, .ncolumns = lengthof(((Oid[]) {__VA_ARGS__})), .types = {__VA_ARGS__}}

static RecordStatement forgiven_statement =
STATEMENT("_settle_forgiven", INT8OID, JSONBOID, JSONBOID);
static RecordStatement rejected_statement =
STATEMENT("_settle_rejected", INT8OID, JSONBOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, INT4OID, INT8OID, TIMESTAMPTZOID,
		  INT4OID);

/* The arrays of one execution. */
typedef struct RecordRows
{
	RecordStatement *statement;
	int			n;
	Datum	   *values[MOST_COLUMNS];
	bool	   *nulls[MOST_COLUMNS];
} RecordRows;

static void record_intents(const DeliverOutcome *outcomes, int n);

static void
rows_begin(RecordRows *rows, RecordStatement *statement, int most)
{
	rows->statement = statement;
	rows->n = 0;
	for (int c = 0; c < statement->ncolumns; c++)
	{
		rows->values[c] = palloc(sizeof(Datum) * most);
		rows->nulls[c] = palloc0(sizeof(bool) * most);
	}
}

static void
rows_set(RecordRows *rows, int column, Datum value, bool isnull)
{
	rows->values[column][rows->n] = value;
	rows->nulls[column][rows->n] = isnull;
}

static void
rows_set_text(RecordRows *rows, int column, const char *text)
{
	bool		isnull = text == NULL || *text == '\0';

	rows_set(rows, column, isnull ? (Datum) 0 : CStringGetTextDatum(text), isnull);
}

/* The two columns that all have. */
static void
rows_set_key(RecordRows *rows, const DeliverOutcome *outcome)
{
	rows_set(rows, 0, Int64GetDatum(outcome->sync), false);
	rows_set(rows, 1, JsonbPGetDatum(outcome->key), false);
}

static void
statement_prepare(RecordStatement *statement)
{
	StringInfoData sql;
	Oid			types[MOST_COLUMNS];

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT activate.%s(", statement->function);
	for (int c = 0; c < statement->ncolumns; c++)
	{
		appendStringInfo(&sql, "%s$%d", c > 0 ? ", " : "", c + 1);
		types[c] = get_array_type(statement->types[c]);
	}
	appendStringInfoChar(&sql, ')');
	statement->plan = SPI_prepare(sql.data, statement->ncolumns, types);
	if (statement->plan == NULL || SPI_keepplan(statement->plan) != 0)
		elog(ERROR, "could not prepare \"%s\"", sql.data);
}

static void
rows_write(RecordRows *rows)
{
	RecordStatement *statement = rows->statement;
	Datum		arrays[MOST_COLUMNS];

	if (rows->n == 0)
		return;
	if (statement->plan == NULL)
		statement_prepare(statement);
	for (int c = 0; c < statement->ncolumns; c++)
	{
		int16		len;
		bool		byval;
		char		align;
		int			lower = 1;

		get_typlenbyvalalign(statement->types[c], &len, &byval, &align);
		arrays[c] = PointerGetDatum(construct_md_array(rows->values[c], rows->nulls[c], 1, &rows->n, &lower,
													   statement->types[c], len, byval, align));
	}
	SPI_execute_plan(statement->plan, arrays, NULL, false, 0);
}

static void
add_rejected(RecordRows *rows, const DeliverOutcome *outcome)
{
	const DeliverEntry *entry = outcome->entry;

	rows_set_key(rows, outcome);
	rows_set(rows, 2, CStringGetTextDatum(outbox_op_name(outcome->op)), false);
	rows_set(rows, 3, entry->row ? JsonbPGetDatum(entry->row) : (Datum) 0, entry->row == NULL);
	rows_set_text(rows, 4, outcome->code);
	rows_set(rows, 5, CStringGetTextDatum(outcome->reason ? outcome->reason : "refused without a reason"), false);
	rows_set(rows, 6, Int32GetDatum(entry->attempts), false);
	rows_set(rows, 7, Int64GetDatum(entry->hash), !entry->has_hash);
	rows_set(rows, 8, TimestampTzGetDatum(outcome->at), false);
	rows_set(rows, 9, Int32GetDatum(entry->epoch), false);
	rows->n++;
}

/*
 * A new outcome of the key replaces its rejection.  What was written to a
 * foreign table, and so has no hash, says no more than its columns do.
 */
static void
add_forgiven(RecordRows *rows, const DeliverOutcome *outcome)
{
	const DeliverEntry *entry = outcome->entry;
	bool		part = entry->row != NULL && !entry->has_hash;

	if (!entry->refused)
		return;
	rows_set_key(rows, outcome);
	rows_set(rows, 2, part ? JsonbPGetDatum(entry->row) : (Datum) 0, !part);
	rows->n++;
}

static Datum
sync_attribute(OwnTable *table, const char *name)
{
	bool		isnull;

	return slot_getattr(table->row, get_attnum(RelationGetRelid(table->rel), name), &isnull);
}

static RecordSync *
read_sync(int64 id)
{
	RecordSync *sync = palloc0(sizeof(RecordSync));
	OwnTable	table;
	ScanKeyData key;

	sync->id = id;
	/* not that of the transaction's beginning: it may have been dropped since */
	PushActiveSnapshot(GetLatestSnapshot());
	own_table_open(&table, "sync", "sync_pkey", 0, AccessShareLock);
	own_table_key(&key, 1, id);
	if (own_table_find(&table, &key, 1))
	{
		char	   *mode = TextDatumGetCString(sync_attribute(&table, "mode"));
		Sync		options = {.kind = SYNC_TO_API, .mode = strcmp(mode, "append") == 0 ? SYNC_APPEND : SYNC_UPSERT};

		options.implicit = DatumGetBool(sync_attribute(&table, "implicit"));
		options.options = DatumGetJsonbP(sync_attribute(&table, "options"));
		sync->undo = sync_keeps_undo(&options);
		sync->heeds = sync_heeds_application(&options);
		sync->there = true;
		sync->epoch = DatumGetInt32(sync_attribute(&table, "epoch"));
		sync->deletes = strcmp(mode, "mirror") == 0 || strcmp(mode, "replace") == 0;
	}
	own_table_close(&table);
	PopActiveSnapshot();
	return sync;
}

RecordSync *
deliver_record_sync(List **syncs, int64 id)
{
	ListCell   *cell;

	foreach(cell, *syncs)
		if (((RecordSync *) lfirst(cell))->id == id)
			return lfirst(cell);
	*syncs = lappend(*syncs, read_sync(id));
	return llast(*syncs);
}

/* In a transaction. */
void
deliver_record(const DeliverOutcome *outcomes, int n)
{
	IdentityScope scope;
	RecordRows	forgiven;
	RecordRows	rejected;
	List	   *syncs = NIL;

	rows_begin(&forgiven, &forgiven_statement, n);
	rows_begin(&rejected, &rejected_statement, n);
	for (int i = 0; i < n; i++)
	{
		const DeliverOutcome *outcome = &outcomes[i];

		if (outcome->kind == OUTCOME_REJECTED)
			add_rejected(&rejected, outcome);
		if (outcome->kind >= OUTCOME_RETRIED || outcome->entry->hash_key.event != 0)
			continue;
		add_forgiven(&forgiven, outcome);
	}
	record_intents(outcomes, n);
	deliver_sent_record(outcomes, n, &syncs);
	if (forgiven.n > 0 || rejected.n > 0)
	{
		identity_enter_extension(&scope);
		SPI_connect();
		rows_write(&forgiven);
		rows_write(&rejected);
		SPI_finish();
		identity_leave(&scope);
	}
	deliver_receipts_write(outcomes, n, &syncs);
}

/* The intents that the messages stood for: removed, or put off. */
static void
record_intents(const DeliverOutcome *outcomes, int n)
{
	int			most = 0;
	int			nremoved = 0;
	int			ndelayed = 0;
	const OutboxIntent **removed;
	OutboxDelay *delays;

	for (int i = 0; i < n; i++)
		most += outcomes[i].entry ? outcomes[i].entry->covered : 0;
	removed = palloc(sizeof(OutboxIntent *) * Max(most, 1));
	delays = palloc(sizeof(OutboxDelay) * Max(most, 1));
	for (int i = 0; i < n; i++)
	{
		const DeliverOutcome *outcome = &outcomes[i];
		const DeliverEntry *entry = outcome->entry;
		dlist_node *node;

		if (entry == NULL)
			continue;
		node = entry->intents.head.next;
		for (int j = 0; j < entry->covered; j++, node = node->next)
		{
			const OutboxIntent *intent = &dlist_container(DeliverIntent, node, node)->intent;

			if (outcome->kind < OUTCOME_RETRIED)
				removed[nremoved++] = intent;
			else
			{
				OutboxDelay delay = {intent, entry->attempts, outcome->due_at, outcome->reason};

				delays[ndelayed++] = delay;
			}
		}
	}
	outbox_remove(removed, nremoved);
	outbox_delay(delays, ndelayed);
}
