/*
 * follow.c
 *	  ALTER DATABASE and ALTER ROLE ... SET, seen by processes that stay.
 *
 * Sessions read pg_db_role_setting once, when they start.  Our workers live
 * for months, so they compare its rows once a second: at most four index
 * probes.  What was added or changed is applied as a session would have done
 * at its start.  What was taken back cannot be: the value underneath, from the
 * configuration file, is not kept by GUC.  Then the process has to end.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_db_role_setting.h"
#include "miscadmin.h"
#include "schedule/schedule.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* In the order in which InitPostgres() applies them; the first one wins. */
#define FOLLOW_ROWS 4

/* Each row's items as last seen, in TopMemoryContext; NULL before the first look. */
static char *seen[FOLLOW_ROWS];

static void follow_read(char **lines);
static char *follow_array_lines(ArrayType *array);
static bool follow_lost_name(const char *before, const char *now);
static void follow_apply(void);

static void
follow_row(int n, Oid *database, Oid *role, GucSource *source)
{
	static const GucSource sources[FOLLOW_ROWS] = {
		PGC_S_DATABASE_USER, PGC_S_USER, PGC_S_DATABASE, PGC_S_GLOBAL
	};

	*database = n == 0 || n == 2 ? MyDatabaseId : InvalidOid;
	*role = n < 2 ? GetSessionUserId() : InvalidOid;
	*source = sources[n];
}

ScheduleSettings
schedule_follow_settings(void)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *now[FOLLOW_ROWS];
	bool		first = seen[0] == NULL;
	bool		changed = false;
	bool		lost = false;

	StartTransactionCommand();
	follow_read(now);
	for (int i = 0; i < FOLLOW_ROWS; i++)
	{
		if (seen[i] != NULL && strcmp(now[i], seen[i]) == 0)
			continue;
		if (seen[i] != NULL)
		{
			changed = true;
			lost = lost || follow_lost_name(seen[i], now[i]);
			pfree(seen[i]);
		}
		seen[i] = MemoryContextStrdup(TopMemoryContext, now[i]);
	}

	/*
	 * What was changed between the start of this process and its first look
	 * is applied, too: doing so again is harmless.
	 */
	if (!lost && (changed || first))
		follow_apply();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);

	if (lost)
		return SCHEDULE_SETTINGS_RESET;
	return changed ? SCHEDULE_SETTINGS_CHANGED : SCHEDULE_SETTINGS_SAME;
}

static void
follow_read(char **lines)
{
	Relation	rel = table_open(DbRoleSettingRelationId, AccessShareLock);

	for (int i = 0; i < FOLLOW_ROWS; i++)
	{
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple	tuple;
		Oid			database;
		Oid			role;
		GucSource	source;

		follow_row(i, &database, &role, &source);
		ScanKeyInit(&key[0], Anum_pg_db_role_setting_setdatabase,
					BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(database));
		ScanKeyInit(&key[1], Anum_pg_db_role_setting_setrole,
					BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
		scan = systable_beginscan(rel, DbRoleSettingDatidRolidIndexId, true, NULL, 2, key);
		tuple = systable_getnext(scan);
		lines[i] = "";
		if (HeapTupleIsValid(tuple))
		{
			bool		isnull;
			Datum		config = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
											  RelationGetDescr(rel), &isnull);

			if (!isnull)
				lines[i] = follow_array_lines(DatumGetArrayTypeP(config));
		}
		systable_endscan(scan);
	}
	table_close(rel, AccessShareLock);
}

/* Only what a process of ours obeys: our settings, and the zone. */
static char *
follow_array_lines(ArrayType *array)
{
	StringInfoData lines;
	Datum	   *items;
	int			n;

	initStringInfo(&lines);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *item = TextDatumGetCString(items[i]);

		/* a value may contain a newline: 0x01 parts the items instead */
		if (pg_strncasecmp(item, "activate.", 9) == 0 || pg_strncasecmp(item, "timezone=", 9) == 0)
			appendStringInfo(&lines, "%s\001", item);
	}
	return lines.data;
}

/* Is there a name before that is not there now? */
static bool
follow_lost_name(const char *before, const char *now)
{
	while (*before != '\0')
	{
		size_t		name = strcspn(before, "=") + 1;
		bool		found = false;

		for (const char *at = now; *at != '\0' && !found; at += strcspn(at, "\001") + 1)
			found = pg_strncasecmp(at, before, name) == 0;
		if (!found)
			return true;
		before += strcspn(before, "\001") + 1;
	}
	return false;
}

static void
follow_apply(void)
{
	Relation	rel = table_open(DbRoleSettingRelationId, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetCatalogSnapshot(DbRoleSettingRelationId));

	for (int i = 0; i < FOLLOW_ROWS; i++)
	{
		Oid			database;
		Oid			role;
		GucSource	source;

		follow_row(i, &database, &role, &source);
		ApplySetting(snapshot, database, role, rel, source);
	}
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}
