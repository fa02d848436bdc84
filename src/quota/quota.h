/*
 * quota.h
 *	  How many calls an API lets an account make, whoever makes them: one
 *	  budget per account (database, server, role of the user mapping) in shared
 *	  memory, for deliverers and for every backend that reads.
 *
 * What is declared (a rate: so many calls per so long, several at once) is
 * counted by ourselves; what the API says of itself (calls that are left, and
 * until when) lowers it, because others may use the same account; "wait" (429)
 * empties it until the time told.
 *
 * Nothing outlives a restart of the server: see docs/quota.md.  Without
 * shared_preload_libraries each process has a budget of its own.
 */
#ifndef ACTIVATE_QUOTA_H
#define ACTIVATE_QUOTA_H

#include "datatype/timestamp.h"

#define QUOTA_LIMITS	4		/* of one rate */
#define QUOTA_TOLD		4		/* that an API says of itself at once */

/* The higher class first; it keeps a share of each budget that the lower ones do not touch. */
typedef enum QuotaClass
{
	QUOTA_INTERACTIVE,
	QUOTA_NORMAL,
	QUOTA_BACKFILL
} QuotaClass;

#define QUOTA_CLASSES	3

typedef struct QuotaLimit
{
	int64		calls;
	int64		per_us;
} QuotaLimit;

typedef struct QuotaRate
{
	int			n;				/* 0: nothing is declared */
	QuotaLimit	limits[QUOTA_LIMITS];
} QuotaRate;

/* What one answer says; the same place in the list is the same budget each time. */
typedef struct QuotaTold
{
	bool		said;
	int64		left;
	int64		limit;			/* -1: not said */
	TimestampTz until;			/* when it is renewed */
} QuotaTold;

typedef struct QuotaAccount
{
	Oid			server;
	Oid			userid;			/* of the mapping; InvalidOid: public */
} QuotaAccount;

typedef struct QuotaGrant
{
	int64		ticket;			/* of a call that may go: for quota_learn() */
	TimestampTz until;			/* of one that may not: not before */
	bool		told;			/* the API said so, not the declared rate */
} QuotaGrant;

/* What is known of one budget of an account, for people. */
typedef struct QuotaLine
{
	bool		told;			/* by the API; else declared */
	bool		blocked;		/* nothing may go */
	int64		limit;			/* -1: not known */
	int64		used;			/* -1: not known */
	int64		left;
	int64		per_us;			/* of declared ones */
	TimestampTz resets;			/* 0: nothing is used */
} QuotaLine;

#define QUOTA_LINES		(QUOTA_LIMITS + QUOTA_TOLD + 1)

/* From _PG_init under preload only. */
extern void quota_init(void);

/* True: the call is counted and may go.  False: not before grant->until. */
extern bool quota_take(QuotaAccount account, const QuotaRate *rate, QuotaClass class, int cost,
					   TimestampTz now, QuotaGrant *grant);

/* What the answer to the call with that ticket said; told[QUOTA_TOLD]. */
extern void quota_learn(QuotaAccount account, const QuotaTold *told, int64 ticket, TimestampTz now);

/* Nothing may go until then. */
extern void quota_block(QuotaAccount account, TimestampTz until);

/* Until when nothing may go; 0: no such thing. */
extern TimestampTz quota_blocked(QuotaAccount account);

/* What the API has said does not hold any more, for all accounts of the server. */
extern void quota_forget(Oid server);

/* How many lines; lines[QUOTA_LINES].  rate NULL: as it was used last. */
extern int	quota_look(QuotaAccount account, const QuotaRate *rate, TimestampTz now, QuotaLine *lines);

/* Calls that may still go by the tightest budget; -1: none is known. */
extern int64 quota_left(QuotaAccount account, TimestampTz now);

/* Of a limit, what calls of a class may use together with all others. */
extern int64 quota_share(int64 limit, QuotaClass class);

extern const char *quota_class_name(QuotaClass class);
/* QUOTA_CLASSES: there is none of that name. */
extern int	quota_class_named(const char *name);

#endif							/* ACTIVATE_QUOTA_H */
