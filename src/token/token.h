/*
 * token.h
 *	  Access tokens that APIs hand out for a while: one per account (database,
 *	  server, role of the user mapping) in shared memory, got by one process for
 *	  all.  Knows nothing of how they are got.
 *
 * They are nowhere else: not in a file, a table or a message.  Without
 * shared_preload_libraries there are none.
 */
#ifndef ACTIVATE_TOKEN_H
#define ACTIVATE_TOKEN_H

#include "datatype/timestamp.h"
#include "storage/condition_variable.h"

#define TOKEN_MAX		8192	/* bytes of an access token: a header must hold it */
#define TOKEN_RENEW_MAX	4096	/* bytes of a refresh token */
#define TOKEN_REASON	128

typedef struct TokenAccount
{
	Oid			server;
	Oid			userid;			/* of the mapping; InvalidOid: public */
} TokenAccount;

/* Of the credentials that a token was got by: others need another. */
typedef struct TokenDigest
{
	uint8		bytes[16];
} TokenDigest;

typedef enum TokenState
{
	TOKEN_ABSENT,				/* somebody should get one */
	TOKEN_AWAITED,				/* somebody does */
	TOKEN_GOOD,
	TOKEN_ENDING,				/* still good, but somebody should get the next */
	TOKEN_FAILED				/* it was not given: see failure, reason, until */
} TokenState;

typedef enum TokenFailure
{
	TOKEN_REFUSED,				/* the credentials are not accepted */
	TOKEN_UNREACHABLE,			/* no answer, or none that makes sense */
	TOKEN_THROTTLED				/* asked to wait until then */
} TokenFailure;

typedef struct TokenLook
{
	TokenState	state;
	uint64		serial;			/* of the token */
	bool		renewed;		/* it was got because the one before was refused, and was not accepted since */
	TokenFailure failure;
	TimestampTz until;
	char		reason[TOKEN_REASON];
	char		value[TOKEN_MAX + 1];	/* of GOOD and ENDING, unless the caller has that serial */
} TokenLook;

/* From _PG_init under preload only. */
extern void token_init(void);
extern bool token_available(void);

/* What there is.  known: the serial of the token that the caller has already; 0: none. */
extern void token_look(TokenAccount account, const TokenDigest *digest, uint64 known, TimestampTz now, TokenLook *look);

/*
 * True: the caller is the one who gets it, until token_put(), token_fail() or
 * its end.  False: another is at it.
 */
extern bool token_claim(TokenAccount account);
/* lifetime_us 0: not said.  renewal: a refresh token that cannot be kept elsewhere, for token_renewal(); NULL: none. */
extern void token_put(TokenAccount account, const TokenDigest *digest, const char *value, int64 lifetime_us,
					  const char *renewal, TimestampTz now);
/* digest NULL: whatever the credentials. */
extern void token_fail(TokenAccount account, const TokenDigest *digest, TokenFailure failure, const char *reason, TimestampTz until);
/* Is there one that may be used? */
extern bool token_is_good(TokenAccount account, const TokenDigest *digest, TimestampTz now);
/* What was the reason of a failure may have changed. */
extern void token_try_again(TokenAccount account);
/* palloc'd; NULL: there is none by these credentials. */
extern char *token_renewal(TokenAccount account, const TokenDigest *digest);

/*
 * The API has refused the token with that serial.  True: it is to be tried again
 * with another, which is there or is to be got.  False: this one was got just for that.
 */
extern bool token_refused(TokenAccount account, uint64 serial, TimestampTz now);
/* It has accepted it. */
extern void token_accepted(TokenAccount account, uint64 serial);

/* Is the caller to see to it that somebody gets it?  True for one of all who ask within a second. */
extern bool token_ask(TokenAccount account, TimestampTz now);

/* To wait for what others do: broadcast at each change. */
extern ConditionVariable *token_changes(void);

#endif							/* ACTIVATE_TOKEN_H */
