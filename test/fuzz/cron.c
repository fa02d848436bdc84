/*
 * cron.c
 *	  Fuzzes schedules and timetables: src/schedule/cron.h.
 *
 * Times that are found are judged by the C library's calendar.
 */
#include "fuzz.h"

#include <time.h>

#include "schedule/cron.h"

#define YEARS(n) ((n) * INT64_C(31556952))

static bool
has(uint64_t bits, int n)
{
	return (bits >> n & 1) != 0;
}

/* The rule of crontab(5), told once more. */
static bool
matches(const Cron *cron, time_t at)
{
	struct tm	tm;
	struct tm	week;
	struct tm	next;
	time_t		then = at + 7 * 86400;
	bool		day;
	bool		weekday;

	gmtime_r(&at, &tm);
	gmtime_r(&then, &week);
	then = at + 86400;
	gmtime_r(&then, &next);
	day = has(cron->day, tm.tm_mday) || (cron->last_day && next.tm_mday == 1);
	weekday = has(cron->weekday, tm.tm_wday) ||
		(has(cron->last_weekday, tm.tm_wday) && week.tm_mon != tm.tm_mon);
	return has(cron->second, tm.tm_sec) && has(cron->minute, tm.tm_min) &&
		has(cron->hour, tm.tm_hour) && has(cron->month, tm.tm_mon + 1) &&
		(cron->any_day || cron->any_weekday ? day && weekday : day || weekday);
}

static void
check_next(const Cron *cron, int64_t from)
{
	int64_t		found;
	int64_t		again;

	if (!cron_next_local(cron, from, from + YEARS(9), &found))
	{
		/* 29 February on one weekday: a promise made when it was declared */
		CHECK(cron_next_local(cron, from, from + YEARS(401), &found));
		return;
	}
	CHECK(found >= from && found < from + YEARS(9));
	CHECK(matches(cron, found));
	CHECK(cron_next_local(cron, found, found + 1, &again) && again == found);
	CHECK(!cron_next_local(cron, from, found, &again));
	for (int64_t between = found - 1, i = 0; between >= from && i < 12; i++)
	{
		CHECK(!matches(cron, between));
		CHECK(cron_next_local(cron, between, found + 1, &again) && again == found);
		between -= INT64_C(1) << 2 * i;
	}
}

static void
check_error(const CronError *error)
{
	CHECK(error->message[0] != '\0');
	for (const char *p = error->message; *p; p++)
		CHECK(*p >= ' ' && *p <= '~');
}

static void
check_timetable(const char *text)
{
	const char *at = text;
	char	   *name = malloc(strlen(text) + 1);
	char	   *schedule = malloc(strlen(text) + 1);
	CronError	error;
	CronStep	step;

	while ((step = cron_next_entry(&at, name, schedule, &error)) == CRON_ITEM)
	{
		CHECK(at > text && at <= text + strlen(text));
		CHECK(strlen(name) + strlen(schedule) < (size_t) (at - text));
	}
	if (step == CRON_BAD)
		check_error(&error);
	free(name);
	free(schedule);
}

static void
check_names(const char *after)
{
	char	   *name = malloc(strlen(after) + 1);
	CronError	error;
	int			n = 0;

	while (cron_next_name(&after, name, &error) == CRON_ITEM)
		n++;
	CHECK(n > 0 && *after == '\0');
	free(name);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* the epoch, a leap day, the end of a year, the last century */
	static const int64_t starts[] = {0, 951782399, 1735689599, -2208988801};
	FuzzInput	input = {(const char *) data, size};
	char	   *text = fuzz_field(&input, true);
	Cron		cron;
	CronError	error;

	check_timetable(text);
	if (!cron_parse(text, &cron, &error))
		check_error(&error);
	else if (cron.kind == CRON_EVERY)
		CHECK(cron.every >= 1 && cron.every <= 10 * 366 * 86400);
	else if (cron.kind == CRON_AFTER)
		check_names(cron.after);
	else if (cron.kind == CRON_FIELDS)
		for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
			check_next(&cron, starts[i]);
	free(text);
	return 0;
}
