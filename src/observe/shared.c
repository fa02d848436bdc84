/*
 * shared.c
 *	  What lives in shared memory as rows: running runs and targets of this
 *	  database, those that the current user may watch.
 *
 * The views call these as whoever looks, so PUBLIC may execute them, and they
 * check for themselves.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/sync.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/shared.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "quota/quota.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

ACTIVATE_FUNCTION(activate_shared_runs);
ACTIVATE_FUNCTION(activate_shared_targets);

static bool
watches_all(void)
{
	Oid			admin = get_role_oid("activate_admin", true);

	return has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) ||
		(OidIsValid(admin) && has_privs_of_role(GetUserId(), admin));
}

static bool
may_watch_run(const SharedRun *run)
{
	Sync	   *sync = sync_load(run->sync, CurrentMemoryContext);

	return watches_all() ||
		(sync && OidIsValid(sync->owner) && has_privs_of_role(GetUserId(), sync->owner));
}

static bool
may_watch_target(const SharedTarget *target)
{
	return watches_all() ||
		(GetForeignServerExtended(target->server, FSV_MISSING_OK) &&
		 compat_server_aclcheck(target->server, GetUserId(), ACL_USAGE) == ACLCHECK_OK);
}

static void
put_run(ReturnSetInfo *result, const SharedRun *run)
{
	Datum		values[9];
	bool		nulls[9] = {false};

	values[0] = Int64GetDatum(run->run);
	values[1] = Int64GetDatum(run->sync);
	values[2] = Int32GetDatum(run->pid);
	values[3] = TimestampTzGetDatum(run->started_at);
	values[4] = CStringGetTextDatum(run->phase);
	values[5] = Int64GetDatum(run->rows_read);
	values[6] = Int64GetDatum(run->rows_written);
	values[7] = Int64GetDatum(run->rows_expected);
	nulls[7] = run->rows_expected < 0;
	values[8] = Int64GetDatum(run->bytes_read);
	nulls[8] = run->bytes_read < 0;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
put_target(ReturnSetInfo *result, const SharedTarget *target)
{
	QuotaAccount account = {target->server, target->userid};
	int64		left = quota_left(account, clock_now());
	Datum		values[10];
	bool		nulls[10] = {false};

	values[0] = ObjectIdGetDatum(target->server);
	values[1] = ObjectIdGetDatum(target->userid);
	values[2] = CStringGetTextDatum(shared_target_state_name(target->state));
	values[3] = TimestampTzGetDatum(target->since);
	nulls[3] = target->since == 0;
	values[4] = TimestampTzGetDatum(target->next_probe);
	nulls[4] = target->next_probe == 0;
	values[5] = Int32GetDatum(target->in_flight);
	values[6] = Int64GetDatum(target->requests);
	values[7] = Int64GetDatum(target->failures);
	values[8] = Int64GetDatum(left);
	nulls[8] = left < 0;
	values[9] = CStringGetTextDatum(target->reason);
	nulls[9] = target->reason[0] == '\0';
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * Slots are copied one by one under the lock, and become rows outside it:
 * nothing that may fail happens while others wait.
 */
Datum
activate_shared_runs(PG_FUNCTION_ARGS)
{
	SharedMemory *shared = shared_memory();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; shared && i < SHARED_RUNS; i++)
	{
		SharedRun	run;

		LWLockAcquire(shared->lock, LW_SHARED);
		run = shared->run[i];
		LWLockRelease(shared->lock);
		if (run.run != 0 && run.dboid == MyDatabaseId && may_watch_run(&run))
			put_run((ReturnSetInfo *) fcinfo->resultinfo, &run);
	}
	return (Datum) 0;
}

Datum
activate_shared_targets(PG_FUNCTION_ARGS)
{
	SharedMemory *shared = shared_memory();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; shared && i < SHARED_TARGETS; i++)
	{
		SharedTarget target;

		LWLockAcquire(shared->lock, LW_SHARED);
		target = shared->target[i];
		LWLockRelease(shared->lock);
		if (OidIsValid(target.server) && target.dboid == MyDatabaseId && may_watch_target(&target))
			put_target((ReturnSetInfo *) fcinfo->resultinfo, &target);
	}
	return (Datum) 0;
}
