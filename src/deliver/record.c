/*
 * record.c
 *	  What a settling writes of its outcomes (settle.c): what the target holds
 *	  now, rejections, receipts, and what becomes of the intents.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/identity.h"
#include "deliver/engine.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
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

static RecordStatement sent_statement =
STATEMENT("_settle_sent", INT8OID, JSONBOID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, JSONBOID, INT4OID);
static RecordStatement gone_statement =
STATEMENT("_settle_gone", INT8OID, JSONBOID);
static RecordStatement doubted_statement =
STATEMENT("_settle_doubted", INT8OID, JSONBOID, INT8OID, TIMESTAMPTZOID, INT4OID);
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

/* Of statements that have no others. */
static void
rows_add_key(RecordRows *rows, const DeliverOutcome *outcome)
{
	rows_set_key(rows, outcome);
	rows->n++;
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
add_sent(RecordRows *rows, const DeliverOutcome *outcome)
{
	const DeliverEntry *entry = outcome->entry;
	bool		image = entry->row != NULL && outcome->image;

	rows_set_key(rows, outcome);
	rows_set(rows, 2, Int64GetDatum(entry->hash), !entry->has_hash);
	rows_set(rows, 3, Int64GetDatum(entry->seq), false);
	rows_set(rows, 4, TimestampTzGetDatum(outcome->at), false);
	rows_set_text(rows, 5, outcome->remote_id);
	rows_set(rows, 6, image ? JsonbPGetDatum(entry->row) : (Datum) 0, !image);
	rows_set(rows, 7, Int32GetDatum(entry->epoch), false);
	rows->n++;
}

static void
add_doubted(RecordRows *rows, const DeliverOutcome *outcome)
{
	rows_set_key(rows, outcome);
	rows_set(rows, 2, Int64GetDatum(outcome->entry->seq), false);
	rows_set(rows, 3, TimestampTzGetDatum(outcome->at), false);
	rows_set(rows, 4, Int32GetDatum(outcome->entry->epoch), false);
	rows->n++;
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

/* In a transaction. */
void
deliver_record(const DeliverOutcome *outcomes, int n)
{
	IdentityScope scope;
	RecordRows	sent;
	RecordRows	gone;
	RecordRows	doubted;
	RecordRows	forgiven;
	RecordRows	rejected;

	rows_begin(&sent, &sent_statement, n);
	rows_begin(&gone, &gone_statement, n);
	rows_begin(&doubted, &doubted_statement, n);
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
		if (outcome->kind == OUTCOME_REJECTED && outcome->entry->uncertain)
			add_doubted(&doubted, outcome);
		if (outcome->kind == OUTCOME_DELIVERED && outcome->op == OUTBOX_DELETE)
			rows_add_key(&gone, outcome);
		else if (outcome->kind == OUTCOME_DELIVERED)
			add_sent(&sent, outcome);
	}
	record_intents(outcomes, n);
	identity_enter_extension(&scope);
	SPI_connect();
	rows_write(&sent);
	rows_write(&gone);
	rows_write(&doubted);
	rows_write(&forgiven);
	rows_write(&rejected);
	deliver_receipts_write(outcomes, n);
	SPI_finish();
	identity_leave(&scope);
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
