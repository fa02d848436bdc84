/*
 * trigger.c
 *	  activate._capture(): what a changed row means to a sync.
 *
 * Only the key is kept, in memory, until the statement ends (outbox); the row
 * itself is read when it is sent.  In append mode the row as it is now is the
 * message: see event.c.  Whatever is wrong with a sync, the statement of the
 * user succeeds: rows without a usable key go to rejection, and a sync whose
 * table no longer fits is paused with the reason.
 */
#include "postgres.h"

#include "capture/change.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/compat.h"
#include "core/own.h"
#include "core/sequence.h"
#include "outbox/outbox.h"
#include "utils/builtins.h"
#include "utils/datum.h"

static void capture_row(CaptureEntry *entry, TriggerData *data);
static void capture_changed(CaptureEntry *entry, Relation relation, TupleTableSlot *slot, bool is_update);
static void capture_truncate(const CaptureEntry *entry);

ACTIVATE_FUNCTION(activate_capture);
Datum
activate_capture(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	CaptureEntry *entry;

	/* anybody may make a trigger on a table of theirs that calls us */
	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event) || data->tg_trigger->tgnargs != 1 ||
		TRIGGER_FIRED_FOR_STATEMENT(data->tg_event) != TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"activate._capture\" is for the triggers that activate_sync() creates")));

	entry = capture_entry(pg_strtoint64(data->tg_trigger->tgargs[0]), data->tg_relation);
	if (entry->sync == NULL)
		 /* not captured (any more) */ ;
	else if (entry->reason != NULL)
	{
		if (!entry->sync->paused)
			sync_pause_unless_locked(entry->sync->id, entry->reason);
	}
	else if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		capture_truncate(entry);
	else
		capture_row(entry, data);
	capture_entry_done();
	return PointerGetDatum(NULL);
}

void
capture_reject(const Sync *sync, Jsonb *key, const char *code, const char *reason, bool once)
{
	Oid			types[6] = {INT8OID, INT8OID, JSONBOID, TEXTOID, TEXTOID, BOOLOID};
	Datum		values[6];

	values[0] = Int64GetDatum(own_sequence_draw("rejection_id_seq", 1));
	values[1] = Int64GetDatum(sync->id);
	values[2] = JsonbPGetDatum(key);
	values[3] = CStringGetTextDatum(code);
	values[4] = CStringGetTextDatum(reason);
	values[5] = BoolGetDatum(once);
	(void) own_value("SELECT activate._capture_reject($1, $2, $3, $4, $5, $6)", 6, types, values, NULL, NULL);
}

static void
capture_row(CaptureEntry *entry, TriggerData *data)
{
	Sync	   *sync = entry->sync;
	Relation	relation = data->tg_relation;
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	bool		is_delete = TRIGGER_FIRED_BY_DELETE(data->tg_event);
	bool		has_null;
	Jsonb	   *key;

	if (entry->nwatched > 0)
		capture_watched(entry, TRIGGER_FIRED_BY_INSERT(data->tg_event) ? NULL : data->tg_trigslot,
						is_update ? data->tg_newslot : is_delete ? NULL : data->tg_trigslot);
	if (entry->key == NULL)
		return;
	if (!is_delete)
		capture_changed(entry, relation, is_update ? data->tg_newslot : data->tg_trigslot, is_update);

	/* the row that is gone; deletes are no events, and an unchanged key is there already */
	if (sync->mode == SYNC_APPEND || sync->nkeys == 0 ||
		!(is_delete || (is_update && !capture_same_key(entry->key, sync->nkeys, data->tg_trigslot, data->tg_newslot))))
		return;
	key = capture_key(entry->key, sync->nkeys, data->tg_trigslot, &has_null);
	if (!has_null)
		outbox_append(sync->id, key, OUTBOX_CHANGE, NULL, 0, false);
}

/* A row as it is now. */
static void
capture_changed(CaptureEntry *entry, Relation relation, TupleTableSlot *slot, bool is_update)
{
	bool		has_null;
	Jsonb	   *key = capture_key(entry->key, entry->sync->nkeys, slot, &has_null);

	if (has_null)
		capture_reject(entry->sync, key, "null_key", "a column of the key is NULL", is_update);
	else if (entry->late)
		capture_event_late(entry, key);
	else if (entry->sync->mode == SYNC_APPEND)
		capture_event(entry, relation, key, slot);
	else
		outbox_append(entry->sync->id, key, OUTBOX_CHANGE, NULL, 0, false);
}

/* By the bytes: keys that are equal otherwise too are told apart for nothing, which does no harm. */
bool
capture_same_key(const KeyColumn *key, int nkeys, TupleTableSlot *old, TupleTableSlot *new)
{
	for (int i = 0; i < nkeys; i++)
	{
		AttrNumber	attno = key[i].attno;
		Form_pg_attribute attribute = TupleDescAttr(new->tts_tupleDescriptor, attno - 1);
		bool		old_null;
		bool		new_null;
		Datum		old_value = slot_getattr(old, attno, &old_null);
		Datum		new_value = slot_getattr(new, attno, &new_null);

		if (old_null != new_null)
			return false;
		if (!old_null && !datum_image_eq(old_value, new_value, attribute->attbyval, attribute->attlen))
			return false;
	}
	return true;
}

/*
 * One marker, from however many tables: which keys are gone is found out when
 * it is delivered.  Only these modes delete what is gone; but rows made of what
 * is watched may have changed.
 */
static void
capture_truncate(const CaptureEntry *entry)
{
	const Sync *sync = entry->sync;
	JsonbParseState *state = NULL;

	if ((sync->mode != SYNC_MIRROR && sync->mode != SYNC_REPLACE && entry->nwatched == 0) || sync->nkeys == 0)
		return;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	outbox_append(sync->id, JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)),
				  OUTBOX_TRUNCATE, NULL, 0, false);
}
