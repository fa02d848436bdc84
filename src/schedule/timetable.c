/*
 * timetable.c
 *	  Names in schedules: "after a, b" and "name: schedule; name: schedule".
 *
 * A name is bare (no quote, comma, colon, semicolon; inner spaces count, outer
 * ones do not) or double-quoted, where "" stands for a quote.
 *
 * No postgres.h: see cron.h.
 */
#include "schedule/cron.h"

#include <string.h>

static bool read_name(const char **at, const char *stops, char *name, CronError *error);
static bool read_quoted(const char **at, char *name, CronError *error);
static size_t schedule_length(const char *at);

static void
skip_spaces(const char **at)
{
	while (cron_is_space(**at))
		(*at)++;
}

CronStep
cron_next_name(const char **at, char *name, CronError *error)
{
	skip_spaces(at);
	if (**at == '\0')
		return CRON_END;
	if (!read_name(at, ",;:", name, error))
		return CRON_BAD;
	skip_spaces(at);
	if (**at == ',')
	{
		(*at)++;
		skip_spaces(at);
		if (**at == '\0')
		{
			cron_fail(error, "A name is missing after the comma.", "", 0);
			return CRON_BAD;
		}
	}
	else if (**at != '\0')
	{
		cron_fail(error, "Names after \"after\" are separated by commas, found \"%s\".", *at, strlen(*at));
		return CRON_BAD;
	}
	return CRON_ITEM;
}

CronStep
cron_next_entry(const char **at, char *name, char *schedule, CronError *error)
{
	const char *start;
	size_t		length;

	/* empty entries are harmless: a trailing semicolon is one */
	while (cron_is_space(**at) || **at == ';')
		(*at)++;
	if (**at == '\0')
		return CRON_END;

	start = *at;
	if (!read_name(at, ",;:", name, error))
		return CRON_BAD;
	skip_spaces(at);
	if (**at != ':')
	{
		cron_fail(error, "A colon is missing after the name of the sync in \"%s\".", start, strlen(start));
		return CRON_BAD;
	}
	(*at)++;
	skip_spaces(at);

	length = schedule_length(*at);
	start = *at;
	*at += length;
	while (length > 0 && cron_is_space(start[length - 1]))
		length--;
	if (length == 0)
	{
		cron_fail(error, "A schedule is missing after the colon.", "", 0);
		return CRON_BAD;
	}
	memcpy(schedule, start, length);
	schedule[length] = '\0';
	return CRON_ITEM;
}

/* Up to the semicolon that is not within a quoted name. */
static size_t
schedule_length(const char *at)
{
	bool		quoted = false;
	size_t		n = 0;

	for (; at[n] != '\0'; n++)
	{
		if (at[n] == '"')
			quoted = !quoted;
		else if (at[n] == ';' && !quoted)
			break;
	}
	return n;
}

/* name NULL: only walked over. */
static bool
read_name(const char **at, const char *stops, char *name, CronError *error)
{
	const char *start;
	size_t		length;

	if (**at == '"')
		return read_quoted(at, name, error);

	start = *at;
	while (**at != '\0' && **at != '"' && strchr(stops, **at) == NULL)
		(*at)++;
	length = (size_t) (*at - start);
	while (length > 0 && cron_is_space(start[length - 1]))
		length--;
	if (**at == '"')
		return cron_fail(error, "A quote within a bare name: \"%s\".", start, strlen(start));
	if (length == 0)
		return cron_fail(error, "The name of a sync is missing before \"%s\".", start, strlen(start));
	if (name != NULL)
	{
		memcpy(name, start, length);
		name[length] = '\0';
	}
	return true;
}

static bool
read_quoted(const char **at, char *name, CronError *error)
{
	const char *start = *at;
	size_t		length = 0;

	for ((*at)++; **at != '\0'; (*at)++)
	{
		if (**at == '"' && *++(*at) != '"')
		{
			if (length == 0)
				return cron_fail(error, "A quoted name is empty.", "", 0);
			if (name != NULL)
				name[length] = '\0';
			return true;
		}
		if (name != NULL)
			name[length] = **at;
		length++;
	}
	return cron_fail(error, "The quoted name is not closed: \"%s\".", start, strlen(start));
}
