/*
 * attempt.c
 *	  Work that may fail, in a subtransaction: see attempt.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/attempt.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static ErrorData *
attempt_in_subtransaction(AttemptWork work, void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error != NULL || !keep)
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

ErrorData *
attempt(AttemptWork work, void *arg)
{
	return attempt_in_subtransaction(work, arg, true);
}

ErrorData *
attempt_and_forget(AttemptWork work, void *arg)
{
	return attempt_in_subtransaction(work, arg, false);
}

bool
attempt_was_cancelled(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION;
}
