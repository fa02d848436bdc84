/*
 * transaction.c
 *	  Work in a transaction or subtransaction whose failure the deliverer survives.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/attempt.h"
#include "core/errors.h"
#include "deliver/engine.h"
#include "deliver/owner.h"
#include "mb/pg_wchar.h"
#include "utils/errcodes.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static void
keep_error(DeliverError *error, ErrorData *data)
{
	error->sqlstate = data->sqlerrcode;
	/* a full disk that PostgreSQL has no code for: a quota, a limit on the size of files */
	if (error->sqlstate == ERRCODE_INTERNAL_ERROR && (data->saved_errno == EDQUOT || data->saved_errno == EFBIG))
		error->sqlstate = ERRCODE_DISK_FULL;
	strlcpy(error->message, data->message ? data->message : "unknown error", sizeof(error->message));
	FreeErrorData(data);
}

/* Copies the error being caught and forgets it; the caller then aborts. */
static void
take_error(DeliverError *error, MemoryContext context)
{
	MemoryContextSwitchTo(context);
	keep_error(error, CopyErrorData());
	FlushErrorState();
}

/*
 * What whoever comes after us must know before a message goes: this transaction
 * is on the disk, and at the standbys that are synchronous, when it has been
 * committed.  At our end none of those is waited for: it may be gone.
 */
void
deliver_commit_surely(void)
{
	/* a transaction without a number would wait for nothing, not even for what a sequence has logged for others */
	(void) GetTopTransactionId();
	ForceSyncCommit();
	if (!deliver_asked_to_stop())
		(void) set_config_option("synchronous_commit", "on", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

bool
deliver_transaction(DeliverWork work, void *arg, DeliverError *error)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		deliver_cancellable(true);
		work(arg);
		PopActiveSnapshot();
		CommitTransactionCommand();
		deliver_cancellable(false);
		deliver_owner_cleanup();
		done = true;
	}
	PG_CATCH();
	{
		deliver_cancellable(false);
		take_error(error, caller);
		AbortCurrentTransaction();
		deliver_owner_cleanup();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return done;
}

bool
deliver_subtransaction(DeliverWork work, void *arg, DeliverError *error)
{
	ErrorData  *data = attempt(work, arg);

	if (data != NULL)
		keep_error(error, data);
	return data == NULL;
}

bool
deliver_guarded(DeliverWork work, void *arg, DeliverError *error)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	Assert(!IsTransactionState());
	PG_TRY();
	{
		work(arg);
		done = true;
	}
	PG_CATCH();
	{
		take_error(error, caller);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return done;
}

typedef struct Converting
{
	DeliverWork work;
	void	   *arg;
	MemoryContext context;
} Converting;

static void
converting_work(void *arg)
{
	const Converting *converting = arg;

	MemoryContextSwitchTo(converting->context);
	converting->work(converting->arg);
}

/* Only converting, where the database is in another encoding, needs a transaction. */
bool
deliver_converting(DeliverWork work, void *arg, DeliverError *error)
{
	Converting	converting = {work, arg, CurrentMemoryContext};

	if (GetDatabaseEncoding() == PG_UTF8)
		return deliver_guarded(work, arg, error);
	return deliver_transaction(converting_work, &converting, error);
}

bool
deliver_error_is_transient(int sqlstate)
{
	/* a source that is a web API itself */
	if (sqlstate == ERRCODE_ACTIVATE_UNREACHABLE)
		return true;
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_FDW_ERROR:
			return true;
		default:
			return false;
	}
}
