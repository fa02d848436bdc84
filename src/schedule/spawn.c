/*
 * spawn.c
 *	  What launcher, workers and runners have in common: see spawn.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/compat.h"
#include "core/identity.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "schedule/spawn.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SPAWN_SHORTAGE_LOG_MS	(10 * 60 * 1000)

static void spawn_log_shortage(const char *name);

BackgroundWorkerHandle *
spawn_worker(const char *function, const char *type, const char *name,
			 Oid dboid, const void *extra, Size extra_size)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle = NULL;
	MemoryContext old;
	bool		registered;

	Assert(extra_size <= BGW_EXTRALEN);
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(dboid);
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "activate", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker.bgw_type, type, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	if (extra_size > 0)
		memcpy(worker.bgw_extra, extra, extra_size);

	old = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &handle);
	MemoryContextSwitchTo(old);

	if (!registered)
		spawn_log_shortage(name);
	return registered ? handle : NULL;
}

/* One line for the whole cluster, now and then: every start that fails is repeated. */
static void
spawn_log_shortage(const char *name)
{
	SharedMemory *shared = shared_memory();
	TimestampTz now = GetCurrentTimestamp();
	bool		due;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	due = shared->shortage_logged == 0 ||
		TimestampDifferenceExceeds(shared->shortage_logged, now, SPAWN_SHORTAGE_LOG_MS);
	if (due)
		shared->shortage_logged = now;
	LWLockRelease(shared->lock);
	if (due)
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start \"%s\": no background worker slot is free", name),
				 errdetail("It is tried again; processes of activate take turns meanwhile."),
				 errhint("Consider increasing max_worker_processes.")));
}

bool
spawn_stopped(BackgroundWorkerHandle *handle)
{
	pid_t		pid;
	BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);

	return status == BGWH_STOPPED || status == BGWH_POSTMASTER_DIED;
}

int
spawn_find(Oid dboid, const char *prefix, pid_t *pids, int max)
{
	int			found = 0;
	int			backends;

	/* the status table is copied once per transaction unless told otherwise */
	pgstat_clear_backend_activity_snapshot();
	backends = pgstat_fetch_stat_numbackends();
	for (int i = 1; i <= backends; i++)
	{
		LocalPgBackendStatus *local = compat_local_beentry(i);
		PgBackendStatus *status = &local->backendStatus;
		const char *type;

		if (status->st_databaseid != dboid || status->st_backendType != B_BG_WORKER ||
			status->st_procpid == MyProcPid)
			continue;
		type = GetBackgroundWorkerTypeByPid(status->st_procpid);
		if (type == NULL || strncmp(type, prefix, strlen(prefix)) != 0)
			continue;
		if (found < max)
			pids[found] = status->st_procpid;
		found++;
	}
	pgstat_clear_backend_activity_snapshot();
	return Min(found, max);
}

void
spawn_settings(void)
{
	static const char *const settings[][2] = {
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
#if PG_VERSION_NUM >= 170000
		{"transaction_timeout", "0"},
#endif
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

void
spawn_begin(Oid dboid, Oid role, const char *type)
{
	/* die, not a flag of our own: else a wait in the core would not notice a shutdown */
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	if (OidIsValid(dboid))
		BackgroundWorkerInitializeConnectionByOid(dboid, role, 0);
	else
		BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	spawn_settings();
	SetConfigOption("application_name", type, PGC_USERSET, PGC_S_SESSION);
	pgstat_report_appname(type);
}

void
spawn_report(bool running, const char *what)
{
	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(running ? STATE_RUNNING : STATE_IDLE, what);
}

bool
spawn_transaction(SpawnWork work, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		IdentityScope scope;

		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		identity_enter_extension(&scope);
		work(arg);
		identity_leave(&scope);
		SPI_finish();
		PopActiveSnapshot();
		CommitTransactionCommand();
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();	/* also of a subtransaction that the error left */
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);

	/* else autovacuum would never hear of what we write */
	pgstat_report_stat(true);
	return done;
}
