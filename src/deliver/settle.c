/*
 * settle.c
 *	  Outcomes of hundreds of messages, written by one transaction.
 *
 * Until it has committed, the entries stay where they are: if the transaction
 * fails for a reason that will pass, it is repeated; if one of the outcomes
 * cannot be written at all, halving finds it and its sync is paused.  If
 * somebody keeps rows of a sync locked, only the outcomes of that sync wait.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "core/clock.h"
#include "core/identity.h"
#include "deliver/engine.h"
#include "storage/condition_variable.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MOST_COLUMNS 10

/* A statement over arrays: SELECT function($1, ...). */
typedef struct SettleStatement
{
	const char *function;
	int			ncolumns;
	Oid			types[MOST_COLUMNS];	/* of the elements */
	SPIPlanPtr	plan;
} SettleStatement;

#define STATEMENT(name, ...) \
	{.function = name, .ncolumns = lengthof(((Oid[]) {__VA_ARGS__})), .types = {__VA_ARGS__}}

static SettleStatement sent_statement =
STATEMENT("_settle_sent", INT8OID, JSONBOID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, JSONBOID, INT4OID);
static SettleStatement gone_statement =
STATEMENT("_settle_gone", INT8OID, JSONBOID);
static SettleStatement doubted_statement =
STATEMENT("_settle_doubted", INT8OID, JSONBOID);
static SettleStatement forgiven_statement =
STATEMENT("_settle_forgiven", INT8OID, JSONBOID, JSONBOID);
static SettleStatement rejected_statement =
STATEMENT("_settle_rejected", INT8OID, JSONBOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, INT4OID, INT8OID, TIMESTAMPTZOID,
		  INT4OID);

/* The arrays of one execution. */
typedef struct SettleRows
{
	SettleStatement *statement;
	int			n;
	Datum	   *values[MOST_COLUMNS];
	bool	   *nulls[MOST_COLUMNS];
} SettleRows;

typedef struct SettleRange
{
	DeliverOutcome *outcomes;
	int			n;
} SettleRange;

static void settle_range(SettleRange range);
static void settle_locked(SettleRange range, const DeliverError *error);
static void settle_by_sync(SettleRange range);
static void keep_unsettled(void);
static void settle_work(void *arg);
static void settle_outbox(const SettleRange *range);
static void apply_outcome(DeliverOutcome *outcome);

DeliverOutcome *
deliver_outcome(DeliverEntry *entry, OutcomeKind kind)
{
	DeliverOutcome *outcome;

	if (engine->noutcomes == engine->max_outcomes)
	{
		engine->max_outcomes *= 2;
		engine->outcomes = repalloc(engine->outcomes, sizeof(DeliverOutcome) * engine->max_outcomes);
	}
	outcome = &engine->outcomes[engine->noutcomes++];
	memset(outcome, 0, sizeof(*outcome));
	outcome->kind = kind;
	outcome->sync = entry->sync->id;
	outcome->op = entry->op;
	outcome->has_id = true;
	memcpy(outcome->id, kind == OUTCOME_OVERTAKEN ? entry->tried_id : entry->id, DELIVER_ID_LEN);
	if (kind < OUTCOME_NOTED)
	{
		outcome->entry = entry;
		outcome->key = entry->hash_key.key;
	}
	else
	{
		outcome->key = MemoryContextAlloc(engine->outcome_context, VARSIZE(entry->hash_key.key));
		memcpy(outcome->key, entry->hash_key.key, VARSIZE(entry->hash_key.key));
	}
	outcome->at = clock_now();
	outcome->latency_us = -1;
	if (engine->noutcomes == engine->nlocked + 1)
		engine->oldest_outcome = outcome->at;
	return outcome;
}

/* code may be "" or NULL; reason is copied. */
void
deliver_outcome_reason(DeliverOutcome *outcome, const char *code, const char *reason)
{
	strlcpy(outcome->code, code ? code : "", sizeof(outcome->code));
	outcome->reason = reason ? MemoryContextStrdup(engine->outcome_context, reason) : NULL;
}

/* Which outcome is the first that may be written now: before it are those that are locked. */
static int
settle_from(TimestampTz now)
{
	return engine->locked_until > now ? engine->nlocked : 0;
}

/* When enough has come together, the oldest waits for too long, or there is nothing to wait for. */
bool
deliver_settle_due(TimestampTz now)
{
	int			n = engine->noutcomes - settle_from(now);

	if (n == 0 || engine->settle_rest_until > now)
		return false;
	return n >= DELIVER_FLUSH || http_pool_in_flight(engine->pool) == 0 ||
		now - engine->oldest_outcome >= DELIVER_FLUSH_US;
}

/* When that will be by itself; 0: there is nothing to write. */
TimestampTz
deliver_settle_next(void)
{
	if (engine->noutcomes == 0)
		return 0;
	return Max(engine->noutcomes > engine->nlocked ? engine->oldest_outcome + DELIVER_FLUSH_US : engine->locked_until,
			   engine->settle_rest_until);
}

void
deliver_settle(void)
{
	SettleRange locked = {engine->outcomes, engine->nlocked};
	SettleRange others = {engine->outcomes + engine->nlocked, engine->noutcomes - engine->nlocked};
	bool		unlocked = settle_from(clock_now()) == 0;

	if (engine->noutcomes == 0)
		return;
	/* whoever sees that something is settled sees what its target is like now */
	deliver_targets_publish();
	if (unlocked && locked.n > 0)
		settle_by_sync(locked);
	if (others.n > 0)
		settle_range(others);
	keep_unsettled();
	ConditionVariableBroadcast(&engine->database->settled);
}

/* What could not be settled now has kept its kind; what is locked goes first. */
static void
keep_unsettled(void)
{
	int			n = engine->noutcomes;
	DeliverOutcome *all = memcpy(palloc(sizeof(DeliverOutcome) * n), engine->outcomes, sizeof(DeliverOutcome) * n);

	engine->noutcomes = 0;
	for (int i = 0; i < n; i++)
		if (!all[i].settled && all[i].locked)
			engine->outcomes[engine->noutcomes++] = all[i];
	engine->nlocked = engine->noutcomes;
	for (int i = 0; i < n; i++)
		if (!all[i].settled && !all[i].locked)
			engine->outcomes[engine->noutcomes++] = all[i];
	if (engine->nlocked == 0)
		engine->locked_rests = 0;
	if (engine->noutcomes == 0)
		MemoryContextReset(engine->outcome_context);
	pfree(all);
}

/*
 * To the disk, what was settled: when there is nothing else to wait for, or it
 * has waited long enough.  Commits do not wait for it, and after a crash little
 * is sent again.
 */
void
deliver_flush(TimestampTz now)
{
	if (engine->unflushed == InvalidXLogRecPtr ||
		(http_pool_in_flight(engine->pool) > 0 && now - engine->unflushed_since < DELIVER_DISK_US))
		return;
	XLogFlush(engine->unflushed);
	engine->unflushed = InvalidXLogRecPtr;
}

/* Again later: one line in the log, and ever more seldom. */
static void
settle_later(SettleRange range, const DeliverError *error, int *rests, TimestampTz *until)
{
	if ((*rests)++ == 0 && !deliver_asked_to_stop())
		ereport(LOG,
				(errcode(error->sqlstate),
				 errmsg("activate: outcomes of %d messages wait to be written: %s", range.n, error->message)));
	*until = clock_now() + Min(*rests, 30) * USECS_PER_SEC / 3;
}

static void
settle_range(SettleRange range)
{
	DeliverError error;

	if (deliver_transaction(settle_work, &range, &error))
	{
		for (int i = 0; i < range.n; i++)
			apply_outcome(&range.outcomes[i]);
		engine->settle_rests = 0;
		if (engine->unflushed == InvalidXLogRecPtr)
			engine->unflushed_since = clock_now();
		engine->unflushed = XactLastCommitEnd;
	}
	else if (error.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE)
		settle_locked(range, &error);
	else if (deliver_error_is_transient(error.sqlstate))
		settle_later(range, &error, &engine->settle_rests, &engine->settle_rest_until);
	else if (range.n > 1)
	{
		SettleRange first = {range.outcomes, range.n / 2};
		SettleRange second = {range.outcomes + range.n / 2, range.n - range.n / 2};

		settle_range(first);
		if (engine->settle_rest_until <= clock_now())
			settle_range(second);
	}
	else
	{
		DeliverEntry *entry = range.outcomes[0].entry;

		/* its intents stay in the outbox */
		range.outcomes[0].settled = true;
		if (entry != NULL)
		{
			DeliverSync *sync = entry->sync;

			deliver_entry_fresh(entry, false);
			deliver_sync_break(sync, error.message);
		}
	}
}

/* A transaction left open, after activate_discard() perhaps, is the affair of its sync only. */
static void
settle_locked(SettleRange range, const DeliverError *error)
{
	for (int i = 1; i < range.n; i++)
		if (range.outcomes[i].sync != range.outcomes[0].sync)
		{
			settle_by_sync(range);
			return;
		}
	for (int i = 0; i < range.n; i++)
		range.outcomes[i].locked = true;
	settle_later(range, error, &engine->locked_rests, &engine->locked_until);
}

/* The outcomes of each sync by themselves, in their order. */
static void
settle_by_sync(SettleRange range)
{
	DeliverOutcome *all = memcpy(palloc(sizeof(DeliverOutcome) * range.n), range.outcomes,
								 sizeof(DeliverOutcome) * range.n);
	bool	   *taken = palloc0(sizeof(bool) * range.n);
	int			n = 0;

	for (int i = 0; i < range.n; i++)
	{
		SettleRange part = {range.outcomes + n, 0};

		for (int j = i; j < range.n && !taken[i]; j++)
			if (!taken[j] && all[j].sync == all[i].sync)
			{
				part.outcomes[part.n++] = all[j];
				taken[j] = j > i;
			}
		n += part.n;
		if (part.n > 0 && engine->settle_rest_until <= clock_now())
			settle_range(part);
	}
	pfree(taken);
	pfree(all);
}

/* --- the transaction --------------------------------------------------- */

static void
rows_begin(SettleRows *rows, SettleStatement *statement, int most)
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
rows_set(SettleRows *rows, int column, Datum value, bool isnull)
{
	rows->values[column][rows->n] = value;
	rows->nulls[column][rows->n] = isnull;
}

static void
rows_set_text(SettleRows *rows, int column, const char *text)
{
	bool		isnull = text == NULL || *text == '\0';

	rows_set(rows, column, isnull ? (Datum) 0 : CStringGetTextDatum(text), isnull);
}

/* The two columns that all have. */
static void
rows_set_key(SettleRows *rows, const DeliverOutcome *outcome)
{
	rows_set(rows, 0, Int64GetDatum(outcome->sync), false);
	rows_set(rows, 1, JsonbPGetDatum(outcome->key), false);
}

/* Of statements that have no others. */
static void
rows_add_key(SettleRows *rows, const DeliverOutcome *outcome)
{
	rows_set_key(rows, outcome);
	rows->n++;
}

static void
statement_prepare(SettleStatement *statement)
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
rows_write(SettleRows *rows)
{
	SettleStatement *statement = rows->statement;
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
add_sent(SettleRows *rows, const DeliverOutcome *outcome)
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
add_rejected(SettleRows *rows, const DeliverOutcome *outcome)
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
add_forgiven(SettleRows *rows, const DeliverOutcome *outcome)
{
	const DeliverEntry *entry = outcome->entry;
	bool		part = entry->row != NULL && !entry->has_hash;

	if (!entry->refused)
		return;
	rows_set_key(rows, outcome);
	rows_set(rows, 2, part ? JsonbPGetDatum(entry->row) : (Datum) 0, !part);
	rows->n++;
}

static void
settle_work(void *arg)
{
	const SettleRange *range = arg;
	IdentityScope scope;
	SettleRows	sent;
	SettleRows	gone;
	SettleRows	doubted;
	SettleRows	forgiven;
	SettleRows	rejected;

	rows_begin(&sent, &sent_statement, range->n);
	rows_begin(&gone, &gone_statement, range->n);
	rows_begin(&doubted, &doubted_statement, range->n);
	rows_begin(&forgiven, &forgiven_statement, range->n);
	rows_begin(&rejected, &rejected_statement, range->n);
	for (int i = 0; i < range->n; i++)
	{
		const DeliverOutcome *outcome = &range->outcomes[i];

		if (outcome->kind == OUTCOME_REJECTED)
			add_rejected(&rejected, outcome);
		if (outcome->kind >= OUTCOME_RETRIED || outcome->entry->hash_key.event != 0)
			continue;
		add_forgiven(&forgiven, outcome);
		if (outcome->kind == OUTCOME_REJECTED && outcome->entry->uncertain)
			rows_add_key(&doubted, outcome);
		if (outcome->kind == OUTCOME_DELIVERED && outcome->op == OUTBOX_DELETE)
			rows_add_key(&gone, outcome);
		else if (outcome->kind == OUTCOME_DELIVERED)
			add_sent(&sent, outcome);
	}
	settle_outbox(range);
	identity_enter_extension(&scope);
	SPI_connect();
	rows_write(&sent);
	rows_write(&gone);
	rows_write(&doubted);
	rows_write(&forgiven);
	rows_write(&rejected);
	deliver_receipts_write(range->outcomes, range->n);
	SPI_finish();
	identity_leave(&scope);
}

/* The intents that the messages stood for: removed, or put off. */
static void
settle_outbox(const SettleRange *range)
{
	int			most = 0;
	int			nremoved = 0;
	int			ndelayed = 0;
	const OutboxIntent **removed;
	OutboxDelay *delays;

	for (int i = 0; i < range->n; i++)
		most += range->outcomes[i].entry ? range->outcomes[i].entry->covered : 0;
	removed = palloc(sizeof(OutboxIntent *) * Max(most, 1));
	delays = palloc(sizeof(OutboxDelay) * Max(most, 1));
	for (int i = 0; i < range->n; i++)
	{
		const DeliverOutcome *outcome = &range->outcomes[i];
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

/* --- after the commit -------------------------------------------------- */

static void
apply_outcome(DeliverOutcome *outcome)
{
	DeliverEntry *entry = outcome->entry;

	outcome->settled = true;
	if (entry == NULL)
		return;
	if (outcome->kind < OUTCOME_RETRIED)
		deliver_entry_done(entry);
	else
		deliver_entry_wait(entry, outcome->due_at);
}
