/*
 * merge.c
 *	  Foreign-table DML: which intents of a key one message can stand for.
 *
 * Consecutive intents become one where the API is left as it would be by all
 * of them, one after the other; columns add up, the later value counts:
 *
 *		first \ next	insert		upsert		update		delete
 *		insert			-			-			insert		nothing is sent
 *		upsert			-			upsert		upsert		delete
 *		update			-			-			update		delete
 *		delete			-			-			-			delete
 *
 * Two inserts of a key stay two: the second is the API's to refuse.  So do a
 * delete and what comes after it: the old record must go before the new one.
 *
 * What was tried, and may have reached the API, stays the message that it was
 * (same content, same id), and what came since waits behind it: an insert that
 * was perhaps taken would be refused with the later columns in it.
 */
#include "postgres.h"

#include "deliver/engine.h"
#include "deliver/merge.h"
#include "utils/fmgrprotos.h"

/* uncertain: an attempt of this key may have reached the target, of which intents is not known. */
void
deliver_merge_begin(DeliverMerge *merge, const OutboxIntent *first, bool uncertain)
{
	merge->n = 1;
	merge->op = first->op;
	merge->body = first->body;
	merge->nothing = false;
	merge->tried = first->due_at != 0;
	merge->alone = uncertain && !merge->tried && first->op == OUTBOX_INSERT;
}

static Jsonb *
both(Jsonb *first, Jsonb *next)
{
	if (first == NULL || next == NULL)
		return next;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(first), JsonbPGetDatum(next)));
}

/* Takes the next intent of the same key in; false: it is another message. */
bool
deliver_merge_add(DeliverMerge *merge, const OutboxIntent *next)
{
	OutboxOp	op = merge->op;

	if (merge->alone || merge->nothing || merge->tried != (next->due_at != 0))
		return false;
	switch (next->op)
	{
		case OUTBOX_UPDATE:
			if (op == OUTBOX_DELETE)
				return false;
			break;
		case OUTBOX_UPSERT:
			if (op != OUTBOX_UPSERT)
				return false;
			break;
		case OUTBOX_DELETE:
			merge->nothing = op == OUTBOX_INSERT;
			merge->op = OUTBOX_DELETE;
			break;
		default:
			return false;
	}
	merge->body = both(merge->body, next->body);
	merge->n++;
	return true;
}
