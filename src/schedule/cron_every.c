/*
 * cron_every.c
 *	  The interval of "@every": "30s", "1h 30min", "2 days", "00:05:00".
 *
 * A day is 24 hours and a week seven of them, whatever the clock does.
 *
 * No postgres.h: see cron.h.
 */
#include "schedule/cron.h"

#include <string.h>
#include <strings.h>

#define EVERY_MAX	(INT64_C(10) * 366 * 86400)

static int64_t unit_seconds(const char *unit, size_t length);
static bool parse_clock(const char **at, int64_t hours, int64_t *seconds);
static bool read_number(const char **at, int64_t *number);

bool
cron_parse_every(const char *at, int64_t *seconds, CronError *error)
{
	int64_t		total = 0;
	bool		any = false;

	for (;;)
	{
		const char *start;
		int64_t		number;
		int64_t		part;

		while (cron_is_space(*at))
			at++;
		start = at;
		if (*at == '\0')
			break;
		if (!read_number(&at, &number))
			return cron_fail(error, "\"@every\" needs numbers with units, not \"%s\".", start, strlen(start));
		if (*at == ':')
		{
			if (!parse_clock(&at, number, &part))
				return cron_fail(error, "\"@every\" needs hh:mm or hh:mm:ss, not \"%s\".", start, strlen(start));
		}
		else
		{
			const char *unit;

			while (cron_is_space(*at))
				at++;
			unit = at;
			while ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z'))
				at++;
			part = number * unit_seconds(unit, (size_t) (at - unit));
			if (unit_seconds(unit, (size_t) (at - unit)) == 0)
				return cron_fail(error, "\"@every\" needs one of the units s, min, h, d, w after the number, not \"%s\".",
								 unit, strlen(unit));
		}
		any = true;
		total += part;
		if (total > EVERY_MAX)
			return cron_fail(error, "The interval of \"@every\" is longer than ten years.", "", 0);
	}
	if (!any)
		return cron_fail(error, "\"@every\" needs an interval.", "", 0);
	if (total < 1)
		return cron_fail(error, "The interval of \"@every\" must be at least one second.", "", 0);
	*seconds = total;
	return true;
}

/* Seconds of one unit, 0 if there is no such unit. */
static int64_t
unit_seconds(const char *unit, size_t length)
{
	static const struct
	{
		const char *name;
		int64_t		seconds;
	}			units[] = {
		{"s", 1}, {"sec", 1}, {"secs", 1}, {"second", 1}, {"seconds", 1},
		{"m", 60}, {"min", 60}, {"mins", 60}, {"minute", 60}, {"minutes", 60},
		{"h", 3600}, {"hour", 3600}, {"hours", 3600},
		{"d", 86400}, {"day", 86400}, {"days", 86400},
		{"w", 604800}, {"week", 604800}, {"weeks", 604800},
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strlen(units[i].name) == length && strncasecmp(unit, units[i].name, length) == 0)
			return units[i].seconds;
	return 0;
}

/* The rest of hh:mm or hh:mm:ss, from the first colon. */
static bool
parse_clock(const char **at, int64_t hours, int64_t *seconds)
{
	int64_t		unit = 3600;

	*seconds = hours * unit;
	while (**at == ':' && unit > 1)
	{
		int64_t		number;

		(*at)++;
		unit /= 60;
		if (!read_number(at, &number) || number > 59)
			return false;
		*seconds += number * unit;
	}
	return **at == '\0' || cron_is_space(**at);
}

/* At most nine digits: no sum of a few such numbers overflows. */
static bool
read_number(const char **at, int64_t *number)
{
	const char *start = *at;

	*number = 0;
	while (cron_is_digit(**at) && *at - start < 9)
		*number = *number * 10 + (*(*at)++ - '0');
	return *at > start && !cron_is_digit(**at);
}
