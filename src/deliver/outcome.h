/*
 * outcome.h
 *	  What has become of a message, and how that is written down: part of
 *	  engine.h, which includes it.
 */
#ifndef ACTIVATE_DELIVER_OUTCOME_H
#define ACTIVATE_DELIVER_OUTCOME_H

typedef enum OutcomeKind
{
	OUTCOME_DELIVERED,
	OUTCOME_REJECTED,
	OUTCOME_SKIPPED,
	OUTCOME_SUPERSEDED,
	OUTCOME_RETRIED,			/* put off */
	OUTCOME_AMBIGUOUS,			/* put off */
	OUTCOME_NOTED,				/* a receipt only: "ambiguous" of a message perhaps sent before a crash */
	OUTCOME_OVERTAKEN			/* a receipt only: "superseded", of an ambiguous message whose row changed */
} OutcomeKind;

typedef struct DeliverOutcome
{
	OutcomeKind kind;
	DeliverEntry *entry;		/* NULL for a receipt only, which may outlive the entry */
	bool		settled;
	bool		locked;			/* somebody keeps what it would change locked */
	int64		sync;
	Jsonb	   *key;			/* the entry's, or a copy */
	OutboxOp	op;
	bool		image;			/* is the row kept in _sent */
	bool		warned;			/* OUTCOME_DELIVERED: with a reason */
	uint8		id[DELIVER_ID_LEN];
	bool		has_id;
	char		code[16];		/* "" is NULL; "duplicate_key" is the longest */
	char	   *reason;			/* palloc'd in engine->outcome_context, or NULL */
	char	   *remote_id;		/* the same */
	TimestampTz at;
	TimestampTz due_at;			/* of those put off */
	int64		latency_us;		/* -1: none */
	bool		opens_call;		/* the first outcome of its call */
	struct DeliverJob *job;		/* that waits for it to be settled; NULL: none */
} DeliverOutcome;

/* sent.c */
extern void deliver_sent_known(int64 sync, Jsonb **keys, int n, DeliverKnown *out, MemoryContext context);

/* record.c */
extern void deliver_record(const DeliverOutcome *outcomes, int n);

/* settle.c */
extern DeliverOutcome *deliver_outcome(DeliverEntry *entry, OutcomeKind kind);
extern bool deliver_outcome_raised(const DeliverOutcome *outcome);
extern void deliver_outcome_reason(DeliverOutcome *outcome, const char *code, const char *reason);
extern bool deliver_settle_due(TimestampTz now);
extern TimestampTz deliver_settle_next(void);
extern void deliver_settle(void);

/* disk.c */
extern void deliver_disk_settled(TimestampTz now);
extern void deliver_disk_flush(TimestampTz now);
extern TimestampTz deliver_disk_next(void);

#endif							/* ACTIVATE_DELIVER_OUTCOME_H */
