/*
 * change.h
 *	  What the files of this room share.  Not for other rooms.
 */
#ifndef ACTIVATE_CAPTURE_CHANGE_H
#define ACTIVATE_CAPTURE_CHANGE_H

#include "capture/capture.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

/* key.c */
typedef enum KeyKind
{
	KEY_INT2,
	KEY_INT4,
	KEY_INT8,
	KEY_BOOL,
	KEY_NUMERIC,
	KEY_TEXT,
	KEY_UUID,
	KEY_OTHER					/* through to_jsonb() */
} KeyKind;

typedef struct KeyColumn
{
	char	   *name;			/* in the key; a column that was renamed keeps it */
	AttrNumber	attno;
	KeyKind		kind;
	FmgrInfo	to_jsonb;		/* KEY_OTHER */
	bool		foreign;		/* ... where a cast of the type's maker may be called */
	Oid			owner;			/* ... as whom it runs: the sync's; InvalidOid: was dropped */
	bool		rendering;		/* the caller is that owner, under the settings of SEMANTICS 4 */
} KeyColumn;

extern void capture_key_init(KeyColumn *column, const char *name, AttrNumber attno, Oid type,
							 Oid owner, MemoryContext context);
extern Jsonb *capture_key(KeyColumn *columns, int n, TupleTableSlot *slot, bool *has_null);

/* The same in two steps; values may point into the row.  True: one of them is NULL. */
extern bool capture_key_values(KeyColumn *columns, int n, TupleTableSlot *slot, JsonbValue *values);
extern Jsonb *capture_key_of(KeyColumn *columns, int n, JsonbValue *values);

/* record.c: a record, taken apart; in fn_extra, one row type after the other, nearly always the same */
typedef struct CaptureRecord
{
	Oid			type;
	int32		typmod;
	TupleDesc	desc;
	Datum	   *values;
	bool	   *isnull;
	void	   *plan;			/* of the caller, in fn_mcxt; NULL: of a type that has just come */
} CaptureRecord;

extern CaptureRecord *capture_record(FunctionCallInfo fcinfo, HeapTupleHeader header);

/* hash.c: activate._row_hash() of a row whose columns are those from "first" on (names NULL: under their own names) */
typedef struct RowHash RowHash;

extern RowHash *capture_hash_prepare(TupleDesc desc, int first, char **names);
extern int64 capture_hash(RowHash *hash, const Datum *values, const bool *isnull);

/* entry.c: what a trigger must know, read once per session, sync and table */
typedef struct CaptureEntryKey
{
	int64		sync;
	Oid			relation;
} CaptureEntryKey;

typedef struct CaptureEntry
{
	CaptureEntryKey id;			/* must be first */
	bool		valid;
	MemoryContext context;
	Sync	   *sync;			/* NULL: not captured (any more) */
	KeyColumn  *key;			/* of a row of the source; NULL: the table is not that, but watched */
	int			nwatched;		/* options.watch: what in a row says which keys are due */
	KeyColumn **watched;
	bool		by_key;			/* ... and they are all that is; else everything is due */
	char	   *event_sql;		/* append: renders the row, see event.c */
	SPIPlanPtr	event;			/* the same, once it was needed */
	bool		late;			/* append, but it cannot be rendered before activate_adopt() */
	char	   *reason;			/* why rows cannot be captured; NULL: they can */
} CaptureEntry;

extern CaptureEntry *capture_entry(int64 sync, Relation relation);
extern void capture_entry_done(void);	/* the caller needs it no longer */

/* watched.c: fills what of the entry is watched; the reason why it cannot be, or NULL */
extern char *capture_watched_load(CaptureEntry *entry, Relation relation);

/* ... the keys that a changed row of the table makes due */
extern void capture_watched(const CaptureEntry *entry, TupleTableSlot *old, TupleTableSlot *new);

/* event.c: append mode */
extern void capture_event_prepare(CaptureEntry *entry);
extern void capture_event(CaptureEntry *entry, Relation relation, Jsonb *key, TupleTableSlot *slot);
extern void capture_event_late(const CaptureEntry *entry, Jsonb *key);

/* trigger.c */
extern bool capture_same_key(const KeyColumn *key, int nkeys, TupleTableSlot *old, TupleTableSlot *new);
extern void capture_reject(const Sync *sync, Jsonb *key, const char *code, const char *reason, bool once);

#endif							/* ACTIVATE_CAPTURE_CHANGE_H */
