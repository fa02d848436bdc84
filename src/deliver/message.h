/*
 * message.h
 *	  What becomes of a message before it is sent: part of engine.h, which
 *	  includes it.
 */
#ifndef ACTIVATE_DELIVER_MESSAGE_H
#define ACTIVATE_DELIVER_MESSAGE_H

/* held.c: the limit of a mirror for captured transactions */
typedef struct HeldWork
{
	char	   *judged;			/* pg_snapshot, in engine->turn; NULL: nothing was asked */
	bool		any;			/* intents became held */
	int64		truncate;		/* a TRUNCATE was looked into; 0: none */
	pg_uuid_t  *truncate_upto;	/* so far, in engine->turn; NULL: to the end */
	List	   *told;			/* lines for the log */
} HeldWork;

extern bool deliver_held_applies(const DeliverSync *sync);
extern void deliver_held_check(HeldWork *held, DeliverSync *sync, DeliverEntry **entries, int n, bool *waits);
extern void deliver_held_done(HeldWork *held, DeliverSync *sync);
extern Datum deliver_held_gone(DeliverSync *sync, Datum keys);

/* truncate.c: the deletes of a TRUNCATE, which are always held */
extern void deliver_truncate_step(HeldWork *held, DeliverSync *sync);
extern void deliver_truncate_done(const HeldWork *held, DeliverSync *sync);

/* message.c */
typedef struct DeliverKnown
{
	SentPlace place;
	bool		sent;
	bool		has_hash;
	int64		hash;
	int64		seq;
	int64		run;			/* whose message that was; 0: of none */
	char	   *remote_id;
	bool		refused;		/* the last answer for this key was a rejection */
	bool		undone;			/* it was not: activate_undo() took it back */
	bool		has_refused_hash;
	int64		refused_hash;
	bool		refused_delete;
} DeliverKnown;

typedef enum DeliverDecision
{
	DECIDED_SEND,
	DECIDED_SKIP,
	DECIDED_REFUSED,			/* skip: the target has refused just that */
	DECIDED_SUPERSEDED
} DeliverDecision;

extern DeliverDecision deliver_decide(const Sync *sync, bool found, int64 hash, bool forced,
									  bool uncertain, const DeliverKnown *known, OutboxOp *op);
extern void deliver_known(int64 sync, Jsonb **keys, int n, DeliverKnown *out, MemoryContext context);

/* Key and row as JSON: an id is made of them, and the body of a webhook holds them as they are. */
typedef struct DeliverText
{
	char	   *data;			/* the key and, behind its end, the row; palloc'd */
	int			key_len;
	int			row_len;		/* 0: there is none */
} DeliverText;

#define deliver_text_row(data) ((data) + strlen(data) + 1)

extern DeliverText deliver_text(Jsonb *key, Jsonb *row);
extern void deliver_message_id(uint8 *id, uint64 nonce, int64 sync, OutboxOp op, const DeliverText *text);
extern char *deliver_id_text(const uint8 *id, char *out);
extern void deliver_call_key(const ConnectorRow *rows, int n, const ConnectorWrite *write, char *out);
extern Jsonb *deliver_target_key(const Sync *sync, Jsonb *key);
extern int64 deliver_next_seq(void);

/* prepare.c */
extern bool deliver_is_event(const DeliverEntry *entry);
extern void deliver_prepare(DeliverEntry *entry, const Rendered *rendered, const DeliverKnown *known);

/* kept.c */
extern void deliver_kept_apply(const Sync *sync, const DeliverKnown *known, Rendered *rendered, int n);
extern bool deliver_kept_refuses(OutboxOp op, const Rendered *rendered, bool forced, bool uncertain);
extern Jsonb *deliver_kept_body(const Sync *sync, const DeliverKnown *known, Jsonb *body);

/* undo.c */
extern const OutboxIntent *deliver_undo_ahead(const DeliverEntry *entry, int *covered);
extern bool deliver_undo_stands(const OutboxIntent *undo, const DeliverKnown *known, bool uncertain);

#endif							/* ACTIVATE_DELIVER_MESSAGE_H */
