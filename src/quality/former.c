/*
 * former.c
 *	  A value as the type that its column had: the cast, tried.
 *
 * PostgreSQL 15 has no way to ask whether a value can be cast but to cast it in
 * a subtransaction.  That is done only where a look at the value does not say
 * that it fits, so what it costs grows with what does not.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "quality/former.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* A cast, prepared once for a place in a statement. */
typedef struct Former
{
	Oid			from;
	Oid			to;
	int32		typmod;
	ExprState  *cast;
	ExprContext *context;
} Former;

/* One attempt at it. */
typedef struct Trial
{
	Former	   *former;
	Datum		value;
	Datum		result;
	bool		isnull;
} Trial;

static Former *former_of(FunctionCallInfo fcinfo);
static bool fits_surely(const Former *former, Datum value);
static bool integer_fits(int64 value, Oid type);
static int	digits_before_point(int32 typmod);
static bool digits_fit(const char *text, int length, int most, bool point);
static void trial_work(void *arg);
static ErrorData *try_cast(Trial *trial);

ACTIVATE_FUNCTION(activate_former);
ACTIVATE_FUNCTION(activate_former_or_null);
ACTIVATE_FUNCTION(activate_former_misfit);

Node *
former_cast(Node *value, Oid from, Oid type, int32 typmod)
{
	/* a length is met or not: an explicit cast would cut what is longer */
	Node	   *cast = coerce_to_target_type(NULL, value, from, type, typmod, COERCION_ASSIGNMENT, COERCE_EXPLICIT_CAST, -1);

	if (cast == NULL)
		cast = coerce_to_target_type(NULL, value, from, type, typmod, COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);
	if (cast == NULL)
		cast = coerce_to_target_type(NULL, coerce_to_target_type(NULL, value, from, TEXTOID, -1, COERCION_EXPLICIT,
																 COERCE_EXPLICIT_CAST, -1),
									 TEXTOID, type, typmod, COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);
	return cast;
}

/* For this call of a statement: what it casts from and to does not change. */
static Former *
former_of(FunctionCallInfo fcinfo)
{
	Former	   *former = fcinfo->flinfo->fn_extra;
	MemoryContext previous;
	CaseTestExpr *value;

	if (former)
		return former;
	previous = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	former = palloc0(sizeof(Former));
	former->from = get_fn_expr_argtype(fcinfo->flinfo, 0);
	former->to = get_fn_expr_argtype(fcinfo->flinfo, 1);
	if (!OidIsValid(former->from) || !OidIsValid(former->to) || former->from == UNKNOWNOID || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not determine the types of a value that is to be cast")));
	former->typmod = PG_GETARG_INT32(2);

	value = makeNode(CaseTestExpr);
	value->typeId = former->from;
	value->typeMod = -1;
	value->collation = get_typcollation(former->from);
	former->context = CreateStandaloneExprContext();
	former->cast = ExecInitExpr(expression_planner((Expr *) former_cast((Node *) value, former->from, former->to, former->typmod)), NULL);
	MemoryContextSwitchTo(previous);
	fcinfo->flinfo->fn_extra = former;
	return former;
}

static void
trial_work(void *arg)
{
	Trial	   *trial = arg;
	ExprContext *context = trial->former->context;

	context->caseValue_datum = trial->value;
	context->caseValue_isNull = false;
	trial->result = ExecEvalExpr(trial->former->cast, context, &trial->isnull);
}

/* Why it does not fit; NULL: it does.  What is no fault of the value is raised. */
static ErrorData *
try_cast(Trial *trial)
{
	ErrorData  *error = NULL;

	if (fits_surely(trial->former, trial->value))
		trial_work(trial);
	else
		error = attempt(trial_work, trial);
	if (error == NULL)
		return NULL;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_PLPGSQL_ERROR:
			return error;
	}
	ReThrowError(error);
	return NULL;
}

Datum
activate_former(PG_FUNCTION_ARGS)
{
	Trial		trial = {.former = former_of(fcinfo), .value = PG_GETARG_DATUM(0)};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	trial_work(&trial);
	if (trial.isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(trial.result);
}

Datum
activate_former_or_null(PG_FUNCTION_ARGS)
{
	Trial		trial = {.former = former_of(fcinfo), .value = PG_GETARG_DATUM(0)};

	if (PG_ARGISNULL(0) || try_cast(&trial) != NULL || trial.isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(trial.result);
}

/* The value itself is nobody's business who may only see what was rejected. */
Datum
activate_former_misfit(PG_FUNCTION_ARGS)
{
	Trial		trial = {.former = former_of(fcinfo), .value = PG_GETARG_DATUM(0)};
	ErrorData  *error;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(3) || fits_surely(trial.former, trial.value) || (error = try_cast(&trial)) == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s (SQLSTATE %s)", text_to_cstring(PG_GETARG_TEXT_PP(3)),
											  unpack_sql_state(error->sqlerrcode))));
}

/* Only what is told at a glance; of all else the cast itself is asked. */
static bool
fits_surely(const Former *former, Datum value)
{
	bool		integer = former->to == INT2OID || former->to == INT4OID || former->to == INT8OID;
	text	   *string;
	int			length;

	if (integer && former->from == INT8OID)
		return integer_fits(DatumGetInt64(value), former->to);
	if (integer && former->from == INT4OID)
		return integer_fits(DatumGetInt32(value), former->to);
	if (former->from != TEXTOID && former->from != VARCHAROID)
		return false;
	if (!integer && former->to != NUMERICOID && former->to != VARCHAROID)
		return false;
	string = DatumGetTextPP(value);
	length = VARSIZE_ANY_EXHDR(string);
	switch (former->to)
	{
		case INT2OID:
			return digits_fit(VARDATA_ANY(string), length, 4, false);
		case INT4OID:
			return digits_fit(VARDATA_ANY(string), length, 9, false);
		case INT8OID:
			return digits_fit(VARDATA_ANY(string), length, 18, false);
		case NUMERICOID:
			return digits_fit(VARDATA_ANY(string), length, former->typmod < 0 ? 100 : digits_before_point(former->typmod) - 1, true);
		default:
			return former->typmod >= VARHDRSZ && pg_mbstrlen_with_len(VARDATA_ANY(string), length) <= former->typmod - VARHDRSZ;
	}
}

static bool
integer_fits(int64 value, Oid type)
{
	return type == INT8OID || (type == INT4OID && value >= PG_INT32_MIN && value <= PG_INT32_MAX) ||
		(type == INT2OID && value >= PG_INT16_MIN && value <= PG_INT16_MAX);
}

/* What numeric(p, s) has room for; one of them for what is rounded up. */
static int
digits_before_point(int32 typmod)
{
	int32		bits = typmod - VARHDRSZ;

	return ((bits >> 16) & 0xffff) - (((bits & 0x7ff) ^ 1024) - 1024);
}

/* A sign, no more digits than that, and perhaps some behind a point. */
static bool
digits_fit(const char *text, int length, int most, bool point)
{
	int			start = length > 0 && (*text == '-' || *text == '+') ? 1 : 0;
	int			n = 0;

	for (int i = start; i < length; i++)
	{
		if (text[i] == '.' && point && n > 0 && length - i <= 100)
		{
			point = false;
			most += length - i;
		}
		else if (text[i] < '0' || text[i] > '9' || ++n > most)
			return false;
	}
	return n > 0;
}
