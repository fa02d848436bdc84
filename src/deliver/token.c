/*
 * token.c
 *	  Access tokens of targets (connector/oauth.c): got by a request in the same
 *	  pool as all others, so that nothing waits for it but the target's own rows.
 *
 * What the rows wait for is no attempt of theirs.  A refresh token that comes
 * along is in the user mapping, and on disk, before the access token is used.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/engine.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Another process gets it: it wakes us, or is gone. */
#define AWAITED_US	USECS_PER_SEC
#define OWN_US		(60 * USECS_PER_SEC)
/* A user mapping that somebody keeps locked. */
#define KEEP_AGAIN_US	(200 * INT64CONST(1000))

struct DeliverToken
{
	MemoryContext context;
	DeliverTarget *target;
	ConnectorAuth *auth;		/* as the mapping was when it was asked for */
	HttpRequest *request;
	ConnectorGrant grant;
	bool		keeping;		/* it has come with a refresh token that is not on disk yet */
	bool		in_file;		/* which cannot be */
	TimestampTz keep_at;
};

static void token_received(DeliverToken *token);
static void token_keep(DeliverToken *token);

static TokenAccount
target_account(const DeliverTarget *target)
{
	return (TokenAccount) {target->server, target->userid};
}

static void
token_end(DeliverToken *token)
{
	DeliverTarget *target = token->target;

	target->token = NULL;
	target->token_at = 0;
	if (token->request != NULL)
		http_request_free(token->request);
	MemoryContextDelete(token->context);
}

/* It is not given.  With a token that is still good there is no reason to stop, unless the credentials are refused. */
static void
target_without(DeliverTarget *target, TokenFailure failure, const char *reason, TimestampTz until)
{
	switch (failure)
	{
		case TOKEN_REFUSED:
			deliver_target_refused(target, TARGET_AUTH, reason);
			break;
		case TOKEN_UNREACHABLE:
			deliver_target_outage(target, true, reason);
			break;
		case TOKEN_THROTTLED:
			deliver_target_throttled(target, Max((until - clock_now()) / 1000, 1), reason);
			break;
	}
}

static void
begin_work(void *arg)
{
	DeliverToken *token = arg;
	DeliverTarget *target = token->target;

	token->auth = connector_auth(target->server, target->userid, token->context);
	if (token->auth->token == NULL || token->auth->userid != target->userid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the user mapping is not what it was")));
	token->request = connector_token_request(token->auth, token->context);
	token->request->owner = NULL;
}

static void
token_begin(DeliverTarget *target, TimestampTz now)
{
	MemoryContext context;
	DeliverToken *token;
	DeliverError error;

	if (target->token != NULL || deliver_asked_to_stop() || !token_claim(target_account(target)))
		return;
	context = AllocSetContextCreate(engine->context, "activate token", ALLOCSET_SMALL_SIZES);
	token = MemoryContextAllocZero(context, sizeof(DeliverToken));
	token->context = context;
	token->target = target;
	target->token = token;
	if (!deliver_transaction(begin_work, token, &error))
	{
		token->request = NULL;
		token_fail(target_account(target), NULL, TOKEN_REFUSED, error.message, now + AWAITED_US);
		token_end(token);
		deliver_target_refused(target, TARGET_AUTH, error.message);
		return;
	}
	target->token_at = now + OWN_US;
	http_pool_submit(engine->pool, token->request);
}

/* May a call of the declaration go, as far as its token is concerned? */
bool
deliver_token_ready(DeliverTarget *target, DeliverDeclaration *declaration, TimestampTz now)
{
	TokenLook  *look;

	if (declaration->auth->token == NULL)
		return true;
	look = MemoryContextAlloc(engine->turn, sizeof(TokenLook));
	switch (connector_token_look(declaration->auth, now, look))
	{
		case TOKEN_GOOD:
			return true;
		case TOKEN_ENDING:
			token_begin(target, now);
			/* nothing waits for it yet */
			target->token_at = 0;
			return true;
		case TOKEN_ABSENT:
			token_begin(target, now);
			break;
		case TOKEN_AWAITED:
			break;
		case TOKEN_FAILED:
			target_without(target, look->failure, look->reason, look->until);
			return false;
	}
	if (target->token == NULL)
		target->token_at = now + AWAITED_US;
	return false;
}

static void
answer_work(void *arg)
{
	DeliverToken *token = arg;
	MemoryContext old = MemoryContextSwitchTo(token->context);

	connector_token_answer(token->auth, token->request, &token->grant);
	MemoryContextSwitchTo(old);
}

void
deliver_token_received(HttpRequest *request)
{
	dlist_iter	iter;

	dlist_foreach(iter, &engine->targets)
	{
		DeliverTarget *target = dlist_container(DeliverTarget, node, iter.cur);

		if (target->token != NULL && target->token->request == request)
		{
			token_received(target->token);
			return;
		}
	}
}

static void
token_received(DeliverToken *token)
{
	DeliverTarget *target = token->target;
	ConnectorGrant *grant = &token->grant;
	DeliverError error;

	if (!deliver_guarded(answer_work, token, &error))
	{
		grant->got = false;
		grant->failure = TOKEN_UNREACHABLE;
		grant->reason = error.message;
		grant->until = clock_now() + AWAITED_US;
	}
	if (grant->got)
	{
		token->keeping = grant->renewal != NULL;
		token_keep(token);
		return;
	}
	token_fail(target_account(target), &token->auth->token->digest, grant->failure, grant->reason, grant->until);
	/* of one that is still good the deliverer goes on by itself: see slot_state() */
	if (grant->failure == TOKEN_REFUSED || !token_is_good(target_account(target), &token->auth->token->digest, clock_now()))
		target_without(target, grant->failure, grant->reason, grant->until);
	token_end(token);
}

static void
keep_work(void *arg)
{
	DeliverToken *token = arg;

	deliver_commit_surely();
	token->in_file = !connector_token_keep(token->auth, token->grant.renewal);
}

static void
token_keep(DeliverToken *token)
{
	DeliverTarget *target = token->target;
	const ConnectorGrant *grant = &token->grant;
	DeliverError error;
	MemoryContext old;

	if (token->keeping && !deliver_transaction(keep_work, token, &error))
	{
		if (token->keep_at == 0 && !deliver_asked_to_stop())
			ereport(LOG,
					(errcode(error.sqlstate),
					 errmsg("activate: target \"%s\" waits for its new refresh token to be written: %s", target->name, error.message)));
		token->keep_at = target->token_at = clock_now() + KEEP_AGAIN_US;
		return;
	}
	old = MemoryContextSwitchTo(token->context);
	if (token->keeping && !token->in_file)
		connector_token_renewed(token->auth, grant->renewal);
	MemoryContextSwitchTo(old);
	token_put(target_account(target), &token->auth->token->digest, grant->token, grant->lifetime_us,
			  token->in_file ? grant->renewal : NULL, clock_now());
	if (token->in_file)
		deliver_target_note(target, "the API has replaced the refresh token, which stands in a file: the new one is lost when the server stops");
	token_end(token);
}

/* Refresh tokens that could not be written before. */
void
deliver_tokens_go(TimestampTz now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &engine->targets)
	{
		DeliverTarget *target = dlist_container(DeliverTarget, node, iter.cur);

		if (target->token != NULL && target->token->keep_at != 0 && target->token->keep_at <= now)
			token_keep(target->token);
	}
}

/* A call was refused.  True: it goes again, with another token. */
bool
deliver_token_refused(const DeliverCall *call)
{
	const ConnectorToken *token = call->declaration->auth->token;

	if (token == NULL || call->request->status == 407)
		return false;
	return call->token == 0 || token_refused(token->account, call->token, clock_now());
}

void
deliver_token_accepted(const DeliverCall *call)
{
	ConnectorToken *token = call->declaration->auth->token;

	if (token == NULL || !token->renewed || token->serial != call->token || call->request->outcome != HTTP_ANSWERED)
		return;
	token_accepted(token->account, call->token);
	token->renewed = false;
}
