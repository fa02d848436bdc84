/*
 * declare.c
 *	  activate_sync(): from the arguments to a declaration, as the caller.
 *
 * Everything that can be known now is checked now, in the order in which a
 * person reads the call.  It is one transaction: an error leaves nothing.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/own.h"
#include "miscadmin.h"
#include "sync/declare.h"
#include "sync/verbs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static void read_arguments(FunctionCallInfo fcinfo, Declaration *declaration);
static Sync *find_old(const char *name);
static void check_name(Declaration *declaration);
static void check_mode(Declaration *declaration);
static void check_capture(Declaration *declaration);
static void check_trigger_source(const Declaration *declaration);
static void check_schedule(const Declaration *declaration);

ACTIVATE_FUNCTION(activate_sync);

Datum
activate_sync(PG_FUNCTION_ARGS)
{
	Declaration declaration = {0};
	int64		id;

	read_arguments(fcinfo, &declaration);
	check_name(&declaration);
	declare_watch_implies(&declaration);
	check_mode(&declaration);
	check_capture(&declaration);
	declare_check_options(&declaration);
	check_schedule(&declaration);
	declare_check_materialized(&declaration);

	declaration.source = sync_source_open(declaration.source_text);
	declare_open_target(&declaration);
	if (declaration.capture == CAPTURE_TRIGGER && !(declare_watches(&declaration) && declare_has_no_triggers(&declaration)))
		check_trigger_source(&declaration);
	declare_check_target(&declaration);
	declare_map(&declaration);
	declare_keys(&declaration);
	declare_watch(&declaration);
	declare_check_history(&declaration);
	declare_check_conflict(&declaration);
	if (!OidIsValid(declaration.target_rel) && !declare_is_view(&declaration))
		declare_create_target(&declaration);
	declare_query(&declaration);
	if (declare_is_view(&declaration))
		declare_create_view(&declaration);

	id = declare_store(&declaration);

	if (declaration.unsent)
		ereport(NOTICE,
				(errmsg("columns of the source that target \"%s\" does not have are not sent: %s",
						declaration.target, declaration.unsent)));
	PG_RETURN_INT64(id);
}

static Jsonb *
json_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_JSONB_P(argument);
}

static char *
optional_text(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

static void
read_arguments(FunctionCallInfo fcinfo, Declaration *declaration)
{
	declaration->name = verb_text(fcinfo, 0, "name");
	declaration->source_text = verb_text(fcinfo, 1, "source");
	declaration->target = verb_text(fcinfo, 2, "target");
	declaration->key_text = optional_text(fcinfo, 3);
	declaration->map = json_argument(fcinfo, 4);
	declaration->mode_text = verb_text(fcinfo, 5, "mode");
	declaration->capture_text = verb_text(fcinfo, 6, "capture");
	declaration->schedule = optional_text(fcinfo, 7);
	declaration->options = json_argument(fcinfo, 8);
	if (declaration->options == NULL)
		declaration->options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

/*
 * What is declared under that name so far, if the caller may change it.  Waits
 * for its run, which must not see two declarations; there may be another, or
 * none, after that.
 */
static Sync *
find_old(const char *name)
{
	Sync	   *old;
	int64		locked = 0;

	while ((old = sync_find(name, CurrentMemoryContext)) != NULL)
	{
		old = sync_require(name, CurrentMemoryContext);
		if (old->id == locked)
			break;
		locked = old->id;
		(void) sync_lock(locked, true);
	}
	return old;
}

static void
check_name(Declaration *declaration)
{
	if (declaration->name[0] == '\0' || strncmp(declaration->name, "target:", 7) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name \"%s\" of a sync", declaration->name),
				 errhint("A name is not empty and does not begin with \"target:\".")));

	declaration->owner = GetUserId();
	declaration->old = find_old(declaration->name);
	if (declaration->old ? declaration->old->implicit :
		verb_count("SELECT activate._names_foreign_table($2)::int::bigint WHERE $1 = 0", 0, declaration->name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("\"%s\" is the name of a foreign table's implicit sync", declaration->name),
				 errhint("Choose another name; if the table was dropped, activate_drop() removes its sync.")));
	if (declaration->old == NULL)
		return;

	/*
	 * An administrator who is not the owner must not have code run as the
	 * owner: the sync becomes the administrator's.
	 */
	if (OidIsValid(declaration->old->owner) && has_privs_of_role(GetUserId(), declaration->old->owner))
		declaration->owner = declaration->old->owner;
}

static void
check_mode(Declaration *declaration)
{
	static const struct
	{
		const char *name;
		SyncMode	mode;
	}			modes[] =
	{
		{"upsert", SYNC_UPSERT}, {"insert", SYNC_INSERT}, {"update", SYNC_UPDATE},
		{"mirror", SYNC_MIRROR}, {"append", SYNC_APPEND}, {"replace", SYNC_REPLACE},
	};

	for (int i = 0; i < lengthof(modes); i++)
	{
		if (strcmp(declaration->mode_text, modes[i].name) == 0)
		{
			declaration->mode = modes[i].mode;
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown mode \"%s\" of a sync", declaration->mode_text),
			 errhint("Valid modes are: upsert, insert, update, mirror, append, replace.")));
}

static bool
sees_deletes(const Declaration *declaration)
{
	return declaration->mode == SYNC_MIRROR && (declare_option(declaration, "deleted") || declare_option(declaration, "sweep"));
}

static void
check_capture(Declaration *declaration)
{
	static const struct
	{
		const char *name;
		SyncCapture capture;
	}			captures[] =
	{
		{"diff", CAPTURE_DIFF}, {"trigger", CAPTURE_TRIGGER}, {"cursor", CAPTURE_CURSOR}, {"full", CAPTURE_FULL},
	};
	bool		deletes = declaration->mode == SYNC_MIRROR || declaration->mode == SYNC_REPLACE;

	if (strcmp(declaration->capture_text, "wal") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("capture \"wal\" is not available in this version"),
				 errhint("Use capture \"trigger\" for changes at once, \"diff\" for any source.")));
	for (int i = 0; i < lengthof(captures); i++)
	{
		if (strcmp(declaration->capture_text, captures[i].name) != 0)
			continue;
		declaration->capture = captures[i].capture;
		if (declaration->capture == CAPTURE_CURSOR && deletes && !sees_deletes(declaration))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("mode \"%s\" cannot be captured by cursor", declaration->mode_text),
					 errhint("A cursor does not see which rows are gone; use capture \"diff\", or mode \"mirror\" with option "
							 "\"deleted\" (rows say that they are gone) or \"sweep\" (how often keys are compared).")));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown capture \"%s\" of a sync", declaration->capture_text),
			 errhint("Valid captures are: diff, trigger, cursor, full.")));
}

static void
check_trigger_source(const Declaration *declaration)
{
	Oid			source = declaration->source->relation;
	char		relkind = OidIsValid(source) ? get_rel_relkind(source) : '\0';

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("capture \"trigger\" needs a table as source"),
				 errhint("Views, materialized views, foreign tables and queries have no row triggers: use capture \"diff\".")));
	if (pg_class_aclcheck(source, GetUserId(), ACL_TRIGGER) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to put a trigger on \"%s\"", declaration->source_text),
				 errhint("Capture \"trigger\" needs the privilege TRIGGER on the source; capture \"diff\" does not.")));
}

/* The grammar belongs to the room schedule, which raises what is wrong with it. */
static void
check_schedule(const Declaration *declaration)
{
	Oid			type = TEXTOID;
	Datum		value;

	if (declaration->schedule == NULL)
		return;
	value = CStringGetTextDatum(declaration->schedule);
	(void) own_value("SELECT activate._check_schedule($1)", 1, &type, &value, NULL, NULL);
}
