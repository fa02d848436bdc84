/*
 * look.c
 *	  What is done about differences: options.on_drift.
 *
 *	  propose	a name is written down, the query follows it by its number
 *	  evolve	and the texts of the declaration with it; new columns are sent
 *	  freeze	the sync stops, whatever it is
 *	  discard	as propose, but new columns are proposed to nobody
 *
 * In all but "freeze" a dropped column is left out and values of another type
 * are cast to the one they had: without that nothing could go on.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/own.h"
#include "drift/change.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* More changes of one sync at once than anybody makes; each is looked at anew after the one before. */
#define MANY_CHANGES 2000

typedef struct Look
{
	const Sync *sync;
	bool		in_command;
	DriftPolicy policy;
	bool		changed;		/* the declaration is another one now */
	char	   *frozen;			/* why the sync stops */
	Datum	   *ids;
	int			nids;
} Look;

static bool look_once(Look *look, List *found);
static bool follow_names(Look *look, List *found);
static bool look_at(Look *look, Drift *drift);
static int64 note(Look *look, const Drift *drift, const DriftEdit *edit, const char *state, const char *reason);

static void
freeze(Look *look, const Drift *drift, const DriftEdit *edit, const char *why)
{
	char	   *reason = why ? psprintf("%s, and %s", drift_words(drift), why) :
		psprintf("on_drift is \"freeze\": %s", drift_words(drift));

	if (note(look, drift, edit, "frozen", reason) != 0 && look->frozen == NULL)
		look->frozen = reason;
}

bool
drift_look(const Sync *sync, bool in_command, char **frozen)
{
	Look		look = {.sync = sync, .in_command = in_command, .policy = drift_policy(sync)};
	Oid			types[2] = {INT8OID, INT8ARRAYOID};
	Datum		values[2] = {Int64GetDatum(sync->id)};
	bool		isnull;
	Query	   *query;

	*frozen = NULL;
	for (int i = 0; i < MANY_CHANGES; i++)
	{
		List	   *found;

		query = look.sync->query_tree ? sync_tree(look.sync) : NULL;
		if (query == NULL || !OidIsValid(look.sync->owner) || !OidIsValid(look.sync->target_rel))
			return look.changed;
		found = drift_find(look.sync, query);
		look.nids = 0;
		look.frozen = NULL;
		look.ids = palloc0(sizeof(Datum) * Max(list_length(found), 1));
		if (!look_once(&look, found))
			break;
		look.changed = true;
		look.sync = sync_load(sync->id, CurrentMemoryContext);
	}
	values[1] = PointerGetDatum(construct_array(look.ids, look.nids, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	/* nothing is written where nothing is open, so that such a run can be tried in a transaction that is read only */
	(void) own_value("SELECT activate._drift_settle($1, $2) WHERE EXISTS"
					 " (SELECT FROM activate.drift WHERE sync = $1 AND state IN ('proposed', 'frozen', 'discarded'))",
					 2, types, values, NULL, &isnull);
	if (!isnull)
	{
		look.changed = true;
		drift_changed();
	}
	*frozen = look.frozen;
	return look.changed;
}

/* True: the declaration was changed, so look again. */
static bool
look_once(Look *look, List *found)
{
	ListCell   *cell;

	if (look->policy == DRIFT_EVOLVE && follow_names(look, found))
		return true;
	foreach(cell, found)
		if (look_at(look, lfirst(cell)))
			return true;
	return false;
}

/* All names at once: the texts are right together or not at all. */
static bool
follow_names(Look *look, List *found)
{
	DriftEdit  *edit = drift_edit(look->sync);
	bool		follows = false;
	ListCell   *cell;

	drift_rewrite(edit, true);
	foreach(cell, found)
	{
		const Drift *drift = lfirst(cell);

		if (drift->kind == DRIFT_RENAME || drift->kind == DRIFT_RELATION)
			follows |= note(look, drift, edit, "healed", NULL) != 0;
	}
	if (follows)
		drift_apply(edit);
	return follows;
}

static bool
look_at(Look *look, Drift *drift)
{
	DriftEdit  *edit = drift_edit(look->sync);
	bool		evolves = look->policy == DRIFT_EVOLVE;
	const char *state = "proposed";

	switch (drift->kind)
	{
		case DRIFT_RENAME:
		case DRIFT_RELATION:
			/* taken back by somebody, where they are followed */
			if (evolves)
				return false;
			drift_rewrite(edit, true);
			break;
		case DRIFT_DROP:
			drift_leave_out(edit, drift);
			state = "healed";
			break;
		case DRIFT_TYPE:
			drift_retype(edit, drift);
			break;
		case DRIFT_ADD:
			drift_take_in(edit, drift);
			if (edit->refusal || (look->policy == DRIFT_FREEZE && !drift_is_open_map(look->sync)))
				return false;
			if (evolves && drift_is_open_map(look->sync) && !(look->in_command && edit->add_column))
				state = "healed";
			else if (look->policy == DRIFT_DISCARD)
				state = "discarded";
			break;
	}
	if (edit->refusal || look->policy == DRIFT_FREEZE)
	{
		freeze(look, drift, edit, edit->refusal);
		return false;
	}
	/* the cast to another type is the query's alone: the texts mean what they say */
	if (drift->kind == DRIFT_DROP || drift->kind == DRIFT_ADD)
		drift_rewrite(edit, false);
	if (drift->kind == DRIFT_ADD && strcmp(state, "healed") == 0)
		return drift_take_column(look->sync, drift, note(look, drift, edit, "proposed", NULL), NULL);
	if (note(look, drift, edit, state, NULL) == 0 && drift->kind != DRIFT_TYPE)
		return false;
	if (strcmp(state, "healed") != 0 && drift->kind != DRIFT_TYPE)
		return false;
	drift_apply(edit);
	return true;
}

static int64
note(Look *look, const Drift *drift, const DriftEdit *edit, const char *state, const char *reason)
{
	int64		id = drift_note(look->sync, drift, edit, state, reason, false);

	if (id != 0)
		look->ids[look->nids++] = Int64GetDatum(id);
	return id;
}

/* Sends it every column, as it was declared: no map was given, or only a renaming has written one. */
bool
drift_is_open_map(const Sync *sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);

	return sync->map == NULL ||
		own_int64("SELECT count(*) FROM activate.drift d WHERE d.sync = $1 AND d.state IN ('healed', 'proposed')"
				  " AND d.before @> '{\"map\": null}'",
				  1, &type, &id) > 0;
}

const Sync *
drift_check(const Sync *sync, bool begins, char **refused)
{
	*refused = NULL;
	if (sync->implicit)
		return sync;
	if (begins && drift_look_far(sync, refused))
		sync = sync_load(sync->id, CurrentMemoryContext);
	if (*refused == NULL && drift_look(sync, false, refused))
		sync = sync_load(sync->id, CurrentMemoryContext);
	if (begins && *refused == NULL && drift_policy(sync) == DRIFT_EVOLVE && drift_widen(sync))
		sync = sync_load(sync->id, CurrentMemoryContext);
	return sync;
}

void
drift_declared(const Sync *sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);

	if (!drift_redeclares)
		(void) own_value("SELECT activate._drift_declared($1)", 1, &type, &id, NULL, NULL);
}
