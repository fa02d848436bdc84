/*
 * token.c
 *	  Tokens in shared memory: see token.h.
 *
 * One lock for all: it is held for the time of a copy.  A slot belongs to an
 * account; when all are in use, the one that nobody has used for the longest
 * time is given away, but none that holds what could not be got again.
 */
#include "postgres.h"

#include "core/shared.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "token/token.h"

#define TOKEN_TRANCHE	"activate tokens"
#define TOKEN_SLOTS		256

/* The next one is got so long before a token ends, or when a fifth of its time is left. */
#define TOKEN_EARLY_US	(300 * USECS_PER_SEC)

/* A token that was got because one was refused is not given up for the same reason again so soon. */
#define TOKEN_TRUSTED_US	(300 * USECS_PER_SEC)

#define TOKEN_ASK_US	USECS_PER_SEC
#define TOKEN_REST_US	(10 * USECS_PER_SEC)

typedef struct TokenSlot
{
	Oid			dboid;			/* InvalidOid: free */
	TokenAccount account;
	TokenDigest digest;
	TimestampTz used_at;
	pid_t		owner;			/* who gets it; 0: nobody */
	TimestampTz asked_at;		/* somebody was asked to see to it */
	uint64		serial;			/* 0: there is no token */
	TimestampTz got_at;
	TimestampTz renew_at;		/* 0: not known when it ends */
	TimestampTz ends_at;
	bool		refused;		/* by the API: of no use any more */
	bool		renewed;		/* see TokenLook */
	bool		failed;
	bool		failed_all;		/* whatever the credentials */
	TokenFailure failure;
	TimestampTz failed_until;
	char		reason[TOKEN_REASON];
	char		value[TOKEN_MAX + 1];
	char		renewal[TOKEN_RENEW_MAX + 1];
} TokenSlot;

typedef struct TokenShared
{
	LWLock	   *lock;
	ConditionVariable changes;
	uint64		serial;			/* of the token that came last */
	TokenSlot	slots[TOKEN_SLOTS];
} TokenShared;

static TokenShared *tokens = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void token_request(void);
static void token_startup(void);
static void token_leave(int code, Datum arg);

void
token_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = token_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = token_startup;
}

bool
token_available(void)
{
	return tokens != NULL;
}

static void
token_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(TokenShared)));
	RequestNamedLWLockTranche(TOKEN_TRANCHE, 1);
}

static void
token_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	tokens = ShmemInitStruct("activate tokens", sizeof(TokenShared), &found);
	if (!found)
	{
		memset(tokens, 0, sizeof(TokenShared));
		tokens->lock = &GetNamedLWLockTranche(TOKEN_TRANCHE)->lock;
		ConditionVariableInit(&tokens->changes);
	}
	LWLockRelease(AddinShmemInitLock);
}

ConditionVariable *
token_changes(void)
{
	return &tokens->changes;
}

static bool
slot_is(const TokenSlot *slot, TokenAccount account)
{
	return slot->dboid == MyDatabaseId && slot->account.server == account.server && slot->account.userid == account.userid;
}

/* Is it more to be kept than others? */
static bool
slot_is_dear(const TokenSlot *slot)
{
	return slot->owner != 0 || slot->renewal[0] != '\0';
}

/* The caller holds the lock, exclusively if it wants a slot to be taken. */
static TokenSlot *
slot_of(TokenAccount account, bool create)
{
	TokenSlot  *best = &tokens->slots[0];

	for (int i = 0; i < TOKEN_SLOTS; i++)
	{
		TokenSlot  *slot = &tokens->slots[i];

		if (slot_is(slot, account))
			return slot;
		if (!OidIsValid(best->dboid))
			continue;
		if (!OidIsValid(slot->dboid) || (slot_is_dear(best) && !slot_is_dear(slot)) ||
			(slot_is_dear(best) == slot_is_dear(slot) && slot->used_at < best->used_at))
			best = slot;
	}
	if (!create)
		return NULL;
	memset(best, 0, sizeof(TokenSlot));
	best->dboid = MyDatabaseId;
	best->account = account;
	return best;
}

static bool
same_digest(const TokenDigest *one, const TokenDigest *other)
{
	return memcmp(one->bytes, other->bytes, sizeof(one->bytes)) == 0;
}

static TokenState
slot_state(const TokenSlot *slot, const TokenDigest *digest, TimestampTz now)
{
	bool		mine = same_digest(&slot->digest, digest);
	bool		idle = slot->owner == 0 || slot->owner == MyProcPid;

	if (mine && slot->serial != 0 && !slot->refused && (slot->ends_at == 0 || now < slot->ends_at))
		return slot->renew_at != 0 && now >= slot->renew_at && idle &&
			!(slot->failed && now < slot->failed_until) ? TOKEN_ENDING : TOKEN_GOOD;
	if (!idle)
		return TOKEN_AWAITED;
	if ((mine || slot->failed_all) && slot->failed && now < slot->failed_until)
		return TOKEN_FAILED;
	return TOKEN_ABSENT;
}

void
token_look(TokenAccount account, const TokenDigest *digest, uint64 known, TimestampTz now, TokenLook *look)
{
	TokenSlot  *slot;

	look->state = TOKEN_ABSENT;
	look->serial = 0;
	look->renewed = false;
	look->value[0] = look->reason[0] = '\0';
	look->until = 0;
	if (tokens == NULL)
		return;
	LWLockAcquire(tokens->lock, LW_SHARED);
	slot = slot_of(account, false);
	if (slot != NULL)
	{
		look->state = slot_state(slot, digest, now);
		slot->used_at = now;
		if (look->state == TOKEN_GOOD || look->state == TOKEN_ENDING)
		{
			look->serial = slot->serial;
			look->renewed = slot->renewed;
			if (slot->serial != known)
				strlcpy(look->value, slot->value, sizeof(look->value));
		}
		else if (look->state == TOKEN_FAILED)
		{
			look->failure = slot->failure;
			look->until = slot->failed_until;
			strlcpy(look->reason, slot->reason, sizeof(look->reason));
		}
	}
	LWLockRelease(tokens->lock);
}

bool
token_is_good(TokenAccount account, const TokenDigest *digest, TimestampTz now)
{
	TokenSlot  *slot;
	TokenState	state = TOKEN_ABSENT;

	LWLockAcquire(tokens->lock, LW_SHARED);
	slot = slot_of(account, false);
	if (slot != NULL)
		state = slot_state(slot, digest, now);
	LWLockRelease(tokens->lock);
	return state == TOKEN_GOOD || state == TOKEN_ENDING;
}

bool
token_claim(TokenAccount account)
{
	static bool registered = false;
	TokenSlot  *slot;
	bool		mine;

	if (tokens == NULL)
		return false;
	/* Before it is claimed: else an end in between would leave it behind. */
	if (!registered)
	{
		before_shmem_exit(token_leave, (Datum) 0);
		registered = true;
	}
	LWLockAcquire(tokens->lock, LW_EXCLUSIVE);
	slot = slot_of(account, true);
	mine = slot->owner == 0;
	if (mine)
		slot->owner = MyProcPid;
	LWLockRelease(tokens->lock);
	return mine;
}

/* Deliverers wait by their latch. */
static void
wake_all(void)
{
	SharedDatabase *database = shared_database(MyDatabaseId, false);

	ConditionVariableBroadcast(&tokens->changes);
	for (int i = 0; database != NULL && i < SHARED_DELIVERERS; i++)
		shared_wake(&database->deliverer[i]);
}

void
token_put(TokenAccount account, const TokenDigest *digest, const char *value, int64 lifetime_us,
		  const char *renewal, TimestampTz now)
{
	TokenSlot  *slot;

	Assert(strlen(value) <= TOKEN_MAX);
	LWLockAcquire(tokens->lock, LW_EXCLUSIVE);
	slot = slot_of(account, true);
	/* one that was refused once more soon after is not thrown away again */
	slot->renewed = slot->refused;
	slot->refused = slot->failed = slot->failed_all = false;
	slot->digest = *digest;
	slot->serial = ++tokens->serial;
	slot->got_at = slot->used_at = now;
	slot->ends_at = lifetime_us > 0 ? now + lifetime_us : 0;
	slot->renew_at = lifetime_us > 0 ? slot->ends_at - Min(lifetime_us / 5, TOKEN_EARLY_US) : 0;
	strlcpy(slot->value, value, sizeof(slot->value));
	strlcpy(slot->renewal, renewal ? renewal : "", sizeof(slot->renewal));
	slot->owner = 0;
	slot->asked_at = 0;
	LWLockRelease(tokens->lock);
	wake_all();
}

void
token_fail(TokenAccount account, const TokenDigest *digest, TokenFailure failure, const char *reason, TimestampTz until)
{
	TokenSlot  *slot;

	LWLockAcquire(tokens->lock, LW_EXCLUSIVE);
	slot = slot_of(account, true);
	/* a token by other credentials is of no use to these */
	slot->failed_all = digest == NULL;
	if (digest != NULL && !same_digest(&slot->digest, digest))
	{
		slot->digest = *digest;
		slot->serial = 0;
		slot->renewal[0] = '\0';
	}
	/* one that is good still is not held by who has refused the next */
	if (digest != NULL && failure == TOKEN_REFUSED)
		slot->serial = 0;
	slot->failed = true;
	slot->failure = failure;
	/* ... and who does not answer is not asked all the time as long as it lasts */
	slot->failed_until = slot->serial != 0 && !slot->refused && slot->ends_at > until ? until + TOKEN_REST_US : until;
	strlcpy(slot->reason, reason, sizeof(slot->reason));
	slot->owner = 0;
	slot->asked_at = 0;
	LWLockRelease(tokens->lock);
	wake_all();
}

void
token_try_again(TokenAccount account)
{
	TokenSlot  *slot;

	if (tokens == NULL)
		return;
	LWLockAcquire(tokens->lock, LW_EXCLUSIVE);
	slot = slot_of(account, false);
	if (slot != NULL)
		slot->failed = slot->failed_all = false;
	LWLockRelease(tokens->lock);
}

char *
token_renewal(TokenAccount account, const TokenDigest *digest)
{
	char	   *renewal = palloc(TOKEN_RENEW_MAX + 1);
	TokenSlot  *slot;

	*renewal = '\0';
	LWLockAcquire(tokens->lock, LW_SHARED);
	slot = slot_of(account, false);
	if (slot != NULL && same_digest(&slot->digest, digest))
		strlcpy(renewal, slot->renewal, TOKEN_RENEW_MAX + 1);
	LWLockRelease(tokens->lock);
	return *renewal ? renewal : NULL;
}

bool
token_refused(TokenAccount account, uint64 serial, TimestampTz now)
{
	TokenSlot  *slot;
	bool		again = true;

	LWLockAcquire(tokens->lock, LW_EXCLUSIVE);
	slot = slot_of(account, false);
	if (slot != NULL && slot->serial == serial && !slot->refused)
	{
		again = !(slot->renewed && now - slot->got_at < TOKEN_TRUSTED_US);
		if (again)
			slot->refused = true;
	}
	LWLockRelease(tokens->lock);
	return again;
}

void
token_accepted(TokenAccount account, uint64 serial)
{
	TokenSlot  *slot;

	LWLockAcquire(tokens->lock, LW_EXCLUSIVE);
	slot = slot_of(account, false);
	if (slot != NULL && slot->serial == serial)
		slot->renewed = false;
	LWLockRelease(tokens->lock);
}

bool
token_ask(TokenAccount account, TimestampTz now)
{
	TokenSlot  *slot;
	bool		mine;

	LWLockAcquire(tokens->lock, LW_EXCLUSIVE);
	slot = slot_of(account, true);
	mine = slot->owner == 0 && !(slot->asked_at <= now && now - slot->asked_at < TOKEN_ASK_US);
	if (mine)
		slot->asked_at = now;
	LWLockRelease(tokens->lock);
	return mine;
}

/* Whatever ends a process, nobody must go on waiting for it. */
static void
token_leave(int code, Datum arg)
{
	bool		any = false;

	LWLockReleaseAll();
	LWLockAcquire(tokens->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TOKEN_SLOTS; i++)
		if (tokens->slots[i].owner == MyProcPid)
		{
			tokens->slots[i].owner = 0;
			any = true;
		}
	LWLockRelease(tokens->lock);
	if (any)
		wake_all();
}
