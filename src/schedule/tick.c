/*
 * tick.c
 *	  From local times that match a schedule to instants, DST-correct.
 *
 * A zone is a row of segments of constant offset; within one, local times and
 * instants correspond one to one.  Where the clock changes, the rule is that
 * of Vixie cron (cron(8), "daylight saving time"; its source tells "wildcard"
 * from "fixed-time" jobs):
 *
 * - fixed times: a local time that the clock jumps over comes once, right
 *   after the gap; a local time that the clock repeats comes the first time
 *   only;
 * - an hour field that begins with "*" means every so often in real time:
 *   nothing is made up for in a gap, and a repeated hour has its ticks again.
 *
 * Vixie cron looks at the minute field too; we do not: a job for the minutes
 * of one hour of the night is one that a person wants to run that night.
 */
#include "postgres.h"

#include "schedule/settings.h"
#include "schedule/tick.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/* 29 February on a given weekday, across a year like 2100, comes within 40 years. */
#define TICK_HORIZON	(INT64CONST(50) * 366 * SECS_PER_DAY)

/* Longer than any change of a clock (a day, where the date line was moved). */
#define TICK_LOOK_BACK	(INT64CONST(2) * SECS_PER_DAY)

static bool tick_next_field(const Cron *cron, pg_time_t start, pg_tz *zone, pg_time_t *found);
static pg_time_t tick_segment_end(pg_time_t from, pg_time_t horizon, pg_tz *zone, int64 *offset);

pg_tz *
tick_zone(const char *name)
{
	pg_tz	   *zone = pg_tzset(name);

	return zone != NULL && pg_tz_acceptable(zone) ? zone : NULL;
}

pg_tz *
tick_default_zone(void)
{
	pg_tz	   *zone = NULL;

	if (schedule_timezone[0] != '\0')
		zone = tick_zone(schedule_timezone);
	if (zone == NULL)
		zone = tick_zone(GetConfigOptionResetString("TimeZone"));
	return zone != NULL ? zone : session_timezone;
}

void
tick_parse(const char *text, Cron *cron)
{
	CronError	error;

	if (!cron_parse(text, cron, &error))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid schedule \"%s\"", text),
				 errdetail("%s", error.message),
				 errhint("%s", cron_grammar)));
}

bool
tick_next(const Cron *cron, TimestampTz after, pg_tz *zone, TimestampTz *next)
{
	pg_time_t	found;

	if (TIMESTAMP_NOT_FINITE(after))
		return false;
	switch (cron->kind)
	{
		case CRON_REBOOT:
		case CRON_AFTER:
			return false;
		case CRON_EVERY:
			*next = after + cron->every * USECS_PER_SEC;
			return IS_VALID_TIMESTAMP(*next);
		case CRON_FIELDS:
			break;
	}
	if (!tick_next_field(cron, timestamptz_to_time_t(after) + (after < 0 ? 0 : 1), zone, &found))
		return false;
	*next = time_t_to_timestamptz(found);
	while (*next <= after)		/* timestamptz_to_time_t() rounds towards 2000-01-01 */
	{
		if (!tick_next_field(cron, found + 1, zone, &found))
			return false;
		*next = time_t_to_timestamptz(found);
	}
	return IS_VALID_TIMESTAMP(*next);
}

/* The first instant from start on that ticks. */
static bool
tick_next_field(const Cron *cron, pg_time_t start, pg_tz *zone, pg_time_t *found)
{
	pg_time_t	horizon = start + TICK_HORIZON;
	pg_time_t	begin = start - TICK_LOOK_BACK;
	int64		shown = PG_INT64_MIN;	/* the local clock has shown all before this */

	while (begin < horizon)
	{
		int64		offset;
		pg_time_t	end = tick_segment_end(begin, horizon, zone, &offset);
		int64		from = Max(begin, start) + offset;
		int64		local;

		if (!cron->any_hour)
		{
			bool		gap = shown != PG_INT64_MIN && shown < begin + offset;

			if (gap && begin >= start && cron_next_local(cron, shown, begin + offset, &local))
			{
				*found = begin;
				return true;
			}
			from = Max(from, shown);
		}
		if (cron_next_local(cron, from, end + offset, &local))
		{
			*found = local - offset;
			return true;
		}
		shown = Max(shown, end + offset);
		begin = end;
	}
	return false;
}

/* Until when the offset of an instant holds. */
static pg_time_t
tick_segment_end(pg_time_t from, pg_time_t horizon, pg_tz *zone, int64 *offset)
{
	long int	before;
	long int	after;
	int			before_dst;
	int			after_dst;
	pg_time_t	boundary;
	int			result = pg_next_dst_boundary(&from, &before, &before_dst, &boundary,
											  &after, &after_dst, zone);

	/* out of the range of the library's calendar: as good as UTC */
	*offset = result >= 0 ? before : 0;
	return result > 0 ? Min(boundary, horizon) : horizon;
}
