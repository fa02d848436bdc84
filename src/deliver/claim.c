/*
 * claim.c
 *	  From the outbox to messages that are ready to be sent: take in, render,
 *	  look up what was sent, decide.  One short transaction per sync; nothing
 *	  here waits for the network.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/clock.h"
#include "deliver/engine.h"
#include "deliver/merge.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A sync's turn. */
typedef struct ClaimWork
{
	DeliverSync *sync;
	bool		claiming;		/* an error now leaves the cursor in doubt */
	bool		target_ready;
	bool		slow;			/* the statement that renders was stopped */
	int			rendered;
	char	   *broken;			/* why the sync cannot work */
	HeldWork	held;
} ClaimWork;

static void claim_work(void *arg);
static void render_fresh(ClaimWork *work);
static bool render_entries(ClaimWork *work, DeliverEntry **entries, int n, Rendered *rendered);
static bool *check_deletes(ClaimWork *work, DeliverEntry **entries, int n, const Rendered *rendered,
						   const DeliverKnown *known);
static void prepare_event(DeliverEntry *entry, const DeliverKnown *known);
static void prepare_undo(DeliverEntry *entry, const OutboxIntent *undo, const DeliverKnown *known);
static void prepare_entry(DeliverEntry *entry, const Rendered *rendered, const DeliverKnown *known);
static void prepare_message(DeliverEntry *entry, OutboxOp op, Jsonb *row, const DeliverKnown *known);
static void settle_entry(DeliverEntry *entry, OutcomeKind kind, OutboxOp op, const char *code, const char *reason);

/* Ready rows that a sync is kept supplied with. */
static int
low_water(const DeliverSync *sync)
{
	OutboxOp	op = outbox_mode_op(sync->declaration->sync->mode);

	return Max(DELIVER_RENDER, 2 * deliver_sync_batch(sync, op));
}

/* Can its ready rows of a class, and of those above it, become more without anything else happening? */
bool
deliver_sync_may_grow(const DeliverSync *sync, QuotaClass class, TimestampTz now)
{
	if (sync->broken || sync->rest_until > now)
		return false;
	for (int i = 0; i <= class; i++)
		if (sync->nfresh[i] > 0)
			return true;
	return sync->more && deliver_queue_window(sync) > 0;
}

/* The lowest class that is to be rendered now: each has its supply, whatever there is of lower ones; -1: none. */
static int
renders_upto(const DeliverSync *sync)
{
	int			upto = -1;

	for (int class = 0; class < QUOTA_CLASSES; class++)
		if (sync->nfresh[class] > 0 && deliver_ready_upto(sync, class) < low_water(sync))
			upto = class;
	return upto;
}

/* Before a target that refused the secret is probed, that is read again: it may stand in a file. */
static bool
secret_may_have_changed(const DeliverSync *sync, TimestampTz now)
{
	return sync->target != NULL && sync->target->state == TARGET_AUTH && !sync->target->probing &&
		sync->target->next_probe <= now && sync->loaded_at < sync->target->next_probe;
}

static bool
wants_turn(DeliverSync *sync, TimestampTz now)
{
	if (sync->broken || sync->rest_until > now)
		return false;
	if (sync->truncated || deliver_intake_wanted(sync))
		return true;
	if (deliver_fresh_total(sync) == 0)
		return false;
	if (secret_may_have_changed(sync, now))
		sync->stale = true;
	return sync->stale || sync->declaration == NULL ||
		(deliver_target_ready(sync->target, now) && renders_upto(sync) >= 0);
}

static void
after_error(ClaimWork *work, const DeliverError *error)
{
	if (work->claiming)
		deliver_queue_reread(work->sync);
	if (deliver_error_is_transient(error->sqlstate))
		deliver_sync_rest(work->sync, error);
	else
		deliver_sync_break(work->sync, error->message);
}

/*
 * A statement that takes too long comes again with fewer keys, and the sync
 * rests four times as long as it kept the others waiting.
 */
static void
adapt_render_limit(ClaimWork *work, TimestampTz started)
{
	DeliverSync *sync = work->sync;

	if (work->slow)
	{
		sync->render_limit = Max(1, Min(sync->render_limit, work->rendered) / 8);
		sync->rest_until = clock_now() + 4 * (clock_now() - started);
	}
	else if (work->rendered > 0)
		sync->render_limit = Min(DELIVER_RENDER, sync->render_limit * 2);
}

/* One turn for each sync that has something to claim or render; true: there is more at once. */
bool
deliver_claim(TimestampTz now)
{
	dlist_iter	iter;
	bool		more = false;

	if (!engine->enabled)
		return false;
	dlist_foreach(iter, &engine->all_syncs)
	{
		DeliverSync *sync = dlist_container(DeliverSync, all_node, iter.cur);
		ClaimWork	work = {.sync = sync};
		DeliverError error;
		TimestampTz started;

		if (deliver_asked_to_stop())
			return false;

		(void) deliver_queue_wake_due(sync, now);
		if (!wants_turn(sync, now) || !deliver_declare_load(sync))
			continue;
		work.target_ready = deliver_target_ready(sync->target, now);
		started = clock_now();
		if (!deliver_transaction(claim_work, &work, &error))
			after_error(&work, &error);
		else
		{
			sync->rests = 0;
			deliver_held_done(&work.held, sync);
			if (work.broken)
				deliver_sync_break(sync, work.broken);
			else
				adapt_render_limit(&work, started);
		}
		more |= wants_turn(sync, now);
	}
	return more;
}

static void
claim_work(void *arg)
{
	ClaimWork  *work = arg;
	DeliverSync *sync = work->sync;

	if (deliver_intake_wanted(sync))
	{
		work->claiming = true;
		deliver_intake(sync);
		work->claiming = false;
		if (deliver_declare_outdated())
			return;
	}
	if (sync->truncated)
		deliver_truncate_step(&work->held, sync);
	else if (work->target_ready && renders_upto(sync) >= 0)
		render_fresh(work);
}

/* An intent that brings its content, or needs none. */
static bool
is_event(const DeliverEntry *entry)
{
	const OutboxIntent *head = deliver_entry_head(entry);
	int			covered;

	return head->body != NULL || (head->op == OUTBOX_DELETE && entry->sync->declaration->sync->implicit) ||
		deliver_undo_ahead(entry, &covered) != NULL;
}

/* The leading intents that one rendering can stand for. */
static int
count_covered(const DeliverEntry *entry, bool *forced)
{
	dlist_iter	iter;
	int			n = 0;

	*forced = false;
	dlist_foreach(iter, unconstify(dlist_head *, &entry->intents))
	{
		const OutboxIntent *intent = &dlist_container(DeliverIntent, node, iter.cur)->intent;

		if (intent->body != NULL || intent->undo != UNDO_NONE)
			break;
		*forced |= intent->forced;
		n++;
	}
	return n;
}

static void
render_fresh(ClaimWork *work)
{
	DeliverSync *sync = work->sync;
	int			n = 0;
	int			most = Min(sync->render_limit, deliver_fresh_total(sync));
	DeliverEntry **entries = palloc(sizeof(DeliverEntry *) * most);
	Jsonb	  **keys = palloc(sizeof(Jsonb *) * most);
	Rendered   *rendered = palloc0(sizeof(Rendered) * most);
	DeliverKnown *known = palloc(sizeof(DeliverKnown) * most);
	bool	   *waits;
	dlist_iter	iter;

	for (int class = 0; class <= renders_upto(sync); class++)
		dlist_foreach(iter, &sync->fresh[class])
		{
			if (n == most)
				break;
			entries[n] = dlist_container(DeliverEntry, node, iter.cur);
			keys[n] = entries[n]->hash_key.key;
			n++;
		}
	if (!render_entries(work, entries, n, rendered))
		return;
	deliver_known(sync->id, keys, n, known, CurrentMemoryContext);
	waits = check_deletes(work, entries, n, rendered, known);
	for (int i = 0; i < n; i++)
		if (waits == NULL || !waits[i])
			prepare_entry(entries[i], &rendered[i], &known[i]);
}

/* Which of the entries are deletes that are held; NULL: none.  What stays fresh is forgotten after the commit. */
static bool *
check_deletes(ClaimWork *work, DeliverEntry **entries, int n, const Rendered *rendered, const DeliverKnown *known)
{
	DeliverEntry **deletes = palloc(sizeof(DeliverEntry *) * n);
	int		   *places = palloc(sizeof(int) * n);
	bool	   *found = palloc0(sizeof(bool) * n);
	bool	   *waits = palloc0(sizeof(bool) * n);
	int			count = 0;

	if (!deliver_held_applies(work->sync))
		return NULL;
	for (int i = 0; i < n; i++)
		if (!is_event(entries[i]) && !rendered[i].found && rendered[i].error == NULL &&
			(known[i].sent || entries[i]->uncertain))
		{
			places[count] = i;
			deletes[count++] = entries[i];
		}
	if (count == 0)
		return NULL;
	deliver_held_check(&work->held, work->sync, deletes, count, found);
	for (int i = 0; i < count; i++)
		waits[places[i]] = found[i];
	return waits;
}

/* Those that are no events by one statement, scattered back to their places. */
static bool
render_entries(ClaimWork *work, DeliverEntry **entries, int n, Rendered *rendered)
{
	DeliverDeclaration *declaration = work->sync->declaration;
	char	   *reason;
	Jsonb	  **keys = palloc(sizeof(Jsonb *) * n);
	int		   *places = palloc(sizeof(int) * n);
	Rendered   *out = palloc0(sizeof(Rendered) * n);
	int			count = 0;

	for (int i = 0; i < n; i++)
		if (!is_event(entries[i]))
		{
			places[count] = i;
			keys[count++] = entries[i]->hash_key.key;
		}
	if (count == 0)
		return true;
	work->rendered = count;
	if (!deliver_render_plan(&declaration->plan, declaration->sync, keys, count, out,
							 &reason, &work->slow, CurrentMemoryContext))
	{
		/* it is told when this transaction is over */
		work->broken = MemoryContextStrdup(engine->turn, reason);
		return false;
	}
	if (work->slow && count > 1)
		return false;
	for (int i = 0; i < count; i++)
		rendered[places[i]] = out[i];
	return true;
}

/*
 * A row that was to be sent and has gone since, where only runs look for
 * deletes: the next run finds it, and weighs it against the mirror limit.
 * (For triggers each transaction was weighed: held.c.)
 */
static bool
unplanned_delete(const DeliverEntry *entry)
{
	dlist_node *node = entry->intents.head.next;

	if (entry->sync->declaration->sync->capture == CAPTURE_TRIGGER)
		return false;
	for (int i = 0; i < entry->covered; i++, node = node->next)
		if (dlist_container(DeliverIntent, node, node)->intent.op == OUTBOX_DELETE)
			return false;
	return true;
}

/* An event is a message of its own, but for what merges of DML on a foreign table. */
static void
prepare_event(DeliverEntry *entry, const DeliverKnown *known)
{
	const Sync *sync = entry->sync->declaration->sync;
	OutboxIntent *head = deliver_entry_head(entry);
	dlist_node *node = entry->intents.head.next;
	DeliverMerge merge;

	deliver_merge_begin(&merge, head, entry->uncertain);
	while (sync->implicit && (node = node->next) != &entry->intents.head &&
		   deliver_merge_add(&merge, &dlist_container(DeliverIntent, node, node)->intent))
		;
	entry->covered = merge.n;
	if (merge.nothing)
	{
		entry->refused = false; /* nothing was written that could make good what was refused */
		settle_entry(entry, OUTCOME_SUPERSEDED, merge.op, NULL, NULL);
	}
	else
		prepare_message(entry, merge.op == OUTBOX_CHANGE ? outbox_mode_op(sync->mode) : merge.op, merge.body, known);
}

/* What the target held before a run, or since that was undone.  It makes nothing good that was refused: not sending that again is the point. */
static void
prepare_undo(DeliverEntry *entry, const OutboxIntent *undo, const DeliverKnown *known)
{
	entry->refused = false;
	entry->has_hash = undo->has_planned;
	entry->hash = undo->planned;
	/* whether an attempt of its own has arrived does not matter: nothing else has changed then */
	if (deliver_undo_stands(undo, known, entry->uncertain && entry->covered > 1))
		prepare_message(entry, undo->op, undo->body, known);
	else
		settle_entry(entry, OUTCOME_SUPERSEDED, undo->op == OUTBOX_CHANGE ? entry->op : undo->op, NULL, NULL);
}

/* Decides what becomes of a rendered entry (SEMANTICS 1). */
static void
prepare_entry(DeliverEntry *entry, const Rendered *rendered, const DeliverKnown *known)
{
	const Sync *sync = entry->sync->declaration->sync;
	OutboxOp	op = outbox_mode_op(sync->mode);
	const OutboxIntent *undo;
	bool		forced;

	entry->epoch = sync->epoch;
	entry->op = op;
	entry->place = known->place;
	/* an event that was refused is not made good by another */
	entry->refused = known->refused && (sync->mode != SYNC_APPEND || sync->implicit);
	if ((undo = deliver_undo_ahead(entry, &entry->covered)) != NULL)
	{
		prepare_undo(entry, undo, known);
		return;
	}
	if (is_event(entry))
	{
		prepare_event(entry, known);
		return;
	}
	entry->covered = count_covered(entry, &forced);
	if (rendered->error)
	{
		settle_entry(entry, OUTCOME_REJECTED, op, rendered->sqlstate, rendered->error);
		return;
	}
	if (rendered->duplicate)
	{
		settle_entry(entry, OUTCOME_REJECTED, op, "duplicate_key", "more than one row of the source has this key");
		return;
	}
	switch (deliver_decide(sync, rendered->found, rendered->hash, forced, entry->uncertain, known, &op))
	{
		case DECIDED_REFUSED:
			entry->refused = false;
			/* FALLTHROUGH */
		case DECIDED_SKIP:
			settle_entry(entry, OUTCOME_SKIPPED, op, NULL, NULL);
			break;
		case DECIDED_SUPERSEDED:
			settle_entry(entry, OUTCOME_SUPERSEDED, op, NULL, NULL);
			break;
		case DECIDED_SEND:
			if (op == OUTBOX_DELETE && known->sent && unplanned_delete(entry))
			{
				settle_entry(entry, OUTCOME_SUPERSEDED, op, NULL, NULL);
				break;
			}
			entry->has_hash = rendered->found;
			entry->hash = rendered->hash;
			prepare_message(entry, op, op == OUTBOX_DELETE ? NULL : rendered->row, known);
			break;
	}
}

/*
 * An earlier message of the key may have reached the target, with what the row
 * was then.  Who comes after a crash must know under which numbers this one
 * goes: another content, or the older one once more, is neither older nor a
 * repeat of it.
 */
static void
note_identity(const DeliverEntry *entry)
{
	pg_uuid_t	message;

	memcpy(message.data, entry->id, UUID_LEN);
	outbox_note(deliver_entry_newest(entry), entry->seq, entry->nonce, &message);
	/* before it goes */
	ForceSyncCommit();
}

/*
 * Same content as was tried: the same message.  Else one of its own, also if an
 * older content has come back: the receiver, who may have got what was in
 * between, would take that for a repeat.
 */
static void
message_identity(DeliverEntry *entry, OutboxOp op, Jsonb *row, const DeliverKnown *known)
{
	int64		sync = entry->sync->id;
	Jsonb	   *key = entry->hash_key.key;

	entry->nonce = entry->tried_nonce;
	if (entry->tried)
		deliver_message_id(entry->id, entry->nonce, sync, key, op, row);
	if (entry->tried && memcmp(entry->id, entry->tried_id, DELIVER_ID_LEN) == 0)
	{
		entry->seq = entry->tried_seq;
		return;
	}

	/* the unknown outcome of the older content matters no more */
	if (entry->tried && entry->tried_ambiguous)
		deliver_outcome(entry, OUTCOME_OVERTAKEN);
	entry->seq = deliver_entry_last_id(entry);
	entry->nonce = deliver_entry_newest(entry)->nonce;
	if (entry->tried && entry->seq <= entry->tried_seq)
		entry->nonce = entry->tried_nonce + 1;
	/* under which number a message was refused, after attempts that may have arrived, no table tells */
	if (entry->seq <= engine->past || known->refused || (known->sent && entry->seq <= known->seq) ||
		(entry->tried && entry->seq <= entry->tried_seq))
		entry->seq = deliver_next_seq();
	/* tried stays what it is until this one has gone: it may be rendered once more before */
	entry->tried_ambiguous = false;
	deliver_message_id(entry->id, entry->nonce, sync, key, op, row);
	if (entry->uncertain && (deliver_entry_newest(entry)->undo != UNDO_NONE || !is_event(entry)))
		note_identity(entry);
}

static void
prepare_message(DeliverEntry *entry, OutboxOp op, Jsonb *row, const DeliverKnown *known)
{
	DeliverSync *sync = entry->sync;
	Connector  *connector = sync->declaration->connector;

	entry->op = op;
	if (connector_write(connector, op) == NULL)
	{
		settle_entry(entry, OUTCOME_REJECTED, op, "unsupported",
					 psprintf("object \"%s\" of connector \"%s\" has no operation \"%s\"",
							  connector->object, connector->name, outbox_op_name(op)));
		return;
	}
	if (row)
	{
		entry->row = MemoryContextAlloc(sync->context, VARSIZE(row));
		memcpy(entry->row, row, VARSIZE(row));
	}
	if (known->remote_id)
		entry->remote_id = MemoryContextStrdup(sync->context, known->remote_id);
	message_identity(entry, op, row, known);
	deliver_entry_ready(entry, false);
}

/* Nothing is sent for it. */
static void
settle_entry(DeliverEntry *entry, OutcomeKind kind, OutboxOp op, const char *code, const char *reason)
{
	DeliverOutcome *outcome;

	entry->op = op;
	outcome = deliver_outcome(entry, kind);
	outcome->has_id = false;
	deliver_outcome_reason(outcome, code, reason);
	deliver_entry_busy(entry, ENTRY_SETTLING);
}
