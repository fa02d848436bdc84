/*
 * follow.c
 *	  The event trigger: syncs hear of a change of what they read in the command
 *	  that makes it.
 *
 * It runs in everybody's ALTER TABLE: nothing that it finds or fails at may be
 * that command's error.  For a source it waits for nobody: what it leaves the
 * next run finds.  Of a target nothing else says which column is which, so
 * there it waits for who is just changing the declaration.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "core/own.h"
#include "drift/change.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

/* A column of the table that a sync writes. */
typedef struct TargetRename
{
	const Sync *sync;
	const char *was;
	const char *is;
} TargetRename;

static void follow_target(Node *command);
static void target_work(void *arg);
static List *concerned(const char *relations, const char *which);
static void look_work(void *arg);
static void retarget_work(void *arg);
static const Sync *held(int64 id, bool wait);

ACTIVATE_FUNCTION(activate_drift_follow);

Datum
activate_drift_follow(PG_FUNCTION_ARGS)
{
	ListCell   *cell;
	bool		drops;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("activate._drift_follow() may only be called by its event triggers")));
	if (!OidIsValid(identity_extension()))
		PG_RETURN_NULL();

	drops = strcmp(((EventTriggerData *) fcinfo->context)->event, "sql_drop") == 0;
	if (!drops)
	{
		ErrorData  *error;

		follow_target(((EventTriggerData *) fcinfo->context)->parsetree);
		error = attempt(retarget_work, NULL);
		if (error && attempt_was_cancelled(error))
			ReThrowError(error);
		if (error)
			ereport(LOG,
					(errmsg("activate: could not follow the name of a target: %s", error->message)));
	}
	foreach(cell, concerned(drops ? "activate._drift_dropped()" : "activate._drift_altered()", "activate._drift_concerned"))
	{
		const Sync *sync = lfirst(cell);
		ErrorData  *error = attempt(look_work, unconstify(Sync *, sync));

		if (error == NULL)
			continue;
		if (attempt_was_cancelled(error))
			ReThrowError(error);
		ereport(LOG,
				(errmsg("activate: could not see how the source of sync \"%s\" changes: %s", sync->name, error->message)));
	}
	PG_RETURN_NULL();
}

/* The columns that a sync fills are known by their names: a rename says which is which. */
static void
follow_target(Node *command)
{
	RenameStmt *rename = (RenameStmt *) command;
	Oid			relation;
	StringInfoData relations;
	ListCell   *cell;

	if (command == NULL || !IsA(command, RenameStmt) || rename->renameType != OBJECT_COLUMN || rename->relation == NULL)
		return;
	relation = RangeVarGetRelid(rename->relation, NoLock, true);
	if (!OidIsValid(relation))
		return;
	/* partitions have followed by now */
	initStringInfo(&relations);
	foreach(cell, find_all_inheritors(relation, NoLock, NULL))
		appendStringInfo(&relations, "%s%u", relations.len > 0 ? "," : "", lfirst_oid(cell));
	foreach(cell, concerned(psprintf("'{%s}'::oid[]", relations.data), "activate._drift_filling"))
	{
		TargetRename it = {lfirst(cell), rename->subname, rename->newname};
		ErrorData  *error = attempt(target_work, &it);

		if (error == NULL)
			continue;
		if (attempt_was_cancelled(error))
			ReThrowError(error);
		ereport(LOG,
				(errmsg("activate: could not follow the target of sync \"%s\": %s", it.sync->name, error->message)));
	}
}

static void
target_work(void *arg)
{
	TargetRename *it = arg;
	const Sync *sync = held(it->sync->id, true);
	DriftEdit  *edit;
	Oid			types[3] = {INT8OID, TEXTOID, TEXTOID};
	Datum		values[3] = {Int64GetDatum(it->sync->id), CStringGetTextDatum(it->was), CStringGetTextDatum(it->is)};
	ListCell   *cell;
	bool		fills = false;

	if (sync == NULL)
		return;
	edit = drift_edit(sync);
	foreach(cell, edit->columns)
		if (strcmp(lfirst(cell), it->was) == 0)
		{
			lfirst(cell) = pstrdup(it->is);
			fills = true;
		}
	if (!fills)
		return;
	edit->target_was = it->was;
	edit->target_is = it->is;
	drift_rewrite(edit, false);
	drift_apply(edit);
	(void) own_value("UPDATE activate.sync SET target_key = array_replace(target_key, $2, $3) WHERE id = $1", 3, types, values, NULL, NULL);
}

static void
look_work(void *arg)
{
	const Sync *sync = held(((const Sync *) arg)->id, false);
	char	   *frozen;

	if (sync == NULL)
		return;
	(void) drift_look(sync, true, &frozen);
	if (frozen)
		sync_pause(sync->id, frozen);
}

static void
retarget_work(void *arg)
{
	if (own_int64("SELECT activate._drift_retarget(activate._drift_altered())", 0, NULL, NULL) > 0)
		drift_changed();
}

/*
 * The declaration as nobody changes it from now on, so that what is made of it
 * is not written over another one; NULL: somebody just does, or it is gone.
 */
static const Sync *
held(int64 id, bool wait)
{
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(id);

	if (own_int64(wait ? "SELECT id FROM activate.sync WHERE id = $1 FOR NO KEY UPDATE" :
				  "SELECT id FROM activate.sync WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED", 1, &type, &value) == 0)
		return NULL;
	return sync_load(id, CurrentMemoryContext);
}

static List *
concerned(const char *relations, const char *which)
{
	return sync_load_found(psprintf("SELECT c FROM %s(%s) c", which, relations));
}
