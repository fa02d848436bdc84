/*
 * sync.c
 *	  Reading declarations, their options, and the lock that serialises runs.
 *
 * activate.sync is row-secured and belongs to the extension's owner, so it is
 * read as that role whoever is calling; who may do what with the result is
 * decided here (sync_require) or was decided at declaration.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/sync.h"
#include "core/identity.h"
#include "core/own.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

/* Names offered in the hint of an unknown name. */
#define SIMILAR_NAMES 5

#define SYNC_COLUMNS \
	"id, name, owner, source, target, source_rel::oid, target_rel::oid, kind, mode, capture, " \
	"paused, implicit, pause_reason, schedule, search_path, key_columns, key_types, target_key, " \
	"columns, column_types, cursor_type, query_tree, options, map, epoch, coalesce(tree_major, 0)"

/* Positions in SYNC_COLUMNS, from 1 as SPI counts. */
enum
{
	COL_ID = 1, COL_NAME, COL_OWNER, COL_SOURCE, COL_TARGET, COL_SOURCE_REL, COL_TARGET_REL, COL_KIND,
	COL_MODE, COL_CAPTURE, COL_PAUSED, COL_IMPLICIT, COL_PAUSE_REASON, COL_SCHEDULE, COL_SEARCH_PATH,
	COL_KEY_COLUMNS, COL_KEY_TYPES, COL_TARGET_KEY, COL_COLUMNS, COL_COLUMN_TYPES, COL_CURSOR_TYPE,
	COL_QUERY_TREE, COL_OPTIONS, COL_MAP, COL_EPOCH, COL_TREE_MAJOR
};

static void pause_where(const char *condition, int64 id, const char *reason);
static Sync *read_sync(const char *condition, Oid argtype, Datum arg, MemoryContext context);
static Sync *sync_from_tuple(HeapTuple tuple, TupleDesc desc);
static char *text_column(HeapTuple tuple, TupleDesc desc, int column);
static char **array_column(HeapTuple tuple, TupleDesc desc, int column, int *n);
static Jsonb *jsonb_column(HeapTuple tuple, TupleDesc desc, int column);
static bool may_manage(Oid owner);
static char *similar_names(const char *name);
static JsonbValue *option_value(const Sync *sync, const char *name, JsonbValue *value);

Sync *
sync_load(int64 id, MemoryContext context)
{
	return read_sync("SELECT " SYNC_COLUMNS " FROM activate.sync WHERE id = $1",
					 INT8OID, Int64GetDatum(id), context);
}

Sync *
sync_find(const char *name, MemoryContext context)
{
	return read_sync("SELECT " SYNC_COLUMNS " FROM activate.sync WHERE name = $1",
					 TEXTOID, CStringGetTextDatum(name), context);
}

List *
sync_load_found(const char *ids)
{
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	List	   *syncs = NIL;

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute(ids, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext previous;
		Sync	   *sync = sync_load(DatumGetInt64(id), context);

		/* an old snapshot still shows syncs that others have dropped since */
		if (sync == NULL)
			continue;
		previous = MemoryContextSwitchTo(context);
		syncs = lappend(syncs, sync);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
	return syncs;
}

Sync *
sync_require(const char *name, MemoryContext context)
{
	Sync	   *sync = sync_find(name, context);

	if (sync == NULL)
	{
		char	   *similar = similar_names(name);

		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("sync \"%s\" does not exist", name),
				 similar ? errhint("Syncs of similar names: %s.", similar)
				 : errhint("The relation activate.sync lists the declared syncs.")));
	}
	if (!may_manage(sync->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for sync \"%s\"", name),
				 errhint("It belongs to role \"%s\"; members of that role and of activate_admin may use it.",
						 sync->owner_name)));
	return sync;
}

int
sync_option_int(const Sync *sync, const char *name, int fallback)
{
	char	   *text = sync_option_text(sync, name);

	return text ? pg_strtoint32(text) : fallback;
}

bool
sync_option_bool(const Sync *sync, const char *name, bool fallback)
{
	char	   *text = sync_option_text(sync, name);
	bool		value = fallback;

	/* declarations were checked; what a dump carried is not worth an error */
	if (text)
		(void) parse_bool(text, &value);
	return value;
}

char *
sync_option_text(const Sync *sync, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = option_value(sync, name, &buffer);

	if (value == NULL)
		return NULL;
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

bool
sync_keeps_undo(const Sync *sync)
{
	return sync->kind == SYNC_TO_API && !sync->implicit && sync->mode != SYNC_APPEND &&
		sync_option_bool(sync, "image", true) && sync_option_bool(sync, "undo", true);
}

bool
sync_is_view(const Sync *sync)
{
	char	   *materialized = sync_option_text(sync, "materialized");

	return materialized && strcmp(materialized, "view") == 0;
}

void
sync_enter_owner(const Sync *sync, IdentityScope *scope)
{
	if (!OidIsValid(sync->owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("owner \"%s\" of sync \"%s\" does not exist any more", sync->owner_name, sync->name),
				 errhint("Declare the sync again: it will belong to who declares it.")));
	if (GetUserId() != sync->owner)
	{
		identity_enter_owner(scope, sync->owner, sync->search_path);
		return;
	}
	identity_enter_rendering(scope);
	identity_set_local("search_path", sync->search_path);
}

void
sync_leave_owner(const Sync *sync, IdentityScope *scope)
{
	if (scope->userid != sync->owner)
		identity_leave_owner(scope);
	else
		identity_leave(scope);
}

bool
sync_lock(int64 id, bool wait)
{
	LOCKTAG		tag;
	Oid			schema = get_namespace_oid("activate", false);

	/* an advisory lock could be taken by anybody; nobody else locks this object */
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, get_relname_relid("sync", schema), (uint32) id, 0);
	return LockAcquire(&tag, ShareUpdateExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
sync_pause(int64 id, const char *reason)
{
	pause_where("id = $1 AND NOT paused", id, reason);
}

void
sync_pause_unless_locked(int64 id, const char *reason)
{
	pause_where("id = (SELECT s.id FROM activate.sync s WHERE s.id = $1 AND NOT s.paused FOR NO KEY UPDATE SKIP LOCKED)",
				id, reason);
}

static void
pause_where(const char *condition, int64 id, const char *reason)
{
	IdentityScope scope;
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2];
	char	   *update = psprintf("UPDATE activate.sync SET paused = true, pause_reason = $2 WHERE %s RETURNING name", condition);

	values[0] = Int64GetDatum(id);
	values[1] = CStringGetTextDatum(reason);

	identity_enter_extension(&scope);
	SPI_connect();
	/* as it is read: an old snapshot must not fail at who paused it meanwhile */
	CommandCounterIncrement();
	SPI_execute_snapshot(SPI_prepare(update, 2, types), values, NULL,
						 GetLatestSnapshot(), InvalidSnapshot, false, true, 0);
	if (SPI_processed > 0)
	{
		ereport(LOG,
				(errmsg("activate: sync \"%s\" is paused: %s",
						SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), reason)));
		CacheInvalidateRelcacheByRelid(get_relname_relid("sync", get_namespace_oid("activate", false)));
		shared_announce_at_commit();
	}
	SPI_finish();
	identity_leave(&scope);
}

bool
sync_set_back(const Sync *sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	bool		isnull;
	Datum		result = own_value("SELECT activate._set_back(origin) FROM activate.sync WHERE id = $1",
								   1, &type, &id, NULL, &isnull);

	return !isnull && DatumGetBool(result);
}

static Sync *
read_sync(const char *query, Oid argtype, Datum arg, MemoryContext context)
{
	IdentityScope scope;
	Sync	   *sync = NULL;

	identity_enter_extension(&scope);
	SPI_connect();

	/*
	 * By the latest snapshot, own changes included: to a REPEATABLE READ
	 * transaction that began before the declaration its trigger fires as well.
	 */
	CommandCounterIncrement();
	SPI_execute_snapshot(SPI_prepare(query, 1, &argtype), &arg, NULL,
						 GetLatestSnapshot(), InvalidSnapshot, true, false, 1);
	if (SPI_processed > 0)
	{
		MemoryContext previous = MemoryContextSwitchTo(context);

		sync = sync_from_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
	return sync;
}

static Oid
oid_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, column, &isnull);

	/* a relation that is gone leaves its number behind */
	if (isnull || get_rel_name(DatumGetObjectId(value)) == NULL)
		return InvalidOid;
	return DatumGetObjectId(value);
}

static bool
bool_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;

	return DatumGetBool(SPI_getbinval(tuple, desc, column, &isnull));
}

static SyncMode
mode_from_text(const char *mode)
{
	/* the letter of each mode is its first, but for "update" beside "upsert" */
	return strcmp(mode, "update") == 0 ? SYNC_UPDATE : (SyncMode) mode[0];
}

static Sync *
sync_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	Sync	   *sync = palloc0(sizeof(Sync));
	bool		isnull;

	sync->id = DatumGetInt64(SPI_getbinval(tuple, desc, COL_ID, &isnull));
	sync->name = text_column(tuple, desc, COL_NAME);
	sync->owner_name = text_column(tuple, desc, COL_OWNER);
	sync->owner = get_role_oid(sync->owner_name, true);
	sync->source = text_column(tuple, desc, COL_SOURCE);
	sync->target = text_column(tuple, desc, COL_TARGET);
	sync->source_rel = oid_column(tuple, desc, COL_SOURCE_REL);
	sync->target_rel = oid_column(tuple, desc, COL_TARGET_REL);
	sync->kind = (SyncKind) text_column(tuple, desc, COL_KIND)[0];
	sync->mode = mode_from_text(text_column(tuple, desc, COL_MODE));
	sync->capture = (SyncCapture) text_column(tuple, desc, COL_CAPTURE)[0];
	sync->paused = bool_column(tuple, desc, COL_PAUSED);
	sync->implicit = bool_column(tuple, desc, COL_IMPLICIT);
	sync->pause_reason = text_column(tuple, desc, COL_PAUSE_REASON);
	sync->schedule = text_column(tuple, desc, COL_SCHEDULE);
	sync->search_path = text_column(tuple, desc, COL_SEARCH_PATH);
	sync->key = array_column(tuple, desc, COL_KEY_COLUMNS, &sync->nkeys);
	sync->key_types = array_column(tuple, desc, COL_KEY_TYPES, NULL);
	sync->target_key = array_column(tuple, desc, COL_TARGET_KEY, NULL);
	sync->columns = array_column(tuple, desc, COL_COLUMNS, &sync->ncolumns);
	sync->column_types = array_column(tuple, desc, COL_COLUMN_TYPES, NULL);
	sync->cursor_type = text_column(tuple, desc, COL_CURSOR_TYPE);
	sync->has_cursor = sync->cursor_type != NULL;
	sync->query_tree = text_column(tuple, desc, COL_QUERY_TREE);
	sync->tree_major = DatumGetInt32(SPI_getbinval(tuple, desc, COL_TREE_MAJOR, &isnull));
	sync->options = jsonb_column(tuple, desc, COL_OPTIONS);
	sync->map = jsonb_column(tuple, desc, COL_MAP);
	sync->epoch = DatumGetInt32(SPI_getbinval(tuple, desc, COL_EPOCH, &isnull));
	if (sync->kind == SYNC_TO_API && OidIsValid(sync->target_rel) &&
		get_rel_relkind(sync->target_rel) == RELKIND_FOREIGN_TABLE)
		sync->server = GetForeignTable(sync->target_rel)->serverid;
	return sync;
}

static char *
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	/* SPI_getvalue() allocates in the current context, which is the caller's */
	return SPI_getvalue(tuple, desc, column);
}

static char **
array_column(HeapTuple tuple, TupleDesc desc, int column, int *n)
{
	bool		isnull;
	ArrayType  *array = DatumGetArrayTypeP(SPI_getbinval(tuple, desc, column, &isnull));
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	char	  **result;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	result = palloc0(sizeof(char *) * (count + 1));
	for (int i = 0; i < count; i++)
		result[i] = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
	if (n)
		*n = count;
	return result;
}

static Jsonb *
jsonb_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

static bool
may_manage(Oid owner)
{
	Oid			admin = get_role_oid("activate_admin", true);

	return (OidIsValid(owner) && has_privs_of_role(GetUserId(), owner)) ||
		(OidIsValid(admin) && has_privs_of_role(GetUserId(), admin)) ||
		superuser();
}

/* Names near enough to be what was meant, quoted, only those the caller may use; NULL if none. */
static char *
similar_names(const char *name)
{
	IdentityScope scope;
	StringInfoData out;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	char	   *caller = GetUserNameFromId(GetUserId(), false);
	bool		found;

	values[0] = CStringGetTextDatum(name);
	values[1] = CStringGetTextDatum(caller);
	initStringInfo(&out);

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT n FROM activate._names_of($2::name) n", 2, types, values, NULL, false, 0);
	for (uint64 i = 0, shown = 0; i < SPI_processed && shown < SIMILAR_NAMES; i++)
	{
		char	   *other = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		int			length = Max(strlen(name), strlen(other));
		int			near = Max(length / 3, 2);

		/* the function's limit is 255 bytes a side */
		if (length < 1 || length > 255 ||
			varstr_levenshtein_less_equal(name, strlen(name), other, strlen(other), 1, 1, 1,
										  near, true) > near)
			continue;
		appendStringInfo(&out, "%s\"%s\"", shown++ > 0 ? ", " : "", other);
	}
	found = out.len > 0;
	SPI_finish();
	identity_leave(&scope);
	return found ? out.data : NULL;
}

static JsonbValue *
option_value(const Sync *sync, const char *name, JsonbValue *value)
{
	if (sync->options == NULL || !JB_ROOT_IS_OBJECT(sync->options))
		return NULL;
	return getKeyJsonValueFromContainer(&sync->options->root, name, strlen(name), value);
}
