/*
 * entry.c
 *	  What a capture trigger must know of its sync, kept for the session.
 *
 * Read on the first change of a table and after every change of a declaration
 * or of the table: writers of activate.sync invalidate its relcache entry,
 * which reaches every session before it can lock the table for writing again.
 * What is replaced may still be in use by a trigger up the stack, so it is
 * freed when none is at work.  An error leaves its trigger counted until the
 * transaction ends.
 */
#include "postgres.h"

#include "capture/change.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "core/compat.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "storage/proc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* What was replaced. */
typedef struct RetiredEntry
{
	struct RetiredEntry *next;
	MemoryContext context;
	SPIPlanPtr	event;
} RetiredEntry;

static HTAB *entries = NULL;
static Oid	sync_relation = InvalidOid;
static RetiredEntry *retired = NULL;

/* Triggers at work, one within the other, in this transaction. */
static int	depth = 0;
static LocalTransactionId depth_lxid = InvalidLocalTransactionId;

static void entries_create(void);
static void entries_invalidate(Datum arg, Oid relation);
static void entry_load(CaptureEntry *entry, Relation relation);
static bool entry_is_source(const Sync *sync, Relation relation);
static char *entry_load_key(CaptureEntry *entry, Relation relation);
static bool entry_is_restored(const Sync *sync, const Query *query);
static char *source_column_name(const Sync *sync, const Query *query, int i);
static void entry_retire(CaptureEntry *entry);
static void retired_free(void);

CaptureEntry *
capture_entry(int64 sync, Relation relation)
{
	CaptureEntryKey id;
	CaptureEntry *entry;
	bool		found;

	if (entries == NULL)
		entries_create();
	MemSet(&id, 0, sizeof(id));
	id.sync = sync;
	id.relation = RelationGetRelid(relation);
	entry = hash_search(entries, &id, HASH_ENTER, &found);
	if (!found)
	{
		entry->valid = false;
		entry->context = NULL;
		entry->event_sql = NULL;
		entry->event = NULL;
	}
	if (depth_lxid != compat_my_lxid())
	{
		depth_lxid = compat_my_lxid();
		depth = 0;
	}
	if (!entry->valid)
	{
		entry_retire(entry);
		if (depth == 0)
			retired_free();
		entry_load(entry, relation);
	}
	depth++;
	return entry;
}

void
capture_entry_done(void)
{
	depth--;
}

static void
entries_create(void)
{
	HASHCTL		control;

	control.keysize = sizeof(CaptureEntryKey);
	control.entrysize = sizeof(CaptureEntry);
	entries = hash_create("activate capture", 32, &control, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(entries_invalidate, (Datum) 0);
}

/* May be called at any moment: nothing but flags is touched. */
static void
entries_invalidate(Datum arg, Oid relation)
{
	HASH_SEQ_STATUS scan;
	CaptureEntry *entry;

	hash_seq_init(&scan, entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		/* a rendering statement may read any table */
		if (!OidIsValid(relation) || relation == sync_relation || relation == entry->id.relation ||
			entry->event_sql != NULL)
			entry->valid = false;
	}
}

static void
entry_load(CaptureEntry *entry, Relation relation)
{
	/* before reading: a change that arrives meanwhile must not be lost */
	entry->valid = true;
	sync_relation = get_relname_relid("sync", get_namespace_oid("activate", true));
	entry->sync = NULL;
	entry->reason = NULL;
	entry->key = NULL;
	entry->nwatched = 0;
	entry->context = AllocSetContextCreate(CacheMemoryContext, "activate capture", ALLOCSET_SMALL_SIZES);
	PG_TRY();
	{
		Sync	   *sync = OidIsValid(sync_relation) ? sync_load(entry->id.sync, entry->context) : NULL;

		if (sync != NULL && sync->capture == CAPTURE_TRIGGER && sync->query_tree != NULL)
		{
			entry->sync = sync;
			if (entry_is_source(sync, relation))
				entry->reason = entry_load_key(entry, relation);
			if (entry->reason == NULL)
				entry->reason = capture_watched_load(entry, relation);
			if (entry->reason == NULL && entry->key != NULL && sync->mode == SYNC_APPEND && !entry->late)
				capture_event_prepare(entry);
			if (entry->reason == NULL && entry->key == NULL && entry->nwatched == 0)
				entry->sync = NULL;
		}
	}
	PG_CATCH();
	{
		entry->valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Anybody may make a trigger that calls us with the id of any sync: only its own tables count. */
static bool
entry_is_source(const Sync *sync, Relation relation)
{
	return RelationGetRelid(relation) == sync->source_rel ||
		(relation->rd_rel->relispartition &&
		 list_member_oid(get_partition_ancestors(RelationGetRelid(relation)), sync->source_rel));
}

/* NULL, or the reason why there is no key. */
static char *
entry_load_key(CaptureEntry *entry, Relation relation)
{
	Sync	   *sync = entry->sync;
	Query	   *query = sync_tree(sync);

	/* an event would be rendered now, and its expressions may mean anything here */
	entry->late = sync->mode == SYNC_APPEND && entry_is_restored(sync, query);
	if (entry->late && sync->nkeys == 0)
		return MemoryContextStrdup(entry->context, "its database was restored or upgraded and waits for activate_adopt()");
	entry->key = MemoryContextAllocZero(entry->context, Max(sync->nkeys, 1) * sizeof(KeyColumn));
	for (int i = 0; i < sync->nkeys; i++)
	{
		char	   *name = source_column_name(sync, query, i);
		AttrNumber	attno = name ? get_attnum(RelationGetRelid(relation), name) : InvalidAttrNumber;

		if (attno <= 0)
			return MemoryContextStrdup(entry->context,
									   psprintf("key column \"%s\" of table \"%s\" is gone",
												sync->key[i], RelationGetRelationName(relation)));
		capture_key_init(&entry->key[i], sync->key[i], attno,
						 TupleDescAttr(RelationGetDescr(relation), attno - 1)->atttypid, sync->owner, entry->context);
		/* a cast that somebody made must not run as the writer */
		if (entry->key[i].foreign && !OidIsValid(sync->owner))
			return MemoryContextStrdup(entry->context, "its owner was dropped");
	}
	return NULL;
}

/* In a database restored from a dump the oids of the tree are those of another; after pg_upgrade there is none. */
static bool
entry_is_restored(const Sync *sync, const Query *query)
{
	ListCell   *cell;

	if (query == NULL)
		return true;
	foreach(cell, query->rtable)
	{
		if (lfirst_node(RangeTblEntry, cell)->relid == sync->source_rel)
			return false;
	}
	return true;
}

/* Key i as the source calls it today: partitions number their columns differently, names they share. */
static char *
source_column_name(const Sync *sync, const Query *query, int i)
{
	Var		   *var;

	if (entry_is_restored(sync, query))
		return sync->key[i];
	var = (Var *) list_nth_node(TargetEntry, query->targetList, i)->expr;
	if (!IsA(var, Var) || rt_fetch(var->varno, query->rtable)->relid != sync->source_rel)
		return NULL;
	return get_attname(sync->source_rel, var->varattno, true);
}

static void
entry_retire(CaptureEntry *entry)
{
	RetiredEntry *old;

	if (entry->context == NULL)
		return;
	old = MemoryContextAlloc(CacheMemoryContext, sizeof(RetiredEntry));
	old->context = entry->context;
	old->event = entry->event;
	old->next = retired;
	retired = old;
	entry->context = NULL;
	entry->event_sql = NULL;
	entry->event = NULL;
}

static void
retired_free(void)
{
	while (retired != NULL)
	{
		RetiredEntry *old = retired;

		retired = old->next;
		if (old->event)
			SPI_freeplan(old->event);
		MemoryContextDelete(old->context);
		pfree(old);
	}
}
