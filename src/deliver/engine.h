/*
 * engine.h
 *	  A deliverer from the inside: what its files share.  Not for other rooms.
 *
 * Ownership: an entry belongs to its sync's hash table, its intents, key and
 * row to the sync's context; a call to its own context; a declaration to its
 * own, counted, because calls in flight outlive a redeclaration.  Everything
 * hangs under engine->context.
 */
#ifndef ACTIVATE_DELIVER_ENGINE_H
#define ACTIVATE_DELIVER_ENGINE_H

#include "access/xlogdefs.h"
#include "connector/connector.h"
#include "core/identity.h"
#include "core/shared.h"
#include "deliver/deliver.h"
#include "executor/spi.h"
#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "utils/hsearch.h"
#include "utils/uuid.h"

#define DELIVER_WINDOW		2000	/* entries of a sync in memory, not counting those that wait */
#define DELIVER_WAITING		100000	/* entries of a sync that wait for their next attempt */
#define DELIVER_RENDER		500 /* keys rendered by one statement */
#define DELIVER_FLUSH		500 /* outcomes settled by one transaction */
#define DELIVER_FLUSH_US	5000	/* an outcome waits no longer to be settled */
#define DELIVER_STALL_US	INT64CONST(250000)	/* SEMANTICS 18 */
#define DELIVER_LATE_US		INT64CONST(50000)	/* the same, where others wait for a connection */
#define DELIVER_ROUNDS_LATE		4	/* ... and so many times activate.connections were answered meanwhile */
#define DELIVER_STALLED_PER_TARGET	64
#define DELIVER_FIRST_CALLS		2		/* calls to a target that has not answered yet */
#define DELIVER_MOST_CONNECTIONS	1000	/* of activate.connections, and of the stalled ones */
#define DELIVER_LOCK_WAIT	"200ms" /* the others do not wait longer for a lock that one of them needs */
#define DELIVER_ID_LEN		16
#define DELIVER_ID_TEXT		37

/* What an ERROR that was caught said. */
typedef struct DeliverError
{
	int			sqlstate;
	char		message[512];
} DeliverError;

/* --- targets: server and user mapping --------------------------------- */

typedef struct DeliverTarget
{
	Oid			server;			/* these two: the key of the hash table */
	Oid			userid;			/* of the mapping; InvalidOid: public */
	char		name[NAMEDATALEN];
	SharedTargetState state;
	bool		paused;			/* by an operator, whatever the state */
	TimestampTz since;
	TimestampTz next_probe;		/* 0: none */
	bool		probing;		/* the one call of a target that is not up */
	int			in_flight;
	int			njobs;			/* of its syncs, under way */
	int			stalled;		/* of these, unanswered for long */
	int			earned;			/* as many may be in flight: one more with each answer */
	TimestampTz called_at;		/* the last time */
	TimestampTz heard_at;		/* when it answered last, or the first of those in flight was sent */
	uint64		answers;		/* so far */
	int			backoff;		/* probes that failed in a row */
	int			failed;			/* calls that failed since one succeeded */
	uint32		failed_key;		/* hash of the first of them */
	bool		failed_keys;	/* they were of two keys or more */
	int64		requests;
	int64		failures;
	TimestampTz quota_until[QUOTA_CLASSES]; /* the budget lets no call of that class go before */
	char		reason[128];
	struct DeliverToken *token; /* an access token that is being got; NULL: none is */
	TimestampTz token_at;		/* until then its rows wait for that; 0: they do not */
	int			slot;			/* in shared memory; -1: none was free */
	bool		unpublished;
	bool		unannounced;	/* its state has changed */
	dlist_head	syncs;
	dlist_node	node;			/* in engine->targets, round robin */
} DeliverTarget;

/* --- declarations ------------------------------------------------------ */

/* The statements that render, kept for a while and as long as the query's text stays the same. */
typedef struct RenderPlan
{
	SPIPlanPtr	together;		/* joined to all keys */
	SPIPlanPtr	one_by_one;
	double		cost_together;
	double		cost_one_by_one;
	bool		careful;		/* it took too long: one by one */
	bool		judged;			/* they say which rows are kept back */
	bool		held;			/* a row was met that lets nothing pass */
	TimestampTz made_at;
	char	   *query;
	uint64		epoch;			/* of the catalog caches when it was deparsed */
	MemoryContext context;
} RenderPlan;

typedef struct DeliverDeclaration
{
	MemoryContext context;
	int			references;
	Sync	   *sync;
	Connector  *connector;
	ConnectorAuth *auth;		/* NULL: could not be read, the target is in state auth */
	RenderPlan	plan;
	bool		image;
	int			batch;			/* options.batch; 0: as the connector says */
	bool		has_class;		/* options.priority */
	QuotaClass	class;			/* of all of its intents, then */
	bool		set_back;		/* the database was: deletes of a mirror are held */
	uint32		target_hash;	/* of the target in pg_class's cache */
} DeliverDeclaration;

/* --- queues ------------------------------------------------------------ */

typedef struct DeliverIntent
{
	dlist_node	node;
	QuotaClass	class;
	OutboxIntent intent;		/* key: the entry's; body: ours */
} DeliverIntent;

typedef struct DeliverKey
{
	Jsonb	   *key;
	int64		event;			/* id of the intent where there is no key, else 0 */
} DeliverKey;

/* A row of activate._sent, as far as it is known from the last look. */
typedef struct SentPlace
{
	pg_uuid_t	digest;			/* of the key */
	ItemPointerData tid;		/* invalid: there was none */
} SentPlace;

typedef enum EntryState
{
	ENTRY_NEW,					/* in no list */
	ENTRY_FRESH,				/* to be rendered */
	ENTRY_READY,				/* to be sent */
	ENTRY_FLYING,				/* part of a call */
	ENTRY_WAITING,				/* for due_at */
	ENTRY_SETTLING				/* its outcome is to be committed */
} EntryState;

/* A key of a sync with its intents, oldest first; at most one message of it is under way. */
typedef struct DeliverEntry
{
	DeliverKey	hash_key;		/* must be first */
	struct DeliverSync *sync;
	EntryState	state;
	QuotaClass	class;			/* the highest of its intents */
	dlist_node	node;			/* fresh or ready */
	pairingheap_node due_node;	/* waiting */
	dlist_head	intents;
	TimestampTz due_at;
	int			attempts;
	int			limit;			/* rows of the largest call it may join; 0: any */
	bool		perhaps_sent;	/* before a crash */
	bool		forgotten;		/* while under way: what is still in the outbox is read again */
	bool		uncertain;		/* an attempt may have reached the target: what that holds is not known */
	bool		refused;		/* there is a rejection of this key that its outcome overtakes */

	/* the message, since it was rendered */
	int			list;			/* of ready ones that it is in */
	int			covered;		/* leading intents that it stands for */
	int			epoch;			/* of the declaration */
	OutboxOp	op;
	Jsonb	   *row;			/* NULL for delete */
	char	   *text;			/* DeliverText.data, if the body holds it; NULL: to be made anew */
	bool		has_hash;
	int64		hash;
	int64		seq;
	uint64		nonce;			/* that the id was made with */
	uint8		id[DELIVER_ID_LEN];
	char	   *remote_id;
	SentPlace place;

	/* the last message that was tried: same content, same id and seq */
	bool		tried;
	bool		tried_ambiguous;	/* its outcome is unknown */
	uint8		tried_id[DELIVER_ID_LEN];
	uint64		tried_nonce;
	int64		tried_seq;
} DeliverEntry;

/* Ready entries are kept by class and, where a call holds only one, by operation. */
#define DELIVER_OPERATIONS	4
#define DELIVER_READY_LISTS (QUOTA_CLASSES * DELIVER_OPERATIONS)

typedef struct DeliverSync
{
	int64		id;				/* must be first: key of the hash table */
	dlist_node	all_node;		/* in engine->all_syncs */
	Oid			server;			/* InvalidOid: the target is gone */
	bool		listed;			/* seen in the last reading of declarations */
	bool		stale;			/* to be loaded (again) */
	bool		more;			/* the outbox may have intents that we have not */
	bool		news;			/* some of them may be changes that need not wait for the others */
	bool		held_back;		/* its target is paused */
	bool		broken;			/* paused, or pausing failed: nothing to do until reloaded */
	DeliverDeclaration *declaration;
	DeliverTarget *target;
	dlist_node	node;			/* in target->syncs */
	MemoryContext context;		/* of entries */
	OutboxCursor cursor;
	OutboxCursor ahead;			/* of changes, while the other has a long way to go */
	int64		run;			/* of the last intent that had one ... */
	bool		run_is_first;	/* ... is it the first since the declaration */
	int			epoch;			/* of the declaration that was loaded last */
	int64		least_seq;		/* see deliver_outcome_raised() */
	char	   *judged;			/* pg_snapshot: transactions that it shows were judged; NULL: none */
	bool		truncated;		/* the outbox has OUTBOX_TRUNCATE: nothing is rendered until it is worked off */
	int64		truncated_id;	/* the intent that is being worked off */
	pg_uuid_t  *truncated_upto; /* for it, the last row of _sent looked at, by digest; NULL: none */
	HTAB	   *entries;
	dlist_head	fresh[QUOTA_CLASSES];
	dlist_head	ready[DELIVER_READY_LISTS];
	pairingheap *waiting;
	int			nfresh[QUOTA_CLASSES];
	int			nready[DELIVER_READY_LISTS];
	int			nwaiting;
	int			nbusy;			/* flying or settling */
	bool		jobs_read;		/* those of the process before us are in memory */
	int			njobs;			/* under way */
	int			job_rows;		/* entries in them */
	int			render_limit;	/* keys at once; falls when they take too long */
	TimestampTz loaded_at;
	TimestampTz rest_until;		/* after an error that will pass */
	int			rests;
} DeliverSync;

/* --- calls ------------------------------------------------------------- */

typedef struct DeliverCall
{
	dlist_node	node;			/* in engine->young or ->stalled */
	MemoryContext context;
	DeliverSync *sync;
	DeliverTarget *target;
	DeliverDeclaration *declaration;
	const ConnectorWrite *write;
	HttpRequest *request;
	TimestampTz sent_at;
	uint64		answers_before; /* its target's, then */
	int64		ticket;			/* of the budget */
	uint64		token;			/* serial of the access token that the request holds; 0: none */
	bool		stalled;
	bool		probe;
	int			n;
	ConnectorRow *rows;
	DeliverEntry **entries;		/* of a job: NULL where the outcome is known */
	struct DeliverJob *job;		/* NULL: its answer tells the outcome */

	/* where a record is looked for first (lookup.c) */
	bool		looking;		/* that is what has been sent */
	bool		looked_again;
	LookupResult found;
	const ConnectorWrite *next; /* what is sent now instead of write; NULL: that */
	RowAnswer	refusal;		/* that made us look again */
} DeliverCall;

/* WAL of what was settled (disk.c); InvalidXLogRecPtr: none. */
typedef struct DeliverDisk
{
	XLogRecPtr	settled;		/* the newest, and since when the oldest of it waits */
	TimestampTz settled_since;
	XLogRecPtr	asked;			/* so far the worker was asked, and when */
	TimestampTz asked_at;
} DeliverDisk;

typedef struct DeliverEngine
{
	MemoryContext context;
	MemoryContext turn;			/* reset each turn */
	int			slot;
	int			deliverers;
	SharedDatabase *database;
	uint64		generation;
	bool		stale;			/* declarations are to be read again */
	bool		enabled;		/* installation and setting allow sending */
	bool		is_copy;		/* guarantee 10 */
	bool		gone;			/* the extension is */
	bool		ending;			/* another process is to go on */
	HttpPool   *pool;
	HTAB	   *syncs;
	dlist_head	all_syncs;		/* the same, to go through across transactions */
	HTAB	   *targets_by_key;
	dlist_head	targets;
	int			nactive;		/* of these, called lately */
	TimestampTz next_count;		/* of nactive */
	bool		unannounced;	/* one of them is */
	dlist_head	young;			/* calls in flight, oldest first */
	dlist_head	stalled;
	int			nyoung;
	int			nstalled;
	dlist_head	jobs;			/* under way, also between their requests */
	int64		horizon;		/* written: ids up to it may be sent */
	int64		horizon_before; /* of the process before us that crashed */
	int64		past;			/* ids up to it are of another life of the database */
	int64		sent_up_to;
	TimestampTz send_rest_until;
	int			send_rests;
	TimestampTz next_refresh;	/* after a failed reading of declarations */
	TimestampTz next_poll;
	TimestampTz next_follow;
	TimestampTz next_report;
	bool		busy;
	struct DeliverOutcome *outcomes;
	int			noutcomes;
	int			max_outcomes;
	MemoryContext outcome_context;
	TimestampTz oldest_outcome;
	DeliverDisk disk;
	TimestampTz settle_rest_until;
	int			settle_rests;
	int			nlocked;		/* leading outcomes that are locked */
	TimestampTz locked_until;	/* they wait, the others do not */
	int			locked_rests;
} DeliverEngine;

extern DeliverEngine *engine;

/* worker.c: settings */
extern int	deliver_connections;
extern int	deliver_stalled_connections;
extern int	deliver_render_timeout;
extern int	deliver_max_attempts;
extern int	deliver_retry_backoff;
extern int	deliver_retry_backoff_max;

/* transaction.c */
typedef void (*DeliverWork) (void *arg);

/*
 * Runs work in a transaction of its own, with a snapshot; false after an
 * ERROR, with the transaction aborted.  Memory context as before.
 */
extern void deliver_commit_surely(void);
extern bool deliver_transaction(DeliverWork work, void *arg, DeliverError *error);

/* In a subtransaction: for what may fail and leave the rest of the transaction be. */
extern bool deliver_subtransaction(DeliverWork work, void *arg, DeliverError *error);

/* Outside of any transaction: for code of other rooms that needs none but may throw. */
extern bool deliver_guarded(DeliverWork work, void *arg, DeliverError *error);

/* The same for code that converts texts of rows from and to UTF-8. */
extern bool deliver_converting(DeliverWork work, void *arg, DeliverError *error);

/* Will it pass (deadlock, disk full, source unreachable), whatever the row? */
extern bool deliver_error_is_transient(int sqlstate);

/* declare.c */
extern void deliver_declare_init(void);
extern bool deliver_declare_outdated(void);
extern void deliver_declare_refresh(void);
extern bool deliver_declare_load(DeliverSync *sync);
extern void deliver_declare_release(DeliverDeclaration *declaration);
extern void deliver_sync_rest(DeliverSync *sync, const DeliverError *error);
extern void deliver_sync_break(DeliverSync *sync, const char *reason);
extern void deliver_sync_hold(DeliverSync *sync, const char *reason);

/* entry.c */
extern void deliver_entry_raise(DeliverEntry *entry, QuotaClass class);
extern void deliver_entry_fresh(DeliverEntry *entry, bool front);
extern void deliver_entry_ready(DeliverEntry *entry, bool front);
extern void deliver_entry_wait(DeliverEntry *entry, TimestampTz due_at);
extern void deliver_entry_busy(DeliverEntry *entry, EntryState state);
extern void deliver_entry_done(DeliverEntry *entry);
extern bool deliver_entry_tried(DeliverEntry *entry);
extern void deliver_entry_clear(DeliverEntry *entry);
extern OutboxIntent *deliver_entry_head(const DeliverEntry *entry);
extern const OutboxIntent *deliver_entry_newest(const DeliverEntry *entry);
extern int64 deliver_entry_last_id(const DeliverEntry *entry);
extern void deliver_entry_forget(DeliverEntry *entry);
extern void deliver_entry_doubt(DeliverEntry *entry, const OutboxIntent *intent);
extern void deliver_entry_remember(DeliverEntry *entry, const OutboxIntent *intent);
extern bool deliver_entry_insert(DeliverEntry *entry, const OutboxIntent *intent, QuotaClass class);

/* queue.c */
extern void deliver_queue_create(DeliverSync *sync);
extern void deliver_queue_add(DeliverSync *sync, const OutboxIntent *intent, QuotaClass class);
extern DeliverEntry *deliver_queue_lease(DeliverSync *sync, const OutboxIntent *intents, int n);
extern void deliver_queue_reread(DeliverSync *sync);
extern void deliver_queue_forget(DeliverSync *sync);
extern void deliver_queue_unrender(DeliverSync *sync);
extern ArrayType *deliver_queue_busy_keys(DeliverSync *sync);
extern TimestampTz deliver_queue_wake_due(DeliverSync *sync, TimestampTz now);
extern int	deliver_queue_window(const DeliverSync *sync);
extern int	deliver_queue_window_ahead(const DeliverSync *sync);
extern int	deliver_fresh_total(const DeliverSync *sync);
extern int	deliver_ready_upto(const DeliverSync *sync, QuotaClass class);
extern int	deliver_ready_total(const DeliverSync *sync);
extern int	deliver_operation(const DeliverSync *sync, OutboxOp op);
extern int	deliver_sync_batch(const DeliverSync *sync, OutboxOp op);
extern int	deliver_sync_most(const DeliverSync *sync, OutboxOp op);
extern const ConnectorWrite *deliver_sync_write(const DeliverSync *sync, int list);
extern int	deliver_write_batch(const DeliverSync *sync, const ConnectorWrite *write);
extern int	deliver_ready_behind(const DeliverSync *sync, int list);

/* intake.c */
extern bool deliver_intake_wanted(const DeliverSync *sync);
extern void deliver_intake(DeliverSync *sync);

/* claim.c */
extern bool deliver_claim(TimestampTz now);
extern bool deliver_sync_may_grow(const DeliverSync *sync, QuotaClass class, TimestampTz now);

/* render.c */
extern void deliver_render_init(void);
extern bool deliver_render_plan(RenderPlan *plan, const Sync *sync, Jsonb **keys, int n, Rendered *out,
								char **reason, bool *slow, MemoryContext context);
extern void deliver_render_forget(RenderPlan *plan);
extern Datum deliver_text_array(char **strings, int n);

/* match.c */
extern Datum deliver_key_conditions(const Sync *sync);

/* target.c */
extern DeliverTarget *deliver_target_get(Oid server, Oid userid, const char *name);
extern void deliver_targets_count(TimestampTz now);
extern TimestampTz deliver_target_patience(const DeliverTarget *target, TimestampTz now);
extern bool deliver_call_late(const DeliverCall *call, TimestampTz now);
extern bool deliver_target_ready(const DeliverTarget *target, TimestampTz now);
extern void deliver_target_called(DeliverTarget *target, TimestampTz now);
extern void deliver_target_answered(DeliverTarget *target);
extern void deliver_target_unanswered(DeliverTarget *target);
extern void deliver_target_succeeded(DeliverTarget *target);
extern bool deliver_target_failed(DeliverTarget *target, const DeliverCall *call, const char *reason);
extern void deliver_target_outage(DeliverTarget *target, bool probe, const char *reason);
extern void deliver_target_throttled(DeliverTarget *target, int64 retry_after_ms, const char *reason);
extern void deliver_target_refused(DeliverTarget *target, SharedTargetState state, const char *reason);
extern void deliver_target_note(DeliverTarget *target, const char *note);
extern void deliver_target_pause(DeliverTarget *target, bool paused);
extern void deliver_target_probe_now(DeliverTarget *target);
extern void deliver_targets_publish(void);
extern void deliver_targets_prune(void);
extern int64 deliver_backoff_us(int step, bool full_jitter);

/* token.c */
typedef struct DeliverToken DeliverToken;

extern bool deliver_token_ready(DeliverTarget *target, DeliverDeclaration *declaration, TimestampTz now);
extern void deliver_token_received(HttpRequest *request);
extern void deliver_tokens_go(TimestampTz now);
extern bool deliver_token_refused(const DeliverCall *call);
extern void deliver_token_accepted(const DeliverCall *call);

/* budget.c: what the account of a target may still be asked */
extern bool deliver_budget_take(const DeliverSync *sync, int list, TimestampTz now, int64 *ticket);
extern bool deliver_budget_take_for(DeliverTarget *target, const Connector *connector, QuotaClass class, int cost,
									TimestampTz now, int64 *ticket);
extern void deliver_budget_answered(const DeliverCall *call);
extern void deliver_budget_block(const DeliverTarget *target, TimestampTz until);
extern void deliver_budget_look_again(DeliverTarget *target);
extern TimestampTz deliver_budget_next(const DeliverSync *sync);

/* announce.c */
extern void deliver_targets_announce(void);

/* batch.c, answer.c */
extern bool deliver_send(TimestampTz now);
extern void deliver_call_stalls(TimestampTz now);
extern bool deliver_connection_free(void);
extern bool deliver_call_build(DeliverCall *call);
extern void deliver_call_go(DeliverCall *call);
extern void deliver_call_landed(DeliverCall *call);
extern void deliver_call_end(DeliverCall *call);
extern void deliver_received(HttpRequest *request);
extern int	deliver_call_outcomes(DeliverCall *call, RowAnswer *answers, bool settled);

/* lookup.c: search before write */
extern AnswerClass deliver_lookup_read(DeliverCall *call, RowAnswer *answer, int64 *retry_after_ms);
extern bool deliver_lookup_goes_on(DeliverCall *call, RowAnswer *answer);

/* finish.c */
extern void deliver_finish_init(void);
extern bool deliver_asked_to_stop(void);
extern void deliver_cancellable(bool allowed);
extern void deliver_finish(void);

/* horizon.c */
extern void deliver_horizon_read(void);
extern bool deliver_horizon_ensure(int64 id);
extern void deliver_horizon_leave(int64 upto);

#include "deliver/message.h"
#include "deliver/outcome.h"

#endif							/* ACTIVATE_DELIVER_ENGINE_H */
