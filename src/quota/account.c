/*
 * account.c
 *	  Accounts and their budgets in shared memory: see quota.h.
 *
 * Locks: QuotaShared.lock protects which account a slot holds, the lock of a
 * slot all else in it; the first is taken before the second.  A process
 * remembers where its accounts are and looks whether they are still there: when all
 * slots are in use, the one that nobody has used for the longest time is
 * given away.  An account that nothing is declared for and nothing was told of has none.
 */
#include "postgres.h"

#include "core/clock.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "quota/window.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define QUOTA_TRANCHE	"activate quota"
#define QUOTA_SLOTS		1024	/* as many as SHARED_TARGETS */
#define QUOTA_OWN_SLOTS	16		/* of a process, without preload */

typedef struct QuotaSlot
{
	LWLock		lock;
	Oid			dboid;			/* InvalidOid: free; these three change under both locks */
	QuotaAccount account;
	TimestampTz used_at;
	int64		total;			/* cost of all calls so far: tickets */
	TimestampTz blocked_until;
	QuotaWindow windows[QUOTA_LIMITS];
	QuotaTold	told[QUOTA_TOLD];
	int64		told_ticket[QUOTA_TOLD];	/* of the call that it was the answer to */
	int64		told_last;		/* the least that was left, when it was said last; -1: never */
} QuotaSlot;

typedef struct QuotaShared
{
	LWLock	   *lock;			/* NULL: of this process only */
	pg_atomic_uint64 taken;		/* counts slots that got an account */
	int			nslots;
	QuotaSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} QuotaShared;

/* Where this process found an account. */
typedef struct QuotaPlace
{
	QuotaAccount account;		/* must be first: key of the hash table */
	int			slot;			/* -1: nowhere ... */
	uint64		taken;			/* ... when so many had been taken */
} QuotaPlace;

static QuotaShared *quota = NULL;
static HTAB *places = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void quota_request(void);
static void quota_startup(void);

void
quota_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = quota_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = quota_startup;
}

static Size
quota_size(int nslots)
{
	return MAXALIGN(offsetof(QuotaShared, slots) + nslots * sizeof(QuotaSlot));
}

static void
quota_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(quota_size(QUOTA_SLOTS));
	RequestNamedLWLockTranche(QUOTA_TRANCHE, 1);
}

static void
quota_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	quota = ShmemInitStruct("activate quota", quota_size(QUOTA_SLOTS), &found);
	if (!found)
	{
		memset(quota, 0, quota_size(QUOTA_SLOTS));
		quota->lock = &GetNamedLWLockTranche(QUOTA_TRANCHE)->lock;
		quota->nslots = QUOTA_SLOTS;
		pg_atomic_init_u64(&quota->taken, 0);
		for (int i = 0; i < quota->nslots; i++)
			LWLockInitialize(&quota->slots[i].lock, quota->lock->tranche);
	}
	LWLockRelease(AddinShmemInitLock);
}

static void
quota_attach(void)
{
	HASHCTL		control = {0};

	if (places != NULL)
		return;
	if (quota == NULL)
	{
		quota = MemoryContextAllocZero(TopMemoryContext, quota_size(QUOTA_OWN_SLOTS));
		quota->nslots = QUOTA_OWN_SLOTS;
		pg_atomic_init_u64(&quota->taken, 0);
	}
	control.keysize = sizeof(QuotaAccount);
	control.entrysize = sizeof(QuotaPlace);
	places = hash_create("activate quota places", 16, &control, HASH_ELEM | HASH_BLOBS);
}

static void
lock_acquire(LWLock *lock, LWLockMode mode)
{
	if (quota->lock)
		LWLockAcquire(lock, mode);
}

static void
lock_release(LWLock *lock)
{
	if (quota->lock)
		LWLockRelease(lock);
}

static bool
slot_is(const QuotaSlot *slot, QuotaAccount account)
{
	return slot->dboid == MyDatabaseId && slot->account.server == account.server &&
		slot->account.userid == account.userid;
}

/* Where the account is, or where it may be put: a free slot, or the one that was not used for the longest time. */
static int
slot_search(QuotaAccount account, bool *found)
{
	int			best = 0;

	*found = true;
	for (int i = 0; i < quota->nslots; i++)
	{
		const QuotaSlot *slot = &quota->slots[i];

		if (slot_is(slot, account))
			return i;
		if (quota->slots[best].dboid != InvalidOid &&
			(slot->dboid == InvalidOid || slot->used_at < quota->slots[best].used_at))
			best = i;
	}
	*found = false;
	return best;
}

static void
slot_begin(QuotaSlot *slot, QuotaAccount account)
{
	slot->dboid = MyDatabaseId;
	slot->account = account;
	slot->used_at = clock_now();
	slot->total = 0;
	slot->blocked_until = 0;
	memset(slot->windows, 0, sizeof(slot->windows));
	memset(slot->told, 0, sizeof(slot->told));
	memset(slot->told_ticket, 0, sizeof(slot->told_ticket));
	slot->told_last = -1;
}

/* The slot of an account, locked; NULL: it has none. */
static QuotaSlot *
slot_lock(QuotaAccount account, bool create)
{
	QuotaPlace *place;
	QuotaSlot  *slot;
	bool		found;

	quota_attach();
	place = hash_search(places, &account, HASH_ENTER, &found);
	if (!found)
		place->slot = -1;
	else if (place->slot >= 0)
	{
		slot = &quota->slots[place->slot];
		lock_acquire(&slot->lock, LW_EXCLUSIVE);
		if (slot_is(slot, account))
			return slot;
		lock_release(&slot->lock);
		place->slot = -1;
	}
	else if (!create && place->taken == pg_atomic_read_u64(&quota->taken))
		return NULL;

	lock_acquire(quota->lock, create ? LW_EXCLUSIVE : LW_SHARED);
	place->taken = pg_atomic_read_u64(&quota->taken);
	place->slot = slot_search(account, &found);
	slot = &quota->slots[place->slot];
	if (!found && !create)
	{
		place->slot = -1;
		slot = NULL;
	}
	if (slot)
		lock_acquire(&slot->lock, LW_EXCLUSIVE);
	if (slot && !found)
	{
		slot_begin(slot, account);
		pg_atomic_fetch_add_u64(&quota->taken, 1);
	}
	lock_release(quota->lock);
	return slot;
}

/* The rate may have been declared anew: a window of a length that there was goes on. */
static void
slot_set_rate(QuotaSlot *slot, const QuotaRate *rate)
{
	QuotaWindow before[QUOTA_LIMITS];
	bool		same = true;

	for (int i = 0; i < QUOTA_LIMITS; i++)
		same &= i < rate->n ? memcmp(&slot->windows[i].limit, &rate->limits[i], sizeof(QuotaLimit)) == 0 :
			slot->windows[i].limit.calls == 0;
	if (same)
		return;
	memcpy(before, slot->windows, sizeof(before));
	memset(slot->windows, 0, sizeof(slot->windows));
	for (int i = 0; i < rate->n; i++)
	{
		for (int j = 0; j < QUOTA_LIMITS; j++)
			if (before[j].limit.calls > 0 && before[j].limit.per_us == rate->limits[i].per_us)
				slot->windows[i] = before[j];
		window_set(&slot->windows[i], &rate->limits[i]);
	}
}

/* Of what an API says that is left, what calls of a class leave to others. */
static int64
told_reserve(const QuotaTold *told, QuotaClass class)
{
	return told->limit < 0 ? 0 : told->limit - quota_share(told->limit, class);
}

/* When the call may go; grant->until stays 0 if now. */
static void
slot_ask(QuotaSlot *slot, const QuotaRate *rate, QuotaClass class, int cost, TimestampTz now, QuotaGrant *grant)
{
	for (int i = 0; i < rate->n; i++)
	{
		window_advance(&slot->windows[i], now);
		grant->until = Max(grant->until, window_fits(&slot->windows[i], class, cost));
	}
	for (int i = 0; i < QUOTA_TOLD; i++)
	{
		QuotaTold  *told = &slot->told[i];

		if (told->until <= now)
			told->said = false;
		if (!told->said || told->left - cost >= told_reserve(told, class) || told->until <= grant->until)
			continue;
		grant->until = told->until;
		grant->told = true;
	}
	if (slot->blocked_until > Max(now, grant->until))
	{
		grant->until = slot->blocked_until;
		grant->told = true;
	}
}

bool
quota_take(QuotaAccount account, const QuotaRate *rate, QuotaClass class, int cost,
		   TimestampTz now, QuotaGrant *grant)
{
	QuotaSlot  *slot = slot_lock(account, rate->n > 0);
	bool		granted;

	memset(grant, 0, sizeof(*grant));
	if (slot == NULL)
		return true;
	slot_set_rate(slot, rate);
	slot_ask(slot, rate, class, cost, now, grant);
	granted = grant->until == 0;
	slot->used_at = now;
	if (granted)
	{
		for (int i = 0; i < rate->n; i++)
			window_add(&slot->windows[i], cost);
		for (int i = 0; i < QUOTA_TOLD; i++)
			slot->told[i].left -= cost;
		slot->total += cost;
		grant->ticket = slot->total;
	}
	lock_release(&slot->lock);
	return granted;
}

/*
 * What is left is what the API said less the calls that were sent after the one
 * it answers: those sent before are in its number already.  An answer that is
 * overtaken by that to a later call says nothing new.
 */
void
quota_learn(QuotaAccount account, const QuotaTold *told, int64 ticket, TimestampTz now)
{
	QuotaSlot  *slot = slot_lock(account, true);
	int64		least = -1;

	for (int i = 0; i < QUOTA_TOLD; i++)
	{
		QuotaTold  *mine = &slot->told[i];

		if (!told[i].said)
			continue;
		if (least < 0 || told[i].left < least)
			least = told[i].left;
		if (told[i].until <= now || (mine->said && ticket < slot->told_ticket[i]))
			continue;
		*mine = told[i];
		mine->left -= Max(slot->total - ticket, 0);
		slot->told_ticket[i] = ticket;
	}
	if (least >= 0)
		slot->told_last = least;
	lock_release(&slot->lock);
}

void
quota_block(QuotaAccount account, TimestampTz until)
{
	QuotaSlot  *slot = slot_lock(account, true);

	slot->blocked_until = Max(slot->blocked_until, until);
	lock_release(&slot->lock);
}

TimestampTz
quota_blocked(QuotaAccount account)
{
	QuotaSlot  *slot = slot_lock(account, false);
	TimestampTz until = slot ? slot->blocked_until : 0;

	if (slot)
		lock_release(&slot->lock);
	return until;
}

void
quota_forget(Oid server)
{
	quota_attach();
	for (int i = 0; i < quota->nslots; i++)
	{
		QuotaSlot  *slot = &quota->slots[i];

		lock_acquire(&slot->lock, LW_EXCLUSIVE);
		if (slot->dboid == MyDatabaseId && slot->account.server == server)
		{
			slot->blocked_until = 0;
			memset(slot->told, 0, sizeof(slot->told));
		}
		lock_release(&slot->lock);
	}
}

static void
look_at_window(QuotaWindow *window, TimestampTz now, QuotaLine *line)
{
	window_advance(window, now);
	line->limit = window->limit.calls;
	line->per_us = window->limit.per_us;
	line->used = window_used(window);
	line->left = Max(line->limit - line->used, 0);
	line->resets = window_free(window);
}

static void
look_at_told(const QuotaTold *told, QuotaLine *line)
{
	line->told = true;
	line->limit = told->limit;
	line->left = Max(told->left, 0);
	line->used = told->limit < 0 ? -1 : Max(told->limit - line->left, 0);
	line->resets = told->until;
}

int
quota_look(QuotaAccount account, const QuotaRate *rate, TimestampTz now, QuotaLine *lines)
{
	QuotaSlot  *slot = slot_lock(account, rate != NULL && rate->n > 0);
	int			n = 0;

	memset(lines, 0, sizeof(QuotaLine) * QUOTA_LINES);
	if (slot == NULL)
		return 0;
	if (rate)
		slot_set_rate(slot, rate);
	for (int i = 0; i < QUOTA_LIMITS; i++)
		if (slot->windows[i].limit.calls > 0)
			look_at_window(&slot->windows[i], now, &lines[n++]);
	for (int i = 0; i < QUOTA_TOLD; i++)
		if (slot->told[i].said && slot->told[i].until > now)
			look_at_told(&slot->told[i], &lines[n++]);
	if (slot->blocked_until > now)
	{
		lines[n].told = lines[n].blocked = true;
		lines[n].limit = lines[n].used = -1;
		lines[n++].resets = slot->blocked_until;
	}
	lock_release(&slot->lock);
	return n;
}

int64
quota_left(QuotaAccount account, TimestampTz now)
{
	QuotaLine	lines[QUOTA_LINES];
	int			n = quota_look(account, NULL, now, lines);
	QuotaSlot  *slot;
	int64		left = -1;

	for (int i = 0; i < n; i++)
		if (left < 0 || lines[i].left < left)
			left = lines[i].left;
	if (left >= 0 || (slot = slot_lock(account, false)) == NULL)
		return left;
	left = slot->told_last;
	lock_release(&slot->lock);
	return left;
}
