/*
 * render.c
 *	  Keys of a sync to rows, as its owner would see them: SEMANTICS 12.
 *
 * One statement renders many keys, in a subtransaction that is read only, as
 * the owner in a restricted operation, within activate.render_timeout.  An
 * error bisects down to the row that causes it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/errors.h"
#include "core/identity.h"
#include "deliver/engine.h"
#include "deliver/owner.h"
#include "quality/quality.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* One attempt at a range of keys, or at preparing (n < 0). */
typedef struct RenderWork
{
	RenderPlan *plan;
	const Sync *sync;
	Jsonb	  **keys;
	int			n;
	Rendered   *out;
	MemoryContext context;
	DeliverOwner owner;
	bool		slow;			/* it took too long */
	const char *query;
	bool		one_by_one;
} RenderWork;

/* The planner's costs are estimates for so many keys (as of any set-returning function in C). */
#define PLANNED_KEYS	100.0

/* Plans made while a table was small are not kept when it may have grown. */
#define PLAN_LIFE_US	(10 * USECS_PER_SEC)

/* Raised by whatever may have renamed something that a query names. */
static uint64 catalog_epoch = 1;

static void
catalog_changed(Datum arg, int cache, uint32 hash)
{
	catalog_epoch++;
}

static void
relation_changed(Datum arg, Oid relation)
{
	catalog_epoch++;
}

void
deliver_render_init(void)
{
	static bool registered = false;

	if (registered)
		return;
	registered = true;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, catalog_changed, (Datum) 0);
}

void
deliver_render_forget(RenderPlan *plan)
{
	if (plan->together)
		SPI_freeplan(plan->together);
	if (plan->one_by_one)
		SPI_freeplan(plan->one_by_one);
	if (plan->query)
		pfree(plan->query);
	plan->together = NULL;
	plan->one_by_one = NULL;
	plan->query = NULL;
	plan->careful = false;
}

Datum
deliver_text_array(char **strings, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(strings[i]);
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static char *
render_sql(const Sync *sync, const char *query, bool one_by_one, bool judged)
{
	IdentityScope scope;
	Oid			types[7] = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID, BOOLOID};
	Datum		values[7];
	char	   *sql;

	values[0] = CStringGetTextDatum(query);
	values[1] = deliver_text_array(sync->key, sync->nkeys);
	values[2] = deliver_text_array(sync->key_types, sync->nkeys);
	values[3] = deliver_key_conditions(sync);
	values[4] = deliver_text_array(sync->columns, sync->ncolumns);
	values[5] = BoolGetDatum(one_by_one);
	values[6] = BoolGetDatum(judged);

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT activate._render_sql($1, $2, $3, $4, $5, $6, $7)", 7, types, values, NULL, true, 1);
	sql = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	sql = MemoryContextStrdup(TopTransactionContext, sql);
	SPI_finish();
	identity_leave(&scope);
	return sql;
}

/* A kept plan, the same for any keys, and what the planner thinks it costs. */
static SPIPlanPtr
prepare_kept(const char *sql, double *cost)
{
	Oid			type = JSONBOID;
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, 1, &type, CURSOR_OPT_GENERIC_PLAN);
	CachedPlan *cached;

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	cached = SPI_plan_get_cached_plan(plan);
	*cost = linitial_node(PlannedStmt, cached->stmt_list)->planTree->total_cost;
	ReleaseCachedPlan(cached, CurrentResourceOwner);
	return plan;
}

static void
prepare_work(void *arg)
{
	RenderWork *work = arg;
	RenderPlan *plan = work->plan;
	char	   *together = render_sql(work->sync, work->query, false, plan->judged);
	char	   *one_by_one = render_sql(work->sync, work->query, true, plan->judged);

	/* parsing and planning run code of the owner, too: checks of domains, immutable functions */
	deliver_owner_enter(&work->owner, work->sync, deliver_render_timeout);
	SPI_connect();
	plan->together = prepare_kept(together, &plan->cost_together);
	plan->one_by_one = prepare_kept(one_by_one, &plan->cost_one_by_one);
	SPI_finish();
	deliver_owner_leave(&work->owner);

	plan->query = MemoryContextStrdup(plan->context, work->query);
	plan->epoch = catalog_epoch;
	plan->made_at = GetCurrentTimestamp();
}

/*
 * The statements for the names of today.  A plan of PostgreSQL follows its
 * text, not our tree, so a renamed relation calls for another text.
 */
static bool
render_prepare(RenderWork *work, char **reason)
{
	RenderPlan *plan = work->plan;
	bool		young = plan->query && GetCurrentTimestamp() - plan->made_at < PLAN_LIFE_US;
	bool		judged;
	DeliverError error;

	if (young && plan->epoch == catalog_epoch)
		return true;
	work->query = quality_query(work->sync, &judged, reason);
	if (work->query == NULL)
		return false;
	if (young && strcmp(plan->query, work->query) == 0)
	{
		plan->epoch = catalog_epoch;
		return true;
	}
	deliver_render_forget(plan);
	plan->judged = judged;
	if (deliver_subtransaction(prepare_work, work, &error))
		return true;
	deliver_render_forget(plan);
	if (deliver_owner_timed_out(&work->owner) && error.sqlstate == ERRCODE_QUERY_CANCELED)
	{
		*reason = pstrdup("planning to read its source took longer than activate.render_timeout");
		return false;
	}
	if (deliver_error_is_transient(error.sqlstate))
		ereport(ERROR,
				(errcode(error.sqlstate),
				 errmsg("could not prepare the rows of sync \"%s\": %s", work->sync->name, error.message)));
	*reason = pstrdup(error.message);
	return false;
}

/* The keys as one jsonb array. */
static Jsonb *
keys_array(Jsonb **keys, int n)
{
	JsonbParseState *state = NULL;
	JsonbValue	element;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		element.type = jbvBinary;
		element.val.binary.data = &keys[i]->root;
		element.val.binary.len = VARSIZE(keys[i]) - VARHDRSZ;
		pushJsonbValue(&state, WJB_ELEM, &element);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

static void
collect_rows(RenderWork *work)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		int			ord = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull)) - 1;
		Rendered   *out = &work->out[ord];
		MemoryContext previous;

		if (out->found)
		{
			out->duplicate = true;
			continue;
		}
		out->found = true;
		previous = MemoryContextSwitchTo(work->context);
		out->row = DatumGetJsonbPCopy(SPI_getbinval(tuple, desc, 2, &isnull));
		MemoryContextSwitchTo(previous);
		out->hash = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
		if (work->plan->judged)
		{
			Datum		flaw = SPI_getbinval(tuple, desc, 4, &isnull);

			out->flaw = isnull ? NULL : MemoryContextStrdup(work->context, TextDatumGetCString(flaw));
		}
	}
}

static void
execute_work(void *arg)
{
	RenderWork *work = arg;
	Datum		value = JsonbPGetDatum(keys_array(work->keys, work->n));

	SPIPlanPtr	plan = work->one_by_one ? work->plan->one_by_one : work->plan->together;

	deliver_owner_enter(&work->owner, work->sync, deliver_render_timeout);
	SPI_connect();
	deliver_owner_look_now(plan);
	SPI_execute_plan(plan, &value, NULL, true, 0);
	collect_rows(work);
	SPI_finish();
	deliver_owner_leave(&work->owner);
}

static void
render_failed(Rendered *out, const DeliverError *error, MemoryContext context)
{
	out->error = MemoryContextStrdup(context, error->message);
	strlcpy(out->sqlstate, unpack_sql_state(error->sqlstate), sizeof(out->sqlstate));
}

/*
 * Of the errors that will pass, those that a function in a map raises as well
 * as a source that is not there: who it was is found out.
 */
static bool
row_may_raise(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
			return sqlstate != ERRCODE_LOCK_NOT_AVAILABLE;
		case ERRCODE_SYSTEM_ERROR:
			return true;
		case ERRCODE_FDW_ERROR:
			return sqlstate != ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
		default:
			return false;
	}
}

/* False: error says why. */
static bool
render_attempt(RenderWork *work, DeliverError *error)
{
	memset(work->out, 0, sizeof(Rendered) * work->n);
	if (deliver_subtransaction(execute_work, work, error))
		return true;
	memset(work->out, 0, sizeof(Rendered) * work->n);
	if (deliver_owner_timed_out(&work->owner) && error->sqlstate == ERRCODE_QUERY_CANCELED)
	{
		work->slow = true;
		strlcpy(error->message, "rendering the row took longer than activate.render_timeout",
				sizeof(error->message));
	}
	else if (deliver_error_is_transient(error->sqlstate) && !(work->n > 0 && row_may_raise(error->sqlstate)))
		ereport(ERROR,
				(errcode(error->sqlstate),
				 errmsg("could not render rows of sync \"%s\": %s", work->sync->name, error->message)));
	return false;
}

/* Halves of a range that failed, until the bad row is alone. */
static void
render_halves(RenderWork *work, Jsonb **keys, int n, Rendered *out, bool bisect_slow)
{
	int			start[3] = {0, n / 2, n};
	DeliverError error;

	for (int i = 0; i < 2; i++)
	{
		work->keys = keys + start[i];
		work->n = start[i + 1] - start[i];
		work->out = out + start[i];
		if (render_attempt(work, &error))
			continue;
		if (work->n == 1)
			render_failed(work->out, &error, work->context);
		else if (bisect_slow || !work->slow)
			render_halves(work, work->keys, work->n, work->out, bisect_slow);
		if (work->slow && !bisect_slow)
			return;
	}
}

/*
 * An error of the class "syntax error or access rule violation", or one that
 * may pass, may be the row's or the sync's; without any row it can only be the
 * sync's.
 */
static bool
render_works_at_all(RenderWork *work, char **reason)
{
	DeliverError error;

	work->n = 0;
	if (render_attempt(work, &error))
		return true;
	*reason = pstrdup(error.message);
	return false;
}

/*
 * A source that is far away may fail only when it is asked for a row: unless
 * the first or the last can be had, it is the source.
 */
static void
render_check_source(RenderWork *work, Jsonb **keys, int n, Rendered *out)
{
	int			places[2] = {0, n - 1};
	DeliverError error;

	for (int i = 0; i < 2; i++)
	{
		work->keys = &keys[places[i]];
		work->out = &out[places[i]];
		work->n = 1;
		if (render_attempt(work, &error))
			return;
	}
	ereport(ERROR,
			(errcode(error.sqlstate),
			 errmsg("could not render rows of sync \"%s\": %s", work->sync->name, error.message)));
}

/*
 * slow not NULL: a range that takes too long is not bisected here, where
 * everybody else would wait for it; *slow is set, and the caller comes again
 * with fewer keys.
 */
bool
deliver_render_plan(RenderPlan *plan, const Sync *sync, Jsonb **keys, int n, Rendered *out,
					char **reason, bool *slow, MemoryContext context)
{
	RenderWork	work = {.plan = plan, .sync = sync};
	DeliverError error;

	work.context = context;
	if (slow)
		*slow = false;
	if (!OidIsValid(sync->owner))
	{
		*reason = psprintf("its owner, role \"%s\", does not exist", sync->owner_name);
		return false;
	}
	if (!render_prepare(&work, reason))
		return false;

	work.keys = keys;
	work.n = n;
	work.out = out;
	work.one_by_one = n == 1 || plan->careful ||
		plan->cost_one_by_one * n / PLANNED_KEYS < plan->cost_together;
	if (render_attempt(&work, &error))
		return true;
	if (error.sqlstate == ERRCODE_ACTIVATE_HELD)
	{
		plan->held = true;
		*reason = pstrdup(error.message);
		return false;
	}

	/* joined, it may have been any row of the source */
	work.one_by_one = true;
	plan->careful |= work.slow;
	if ((ERRCODE_TO_CATEGORY(error.sqlstate) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
		 row_may_raise(error.sqlstate)) && !render_works_at_all(&work, reason))
		return false;
	if (ERRCODE_TO_CATEGORY(error.sqlstate) == ERRCODE_FDW_ERROR)
		render_check_source(&work, keys, n, out);
	if (n == 1)
		render_failed(&out[0], &error, context);
	else if (slow == NULL || !work.slow)
		render_halves(&work, keys, n, out, slow == NULL);
	if (slow)
		*slow = work.slow;
	return true;
}

bool
deliver_render(const Sync *sync, Jsonb **keys, int n, Rendered *out, char **reason, MemoryContext context)
{
	RenderPlan	plan = {0};
	bool		rendered;

	plan.context = CurrentMemoryContext;
	deliver_render_init();
	rendered = deliver_render_plan(&plan, sync, keys, n, out, reason, NULL, context);
	deliver_render_forget(&plan);
	return rendered;
}
