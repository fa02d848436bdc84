/*
 * settings.c
 *	  The settings that the scheduler obeys, and their checks.
 *
 * All are PGC_SUSET, so that ALTER DATABASE and ALTER ROLE ... SET work.  The
 * check of activate.schedule looks at the grammar always, and at the names of
 * the syncs when a statement sets it in a database that has the extension: an
 * unknown name there is a WARNING, because the declaration may come later.
 */
#include "postgres.h"

#include <limits.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/identity.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "schedule/schedule.h"
#include "schedule/settings.h"
#include "schedule/tick.h"
#include "utils/builtins.h"
#include "utils/guc.h"

char	   *schedule_timetable = NULL;
char	   *schedule_timezone = NULL;
int			schedule_runners = 2;
int			schedule_deliverers = 1;

/* Read by name, by the housekeeping of room observe. */
static int	receipt_retention = 7 * SECS_PER_DAY;
static int	run_retention = 30 * SECS_PER_DAY;

static bool check_timetable(char **newval, void **extra, GucSource source);
static bool check_timezone(char **newval, void **extra, GucSource source);
static void warn_unknown_names(const char *text);

void
schedule_guc_init(void)
{
	DefineCustomIntVariable("activate.deliverers",
							"Background workers per database that send what is in the outbox.",
							NULL,
							&schedule_deliverers, 1, 1, SHARED_DELIVERERS,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("activate.receipt_retention",
							"How long receipts are kept.",
							NULL,
							&receipt_retention, 7 * SECS_PER_DAY, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("activate.run_retention",
							"How long the history of runs is kept.",
							NULL,
							&run_retention, 30 * SECS_PER_DAY, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("activate.runners",
							"Scheduled runs of a database that may go on at the same time.",
							NULL,
							&schedule_runners, 2, 1, 64,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("activate.schedule",
							   "Timetable of syncs: \"name: schedule; name: schedule\".",
							   "Overrules the schedule of a sync; \"off\" stops it.",
							   &schedule_timetable, "",
							   PGC_SUSET, 0, check_timetable, NULL, NULL);
	DefineCustomStringVariable("activate.timezone",
							   "Time zone of schedules; empty: the server's TimeZone.",
							   NULL,
							   &schedule_timezone, "",
							   PGC_SUSET, 0, check_timezone, NULL, NULL);
}

static bool
check_timezone(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0' || tick_zone(*newval) != NULL)
		return true;
	GUC_check_errdetail("There is no time zone \"%s\", or it counts leap seconds.", *newval);
	GUC_check_errhint("Valid names are in pg_timezone_names, as Europe/Berlin; "
					  "an empty value means the server's TimeZone.");
	return false;
}

static bool
check_timetable(char **newval, void **extra, GucSource source)
{
	CronError	error;
	List	   *entries;

	if (!settings_read_timetable(*newval, &entries, &error))
	{
		GUC_check_errdetail("%s", error.message);
		GUC_check_errhint("Write \"name: schedule; name: schedule\"; a name may be double-quoted, "
						  "a schedule may be off. Schedules: %s", cron_grammar);
		return false;
	}

	/* TEST is ALTER DATABASE or ALTER ROLE ... SET */
	if (entries != NIL &&
		(source == PGC_S_SESSION || source == PGC_S_TEST) &&
		!InitializingParallelWorker && IsTransactionState() && OidIsValid(MyDatabaseId) &&
		OidIsValid(identity_extension()))
		warn_unknown_names(*newval);
	return true;
}

bool
settings_read_timetable(const char *text, List **entries, CronError *error)
{
	const char *at = text;
	char	   *name = palloc(strlen(text) + 1);
	char	   *schedule = palloc(strlen(text) + 1);
	Cron		cron;
	CronStep	step;

	*entries = NIL;
	while ((step = cron_next_entry(&at, name, schedule, error)) == CRON_ITEM)
	{
		TimetableEntry *entry;
		ListCell   *lc;

		if (pg_strcasecmp(schedule, "off") != 0 && !cron_parse(schedule, &cron, error))
			return false;
		foreach(lc, *entries)
			if (strcmp(((TimetableEntry *) lfirst(lc))->name, name) == 0)
				return cron_fail(error, "The sync \"%s\" is named twice.", name, strlen(name));
		entry = palloc(sizeof(TimetableEntry));
		entry->name = pstrdup(name);
		entry->schedule = pstrdup(schedule);
		*entries = lappend(*entries, entry);
	}
	pfree(name);
	pfree(schedule);
	return step == CRON_END;
}

static void
warn_unknown_names(const char *text)
{
	IdentityScope scope;
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(text)};

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	identity_enter_extension(&scope);
	if (SPI_execute_with_args("SELECT n FROM activate._schedule_unknown($1) n",
							  1, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look up the syncs of a timetable");
	for (uint64 i = 0; i < SPI_processed; i++)
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("activate.schedule names the sync \"%s\", which does not exist in this database",
						SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1)),
				 errhint("It takes effect once activate_sync() declares it.")));
	identity_leave(&scope);
	SPI_finish();
}
