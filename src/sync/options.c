/*
 * options.c
 *	  The options of a sync (SEMANTICS 19), checked when it is declared.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/own.h"
#include "quota/quota.h"
#include "sync/declare.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

typedef enum OptionKind
{
	OPTION_TEXT,
	OPTION_INTERVAL,
	OPTION_COUNT,				/* integer from 1 */
	OPTION_NUMBER,				/* integer from 0 */
	OPTION_PERCENT,				/* integer 0..100 */
	OPTION_BOOLEAN,
	OPTION_AFTER,
	OPTION_MATERIALIZED,
	OPTION_PRIORITY,
	OPTION_DRIFT,
	OPTION_SWEEP,
	OPTION_CONFLICT,
	OPTION_NEWEST,
	OPTION_WATCH
} OptionKind;

static const struct
{
	const char *name;
	OptionKind	kind;
}			options[] =
{
	{"after", OPTION_AFTER},
	{"backfill", OPTION_BOOLEAN},
	{"batch", OPTION_COUNT},
	{"conflict", OPTION_CONFLICT},
	{"cursor", OPTION_TEXT},
	{"deleted", OPTION_TEXT},
	{"history", OPTION_BOOLEAN},
	{"image", OPTION_BOOLEAN},
	{"lag", OPTION_INTERVAL},
	{"materialized", OPTION_MATERIALIZED},
	{"max_delete_percent", OPTION_PERCENT},
	{"min_deletes", OPTION_NUMBER},
	{"newest", OPTION_NEWEST},
	{"on_drift", OPTION_DRIFT},
	{"priority", OPTION_PRIORITY},
	{"sweep", OPTION_SWEEP},
	{"undo", OPTION_BOOLEAN},
	{"watch", OPTION_WATCH},
	{"where", OPTION_TEXT},
};

static void check_option(const char *name, OptionKind kind, const JsonbValue *value);
static void check_undo(const Declaration *declaration);
static void refuse_unknown(const char *name);

void
declare_check_options(const Declaration *declaration)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;
	int			known = 0;

	if (!JB_ROOT_IS_OBJECT(declaration->options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options of a sync must be a JSON object"),
				 errhint("For example '{\"batch\": 100}'.")));

	iterator = JsonbIteratorInit(&declaration->options->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			name = pnstrdup(value.val.string.val, value.val.string.len);
			for (known = 0; known < lengthof(options); known++)
				if (strcmp(options[known].name, name) == 0)
					break;
			if (known == lengthof(options))
				refuse_unknown(name);
		}
		else if (token == WJB_VALUE)
			check_option(name, options[known].kind, &value);
	}

	if (declaration->capture == CAPTURE_CURSOR && declare_option(declaration, "cursor") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("capture \"cursor\" needs to know the column to read on from"),
				 errhint("Name it: options => '{\"cursor\": \"updated_at\"}'.")));
	if (declare_option(declaration, "lag") && declaration->capture != CAPTURE_CURSOR)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"lag\" means nothing without capture \"cursor\"")));
	if (declare_option(declaration, "sweep") && (declaration->capture != CAPTURE_CURSOR || declaration->mode != SYNC_MIRROR))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"sweep\" means nothing but in mode \"mirror\" with capture \"cursor\""),
				 errhint("Other captures see what is gone at each run; other modes keep it.")));
	check_undo(declaration);
}

/* Only who asks for it is told that there is none. */
static void
check_undo(const Declaration *declaration)
{
	Sync		sync = {.kind = SYNC_TO_API, .mode = declaration->mode, .options = declaration->options};

	if (sync_option_bool(&sync, "undo", false) && !sync_keeps_undo(&sync))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"undo\" of a sync needs images of what was sent"),
				 errhint("There are none in mode \"append\", or where option \"image\" is false.")));
}

/* A checked option as text, NULL if not given. */
char *
declare_option(const Declaration *declaration, const char *name)
{
	Sync		sync = {.options = declaration->options};

	return sync_option_text(&sync, name);
}

static void
refuse_unknown(const char *name)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(options); i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", options[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\" of a sync", name),
			 errhint("Valid options are: %s.", names.data)));
}

static void
refuse_value(const char *name, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value of option \"%s\" of a sync", name),
			 errhint("It must be %s.", wanted)));
}

static void
check_number(const char *name, const JsonbValue *value, int low, int high, const char *wanted)
{
	Datum		number;

	if (value->type != jbvNumeric)
		refuse_value(name, wanted);
	number = NumericGetDatum(value->val.numeric);
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, number,
										 DirectFunctionCall1(int4_numeric, Int32GetDatum(low)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, number,
										 DirectFunctionCall1(int4_numeric, Int32GetDatum(high)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_ne, number,
										 DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0)))))
		refuse_value(name, wanted);
}

/* A text that is none has an error of its own, which says what is wrong with it. */
static void
check_interval(const char *name, const char *text)
{
	static const char wanted[] = "an interval of zero or more, for example \"5 minutes\"";
	Interval	zero = {0};
	Datum		interval;

	if (text == NULL)
		refuse_value(name, wanted);
	interval = DirectFunctionCall3(interval_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	if (DatumGetBool(DirectFunctionCall2(interval_lt, interval, PointerGetDatum(&zero))))
		refuse_value(name, wanted);
}

/* How often: an interval, or a cron expression, whose grammar is that of schedules. */
static void
check_sweep(const char *name, const char *text)
{
	Oid			type = TEXTOID;
	Datum		value;

	if (text == NULL || strcmp(text, "@reboot") == 0)
		refuse_value(name, "an interval, or a cron expression, for example \"1 day\" or \"0 3 * * *\"");
	value = CStringGetTextDatum(text);
	if (own_int64("SELECT activate._sweep_is_cron($1)::int::bigint", 1, &type, &value) != 0)
		(void) own_value("SELECT activate._check_schedule($1)", 1, &type, &value, NULL, NULL);
	else
		check_interval(name, text);
}

static void
check_option(const char *name, OptionKind kind, const JsonbValue *value)
{
	char	   *text = value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;

	switch (kind)
	{
		case OPTION_TEXT:
			if (text == NULL || text[0] == '\0')
				refuse_value(name, "a text");
			break;
		case OPTION_INTERVAL:
			check_interval(name, text);
			break;
		case OPTION_COUNT:
			check_number(name, value, 1, 1000000, "a whole number from 1 to 1000000");
			break;
		case OPTION_NUMBER:
			check_number(name, value, 0, PG_INT32_MAX, "a whole number");
			break;
		case OPTION_PERCENT:
			check_number(name, value, 0, 100, "a whole number from 0 to 100");
			break;
		case OPTION_BOOLEAN:
			if (value->type != jbvBool)
				refuse_value(name, "true or false");
			break;
		case OPTION_AFTER:
			if (text == NULL || (strcmp(text, "delivered") != 0 && strcmp(text, "succeeded") != 0))
				refuse_value(name, "\"succeeded\" or \"delivered\"");
			break;
		case OPTION_MATERIALIZED:
			if (text == NULL || (strcmp(text, "table") != 0 && strcmp(text, "view") != 0 && strcmp(text, "incremental") != 0))
				refuse_value(name, "\"table\", \"view\" or \"incremental\"");
			break;
		case OPTION_PRIORITY:
			if (text == NULL || quota_class_named(text) == QUOTA_CLASSES)
				refuse_value(name, "\"interactive\", \"normal\" or \"backfill\"");
			break;
		case OPTION_DRIFT:
			if (text == NULL || (strcmp(text, "propose") != 0 && strcmp(text, "evolve") != 0 &&
								 strcmp(text, "freeze") != 0 && strcmp(text, "discard") != 0))
				refuse_value(name, "\"propose\", \"evolve\", \"freeze\" or \"discard\"");
			break;
		case OPTION_SWEEP:
			check_sweep(name, text);
			break;
		case OPTION_CONFLICT:
			if (!declare_is_conflict(value))
				refuse_value(name, "\"warehouse\", \"application\" or \"newest\", or an object that says it by column, with \"*\" for all others and \"ignore\" for those that are not compared");
			break;
		case OPTION_NEWEST:
			if (!declare_is_newest(value))
				refuse_value(name, "the name of a column of both sides, or {\"warehouse\": source column, \"application\": target column}");
			break;
		case OPTION_WATCH:
			if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data) ||
				JsonContainerSize(value->val.binary.data) == 0)
				refuse_value(name, "an object of tables, each with its columns that hold the key, for example {\"sales.orders\": \"customer_id\"}");
			break;
	}
}
