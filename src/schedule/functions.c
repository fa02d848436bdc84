/*
 * functions.c
 *	  The grammar of schedules as SQL functions: checks, ticks, the timetable.
 */
#include "postgres.h"

#include "core/compat.h"
#include "funcapi.h"
#include "schedule/settings.h"
#include "schedule/tick.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

ACTIVATE_FUNCTION(schedule_check);
ACTIVATE_FUNCTION(schedule_next_tick);
ACTIVATE_FUNCTION(schedule_read_timetable);
ACTIVATE_FUNCTION(schedule_after_names);

/* activate._check_schedule(schedule text) */
Datum
schedule_check(PG_FUNCTION_ARGS)
{
	Cron		cron;

	tick_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), &cron);
	PG_RETURN_VOID();
}

/* activate._next_tick(schedule text, after timestamptz, zone text) */
Datum
schedule_next_tick(PG_FUNCTION_ARGS)
{
	Cron		cron;
	TimestampTz next;
	pg_tz	   *zone;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	tick_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), &cron);
	if (PG_ARGISNULL(2))
		zone = tick_default_zone();
	else
	{
		char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(2));

		zone = tick_zone(name);
		if (zone == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("time zone \"%s\" not recognized", name),
					 errhint("Valid names are in pg_timezone_names, as Europe/Berlin.")));
	}
	if (!tick_next(&cron, PG_GETARG_TIMESTAMPTZ(1), zone, &next))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}

/* activate._timetable(setting text) RETURNS TABLE (name text, schedule text) */
Datum
schedule_read_timetable(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *entries;
	ListCell   *lc;
	CronError	error;

	if (!settings_read_timetable(text_to_cstring(PG_GETARG_TEXT_PP(0)), &entries, &error))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid timetable"),
				 errdetail("%s", error.message),
				 errhint("Write \"name: schedule; name: schedule\".")));

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, entries)
	{
		TimetableEntry *entry = lfirst(lc);
		Datum		values[2] = {CStringGetTextDatum(entry->name), CStringGetTextDatum(entry->schedule)};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* activate._after_names(schedule text) RETURNS SETOF text */
Datum
schedule_after_names(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *schedule = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *name = palloc(strlen(schedule) + 1);
	CronError	error;
	Cron		cron;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (cron_parse(schedule, &cron, &error) && cron.kind == CRON_AFTER)
		while (cron_next_name(&cron.after, name, &error) == CRON_ITEM)
		{
			Datum		value = CStringGetTextDatum(name);
			bool		isnull = false;

			tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
		}
	return (Datum) 0;
}
