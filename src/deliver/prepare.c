/*
 * prepare.c
 *	  What becomes of a key that was looked at: a message with its content, id and
 *	  seq, or an outcome without one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "deliver/engine.h"
#include "deliver/merge.h"
#include "quality/quality.h"
#include "utils/timestamp.h"

static void prepare_event(DeliverEntry *entry, const DeliverKnown *known);
static void prepare_undo(DeliverEntry *entry, const OutboxIntent *undo, const DeliverKnown *known);
static void prepare_message(DeliverEntry *entry, OutboxOp op, Jsonb *row, const DeliverKnown *known);
static void settle_entry(DeliverEntry *entry, OutcomeKind kind, OutboxOp op, const char *code, const char *reason);

/* An intent that brings its content, or needs none. */
bool
deliver_is_event(const DeliverEntry *entry)
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
		prepare_message(entry, undo->op, deliver_kept_body(entry->sync->declaration->sync, known, undo->body), known);
	else
		settle_entry(entry, OUTCOME_SUPERSEDED, undo->op == OUTBOX_CHANGE ? entry->op : undo->op, NULL, NULL);
}

/* Decides what becomes of a rendered entry (SEMANTICS 1). */
void
deliver_prepare(DeliverEntry *entry, const Rendered *rendered, const DeliverKnown *known)
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
	if (deliver_is_event(entry))
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
	if (rendered->flaw)
	{
		settle_entry(entry, OUTCOME_REJECTED, op, quality_code(rendered->flaw), rendered->flaw);
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
			if (deliver_kept_refuses(op, rendered, forced, entry->uncertain))
			{
				settle_entry(entry, OUTCOME_REJECTED, op, "conflict", "the application has changed the record since it was sent");
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
	deliver_commit_surely();
}

/*
 * Same content as was tried: the same message.  Else one of its own, also if an
 * older content has come back: the receiver, who may have got what was in
 * between, would take that for a repeat.
 */
static void
message_identity(DeliverEntry *entry, OutboxOp op, const DeliverText *text, const DeliverKnown *known)
{
	int64		sync = entry->sync->id;

	entry->nonce = entry->tried_nonce;
	if (entry->tried)
		deliver_message_id(entry->id, entry->nonce, sync, op, text);
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
	if (entry->seq <= engine->past || entry->seq <= (known->sent ? known->seq : entry->sync->least_seq) ||
		(entry->tried && entry->seq <= entry->tried_seq))
		entry->seq = deliver_next_seq();
	/* tried stays what it is until this one has gone: it may be rendered once more before */
	entry->tried_ambiguous = false;
	deliver_message_id(entry->id, entry->nonce, sync, op, text);
	if (entry->uncertain && (deliver_entry_newest(entry)->undo != UNDO_NONE || !deliver_is_event(entry)))
		note_identity(entry);
}

static void
prepare_message(DeliverEntry *entry, OutboxOp op, Jsonb *row, const DeliverKnown *known)
{
	DeliverSync *sync = entry->sync;
	Connector  *connector = sync->declaration->connector;
	DeliverText text;

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
	text = deliver_text(entry->hash_key.key, row);
	message_identity(entry, op, &text, known);
	if (connector->format != FORMAT_OBJECT)
	{
		entry->text = MemoryContextAlloc(sync->context, text.key_len + text.row_len + 2);
		memcpy(entry->text, text.data, text.key_len + text.row_len + 2);
	}
	pfree(text.data);
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
