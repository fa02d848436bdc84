/*
 * progress.c
 *	  The slot of shared memory in which a run tells where it stands.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/progress.h"
#include "core/compat.h"
#include "core/shared.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

/* How often a count of rows becomes visible. */
#define ROWS_PER_UPDATE 1000

/* This process's slot while it runs a sync. */
static SharedRun *my_run = NULL;
static int64 my_rows = 0;
static int64 my_bytes = -1;

/* It outlives the transaction. */
static bool kept = false;

ACTIVATE_FUNCTION(activate_count_row);

static void
progress_at_end(XactEvent event, void *arg)
{
	if (!kept && (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE))
		progress_end();
}

static void
progress_at_exit(int code, Datum arg)
{
	progress_end();
}

void
progress_begin(int64 run, int64 sync)
{
	static bool registered = false;
	SharedMemory *shared = shared_memory();

	if (shared == NULL)
		return;
	if (!registered)
	{
		RegisterXactCallback(progress_at_end, NULL);
		before_shmem_exit(progress_at_exit, (Datum) 0);
		registered = true;
	}
	kept = false;
	if (my_run && my_run->run == run)
		return;
	progress_end();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SHARED_RUNS; i++)
	{
		SharedRun  *slot = &shared->run[i];

		if (slot->run != 0)
			continue;
		memset(slot, 0, sizeof(SharedRun));
		slot->dboid = MyDatabaseId;
		slot->run = run;
		slot->sync = sync;
		slot->pid = MyProcPid;
		slot->started_at = GetCurrentTimestamp();
		slot->rows_expected = slot->bytes_read = -1;
		strlcpy(slot->phase, "starting", sizeof(slot->phase));
		my_run = slot;
		my_rows = 0;
		my_bytes = -1;
		break;
	}
	LWLockRelease(shared->lock);
}

void
progress_keep(void)
{
	kept = true;
}

void
progress_update(const char *phase, int64 rows_read, int64 rows_written)
{
	SharedMemory *shared = shared_memory();

	if (my_run == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (phase)
		strlcpy(my_run->phase, phase, sizeof(my_run->phase));
	my_run->rows_read = rows_read;
	my_run->rows_written = rows_written;
	my_run->bytes_read = my_bytes;
	my_rows = rows_read;
	LWLockRelease(shared->lock);
}

bool
progress_is_shown(void)
{
	return my_run != NULL;
}

void
progress_expect(int64 rows)
{
	SharedMemory *shared = shared_memory();

	if (my_run == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_run->rows_expected = rows;
	LWLockRelease(shared->lock);
}

void
progress_bytes(int64 bytes)
{
	my_bytes = Max(my_bytes, 0) + bytes;
}

int64
progress_bytes_read(void)
{
	return Max(my_bytes, 0);
}

void
progress_end(void)
{
	SharedMemory *shared = shared_memory();

	if (my_run == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_run->run = 0;
	LWLockRelease(shared->lock);
	my_run = NULL;
	kept = false;
}

Datum
activate_count_row(PG_FUNCTION_ARGS)
{
	if (my_run && ++my_rows % ROWS_PER_UPDATE == 0)
		progress_update(NULL, my_rows, my_run->rows_written);
	PG_RETURN_BOOL(true);
}
