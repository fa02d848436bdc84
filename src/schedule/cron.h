/*
 * cron.h
 *	  The grammar of schedules, and the calendar arithmetic of its fields.
 *
 * Plain C, no postgres.h: nothing here allocates, throws or knows of time
 * zones, so it can be fuzzed by itself.  Times are seconds since 1970-01-01
 * 00:00:00 of the local clock; tick.c maps them to instants.
 */
#ifndef ACTIVATE_CRON_H
#define ACTIVATE_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum CronKind
{
	CRON_FIELDS,				/* five or six fields, @hourly ... @yearly */
	CRON_EVERY,					/* @every interval */
	CRON_REBOOT,				/* @reboot */
	CRON_AFTER					/* after a, b */
} CronKind;

typedef struct Cron
{
	CronKind	kind;
	/* CRON_FIELDS: bit n is value n */
	uint64_t	second;
	uint64_t	minute;
	uint64_t	hour;
	uint64_t	day;			/* 1 .. 31 */
	uint64_t	month;			/* 1 .. 12 */
	uint64_t	weekday;		/* 0 .. 6, Sunday is 0 */
	uint64_t	last_weekday;	/* the last such weekday of the month */
	bool		last_day;		/* the last day of the month */
	bool		any_day;		/* field begins with "*": see cron_next.c */
	bool		any_weekday;
	bool		any_hour;
	int64_t		every;			/* CRON_EVERY: seconds, at least 1 */
	const char *after;			/* CRON_AFTER: the names, in the text parsed */
} Cron;

/* What is wrong, one sentence in ASCII. */
typedef struct CronError
{
	char		message[200];
} CronError;

/* What may stand in a schedule, for hints. */
extern const char *const cron_grammar;

/* False: error is filled.  cron->after points into text. */
extern bool cron_parse(const char *text, Cron *cron, CronError *error);

/*
 * The first matching local time at or after from and before limit, for
 * CRON_FIELDS.
 */
extern bool cron_next_local(const Cron *cron, int64_t from, int64_t limit, int64_t *found);

/* Is there a day that matches at all?  "0 0 30 2 *" has none. */
extern bool cron_has_day(const Cron *cron);

typedef enum CronStep
{
	CRON_ITEM,
	CRON_END,
	CRON_BAD					/* error is filled */
} CronStep;

/*
 * The next of the names after "after"; a name may be double-quoted.  name
 * must have room for strlen(*at) + 1 bytes.
 */
extern CronStep cron_next_name(const char **at, char *name, CronError *error);

/*
 * The next entry of a timetable "name: schedule; name: schedule".  The
 * schedule is trimmed, not checked; it may be "off".  Both buffers must have
 * room for strlen(*at) + 1 bytes.
 */
extern CronStep cron_next_entry(const char **at, char *name, char *schedule, CronError *error);

/* Shared by the files of this grammar: "%s" becomes text, shortened, in ASCII. */
extern bool cron_fail(CronError *error, const char *format, const char *text, size_t length);
extern bool cron_is_space(char c);
extern bool cron_is_digit(char c);

/* The interval after "@every", at least one second and at most ten years. */
extern bool cron_parse_every(const char *at, int64_t *seconds, CronError *error);

#endif							/* ACTIVATE_CRON_H */
