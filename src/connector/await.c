/*
 * await.c
 *	  Sessions that need an access token: they take the one that there is, or
 *	  have a short-lived worker get one and wait for it.
 *
 * A session never asks a token endpoint itself: it may be cancelled, and its
 * transaction rolled back, between the answer and the moment at which a refresh
 * token that came with it is on disk.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "connector/form.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/errors.h"
#include "core/own.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "schedule/spawn.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A session looks again so often, should nobody tell it. */
#define AWAIT_LOOK_MS	200
/* A token endpoint that asks to wait is waited for so long; a worker that does not come, as well. */
#define AWAIT_LONGEST_US	(60 * USECS_PER_SEC)
#define AWAIT_WORKER_US		(30 * USECS_PER_SEC)
#define AWAIT_REST_US	(2 * USECS_PER_SEC)
#define KEEP_TRIES		100
#define KEEP_REST_MS	200
/* A shutdown waits so long for an answer. */
#define SHUTDOWN_GRACE_US	USECS_PER_SEC

extern PGDLLEXPORT void connector_token_main(Datum main_arg);

pg_noreturn static void
await_fail(const ConnectorAuth *auth, const TokenLook *look)
{
	const char *server = GetForeignServer(auth->token->account.server)->servername;

	ereport(ERROR,
			(errcode(look->failure == TOKEN_UNREACHABLE ? ERRCODE_ACTIVATE_UNREACHABLE : ERRCODE_ACTIVATE_API_ERROR),
			 errmsg("could not get an access token for server \"%s\": %s", server, look->reason),
			 look->failure == TOKEN_REFUSED ?
			 errhint("Renew the secret of the user mapping with activate_target(..., secret => ...), or check \"auth\" of the server.") :
			 errhint("Try again later; it is got by whoever needs it next.")));
}

static void
await_possible(const ConnectorAuth *auth)
{
	const char *server = GetForeignServer(auth->token->account.server)->servername;

	if (!token_available())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not get an access token for server \"%s\": tokens are shared by all sessions, and there is no shared memory of activate", server),
				 errhint("Add activate to shared_preload_libraries and restart the server.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("could not get an access token for server \"%s\" on a standby", server),
				 errhint("Read it on the primary.")));
}

/* The mapping may have changed since it was read. */
static void
await_read_again(ConnectorAuth *auth)
{
	ConnectorAuth *now = connector_auth(auth->token->account.server, auth->userid, CurrentMemoryContext);

	if (now->token != NULL)
		auth->token->digest = now->token->digest;
}

static void
await_worker(const ConnectorAuth *auth, TimestampTz began, TimestampTz now)
{
	TokenAccount account = auth->token->account;
	BackgroundWorkerHandle *handle = spawn_worker("connector_token_main", "activate token", "activate token",
												  MyDatabaseId, &account, sizeof(account));

	if (handle != NULL)
		pfree(handle);
	else if (now - began > AWAIT_WORKER_US)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not get an access token: no background worker slot is free"),
				 errhint("Consider increasing max_worker_processes.")));
}

void
connector_token_await(ConnectorAuth *auth)
{
	TokenLook  *look;
	TimestampTz began = clock_now();
	bool		there = false;

	if (auth->token == NULL)
		return;
	await_possible(auth);
	look = palloc(sizeof(TokenLook));
	while (!there)
	{
		TimestampTz now = clock_now();

		ConditionVariablePrepareToSleep(token_changes());
		connector_token_look(auth, now, look);
		there = look->state == TOKEN_GOOD || look->state == TOKEN_ENDING;
		if (look->state == TOKEN_FAILED &&
			(look->failure != TOKEN_THROTTLED || look->until - now > AWAIT_LONGEST_US || now - began > AWAIT_LONGEST_US))
			await_fail(auth, look);
		if ((look->state == TOKEN_ABSENT || look->state == TOKEN_ENDING) && token_ask(auth->token->account, now))
		{
			await_worker(auth, began, now);
			if (!there)
				await_read_again(auth);
		}
		CHECK_FOR_INTERRUPTS();
		if (!there)
			(void) http_session_turn(AWAIT_LOOK_MS);
	}
	ConditionVariableCancelSleep();
	pfree(look);
}

/* --- the worker --------------------------------------------------------- */

typedef struct TokenWork
{
	TokenAccount account;
	ConnectorAuth *auth;		/* NULL: there is nothing to do */
	HttpRequest *request;
	const char *renewal;
	bool		kept;
} TokenWork;

typedef void (*TokenStep) (TokenWork *work);

/* The secret as it is now; a copy of the database must not use up what the original lives by. */
static void
step_read(TokenWork *work)
{
	char	   *installation = own_text("SELECT activate._installation()", 0, NULL, NULL);

	if (strcmp(installation, "copy") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is a copy of the one that declared its targets"),
				 errhint("activate_adopt() makes it the one that gets tokens.")));
	work->auth = connector_auth(work->account.server, work->account.userid, TopMemoryContext);
	if (work->auth->token == NULL || work->auth->userid != work->account.userid)
		work->auth = NULL;
}

/* It may have to be signed, which may fail. */
static void
step_ask(TokenWork *work)
{
	work->request = connector_token_request(work->auth, TopMemoryContext);
}

static void
step_keep(TokenWork *work)
{
	(void) GetTopTransactionId();
	ForceSyncCommit();
	work->kept = connector_token_keep(work->auth, work->renewal);
}

/* In a transaction of its own; NULL, or what went wrong. */
static char *
in_transaction(TokenStep step, TokenWork *work)
{
	char	   *volatile problem = NULL;

	PG_TRY();
	{
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		step(work);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		problem = error->message ? error->message : pstrdup("unknown error");
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	return problem;
}

/* Until it is on disk, or nobody can say that we have not tried. */
static void
keep_renewal(TokenWork *work, const char *renewal)
{
	char	   *problem = NULL;

	work->renewal = renewal;
	for (int i = 0; i < KEEP_TRIES; i++)
	{
		if ((problem = in_transaction(step_keep, work)) == NULL)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, KEEP_REST_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		if (ShutdownRequestPending && i >= SHUTDOWN_GRACE_US / 1000 / KEEP_REST_MS)
			break;
	}
	ereport(LOG,
			(errmsg("activate: a refresh token could not be written into the user mapping: %s", problem)));
	work->kept = false;
}

/*
 * What it says is not to be lost: who asks us to end waits for it, but not for
 * ever.  False: it did not come in that time.
 */
static bool
perform(HttpRequest *request)
{
	TimestampTz until = 0;

	http_session_submit(request);
	while (!http_request_finished(request))
	{
		if (ShutdownRequestPending && until == 0)
			until = clock_now() + SHUTDOWN_GRACE_US;
		if (until != 0 && clock_now() >= until)
			return false;
		(void) http_session_turn(AWAIT_LOOK_MS);
	}
	return true;
}

static void
get_token(TokenWork *work)
{
	ConnectorAuth *auth = work->auth;
	ConnectorGrant grant;
	char	   *problem = in_transaction(step_ask, work);

	if (problem != NULL)
	{
		token_fail(work->account, &auth->token->digest, TOKEN_REFUSED, problem, clock_now() + AWAIT_REST_US);
		return;
	}
	if (!perform(work->request))
		return;
	connector_token_answer(auth, work->request, &grant);
	if (!grant.got)
	{
		token_fail(work->account, &auth->token->digest, grant.failure, grant.reason, grant.until);
		return;
	}
	if (grant.renewal != NULL)
		keep_renewal(work, grant.renewal);
	if (grant.renewal != NULL && work->kept)
		connector_token_renewed(auth, grant.renewal);
	token_put(work->account, &auth->token->digest, grant.token, grant.lifetime_us,
			  work->kept ? NULL : grant.renewal, clock_now());
}

static void
worker_work(TokenWork *work)
{
	TokenLook  *look = palloc(sizeof(TokenLook));
	char	   *problem;

	if (!token_claim(work->account))
		return;
	problem = in_transaction(step_read, work);
	if (problem != NULL || work->auth == NULL)
	{
		token_fail(work->account, NULL, TOKEN_REFUSED, problem ? problem : "the user mapping is gone", clock_now() + AWAIT_REST_US);
		return;
	}
	connector_token_look(work->auth, clock_now(), look);
	if (look->state == TOKEN_GOOD)
		return;
	get_token(work);
}

void
connector_token_main(Datum main_arg)
{
	TokenWork	work = {.kept = true};

	memcpy(&work.account, MyBgworkerEntry->bgw_extra, sizeof(work.account));
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(main_arg), InvalidOid, 0);
	spawn_settings();
	SetConfigOption("search_path", "", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "200ms", PGC_SUSET, PGC_S_OVERRIDE);
	MemoryContextSwitchTo(TopMemoryContext);
	worker_work(&work);
	proc_exit(0);
}
