/*
 * watched.c
 *	  options.watch: a row of a table that a sync watches makes keys of the sync
 *	  due, those that are in its columns before and after the change.
 *
 * Only keys are queued; the rows of these keys are evaluated by who applies
 * them.  A NULL is no key: a row without one takes part in nothing.  Where keys
 * do not say what has changed (bykey.c) it is the empty one: everything.
 */
#include "postgres.h"

#include "capture/change.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "outbox/outbox.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static List *watched_names(CaptureEntry *entry, Relation relation);
static KeyColumn *watched_columns(const CaptureEntry *entry, Relation relation, ArrayType *names, char **reason);
static void append_key(const CaptureEntry *entry, KeyColumn *columns, TupleTableSlot *slot);

bool
capture_watches(const Jsonb *options)
{
	JsonbValue	value;

	return JB_ROOT_IS_OBJECT(options) &&
		getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &options->root), "watch", 5, &value) != NULL;
}

char *
capture_watched_load(CaptureEntry *entry, Relation relation)
{
	List	   *names;
	ListCell   *cell;
	char	   *reason = NULL;

	if (!capture_watches(entry->sync->options))
		return NULL;
	names = watched_names(entry, relation);
	entry->watched = MemoryContextAlloc(entry->context, sizeof(KeyColumn *) * (list_length(names) + 1));
	foreach(cell, names)
	{
		entry->watched[entry->nwatched] = watched_columns(entry, relation, lfirst(cell), &reason);
		if (reason != NULL)
			return reason;
		entry->nwatched++;
	}
	return NULL;
}

/* text[] of each set of columns, and entry->by_key; by the latest snapshot, as the declaration is read. */
static List *
watched_names(CaptureEntry *entry, Relation relation)
{
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	Oid			types[2] = {INT8OID, OIDARRAYOID};
	Datum		values[2];
	List	   *relations = list_make1_oid(RelationGetRelid(relation));
	List	   *result = NIL;
	Datum	   *oids;
	int			n = 0;
	ListCell   *cell;

	if (relation->rd_rel->relispartition)
		relations = list_concat(relations, get_partition_ancestors(RelationGetRelid(relation)));
	oids = palloc(sizeof(Datum) * list_length(relations));
	foreach(cell, relations)
		oids[n++] = ObjectIdGetDatum(lfirst_oid(cell));
	values[0] = Int64GetDatum(entry->sync->id);
	values[1] = PointerGetDatum(construct_array(oids, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));

	identity_enter_extension(&scope);
	SPI_connect();
	CommandCounterIncrement();
	SPI_execute_snapshot(SPI_prepare("SELECT names, by_key FROM activate._watched($1, $2)", 2, types), values, NULL,
						 GetLatestSnapshot(), InvalidSnapshot, true, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		names = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext previous = MemoryContextSwitchTo(context);

		result = lappend(result, DatumGetArrayTypePCopy(names));
		MemoryContextSwitchTo(previous);
		entry->by_key = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_finish();
	identity_leave(&scope);
	return result;
}

static KeyColumn *
watched_columns(const CaptureEntry *entry, Relation relation, ArrayType *names, char **reason)
{
	const Sync *sync = entry->sync;
	KeyColumn  *columns = MemoryContextAllocZero(entry->context, sync->nkeys * sizeof(KeyColumn));
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < sync->nkeys; i++)
	{
		AttrNumber	attno = i >= n || nulls[i] ? InvalidAttrNumber :
			get_attnum(RelationGetRelid(relation), TextDatumGetCString(elements[i]));

		if (attno <= 0)
			*reason = psprintf("a column of the watched table \"%s\" is gone", RelationGetRelationName(relation));
		else
		{
			capture_key_init(&columns[i], sync->key[i], attno,
							 TupleDescAttr(RelationGetDescr(relation), attno - 1)->atttypid, sync->owner, entry->context);
			/* a cast that somebody made must not run as the writer */
			if (columns[i].foreign && !OidIsValid(sync->owner))
				*reason = pstrdup("its owner was dropped");
		}
		if (*reason != NULL)
		{
			*reason = MemoryContextStrdup(entry->context, *reason);
			return NULL;
		}
	}
	return columns;
}

/* old or new NULL: there is none. */
void
capture_watched(const CaptureEntry *entry, TupleTableSlot *old, TupleTableSlot *new)
{
	if (!entry->by_key)
	{
		outbox_append(entry->sync->id, capture_key_of(NULL, 0, NULL), OUTBOX_CHANGE, NULL, 0, false);
		return;
	}
	for (int i = 0; i < entry->nwatched; i++)
	{
		KeyColumn  *columns = entry->watched[i];

		if (new != NULL)
			append_key(entry, columns, new);
		if (old != NULL && (new == NULL || !capture_same_key(columns, entry->sync->nkeys, old, new)))
			append_key(entry, columns, old);
	}
}

static void
append_key(const CaptureEntry *entry, KeyColumn *columns, TupleTableSlot *slot)
{
	bool		has_null;
	Jsonb	   *key = capture_key(columns, entry->sync->nkeys, slot, &has_null);

	if (!has_null)
		outbox_append(entry->sync->id, key, OUTBOX_CHANGE, NULL, 0, false);
}
