/*
 * horizon.c
 *	  Which intents may have been sent, known after a crash.
 *
 * Leases are this process's memory.  So that a crash does not make it forget
 * that something may be on its way, the highest id that it may send is
 * written, and flushed, ahead of the first sending above it, in steps so large
 * that it costs nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/clock.h"
#include "core/identity.h"
#include "core/own.h"
#include "deliver/engine.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define HORIZON_STEP 10000

static int64
horizon_call(const char *sql, int64 number)
{
	Oid			types[2] = {INT4OID, INT8OID};
	Datum		values[2] = {Int32GetDatum(engine->slot), Int64GetDatum(number)};

	return own_int64(sql, 2, types, values);
}

static void
read_work(void *arg)
{
	if (!OidIsValid(identity_extension()))
		return;
	engine->horizon_before = horizon_call("SELECT activate._horizon_get($1, $2::integer)", engine->deliverers);
	engine->past = horizon_call("SELECT h.id FROM activate._horizon h WHERE h.slot = $1 + $2",
								SHARED_DELIVERERS - engine->slot);
}

static void
write_work(void *arg)
{
	(void) horizon_call("SELECT activate._horizon_set($1, $2)", *(int64 *) arg);
	deliver_commit_surely();
}

static void
clear_work(void *arg)
{
	(void) horizon_call("SELECT activate._horizon_clear($1, $2)", engine->horizon_before);
}

/* At the start: what the process before us left, if it did not end in order. */
void
deliver_horizon_read(void)
{
	DeliverError error;

	if (!deliver_transaction(read_work, NULL, &error))
		ereport(ERROR,
				(errcode(error.sqlstate),
				 errmsg("could not read how far intents may have been sent: %s", error.message)));
}

/* Before an intent of that id is sent; false: not now. */
bool
deliver_horizon_ensure(int64 id)
{
	int64		ahead = Max(id, engine->horizon_before) + HORIZON_STEP;
	DeliverError error;

	if (id <= engine->horizon)
		return true;
	if (!deliver_transaction(write_work, &ahead, &error))
	{
		if (engine->send_rests++ == 0 && !deliver_asked_to_stop())
			ereport(LOG,
					(errcode(error.sqlstate),
					 errmsg("activate: nothing is sent, the horizon cannot be written: %s", error.message)));
		engine->send_rest_until = clock_now() + Min(engine->send_rests, 10) * USECS_PER_SEC;
		return false;
	}
	engine->send_rests = 0;
	engine->horizon = ahead;
	/* then the wait for a standby was cut short */
	return !deliver_asked_to_stop();
}

/*
 * At an exit in order: upto is not 0 if outcomes could not be written, and
 * intents up to it were perhaps sent.
 */
void
deliver_horizon_leave(int64 upto)
{
	DeliverError error;

	if (engine->horizon == 0 && engine->horizon_before == 0)
		return;
	upto = upto > 0 ? Max(upto, engine->horizon_before) : 0;
	if (upto > 0)
		(void) deliver_transaction(write_work, &upto, &error);
	else
		(void) deliver_transaction(clear_work, NULL, &error);
}
