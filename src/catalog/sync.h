/*
 * sync.h
 *	  A declared sync as every room sees it: one row of activate.sync, and the
 *	  one query that is its source, key and map.
 *
 * The query of a sync, Q, always has the same shape:
 *
 *		SELECT key1 AS k1, ..., [cursor AS c,] [options.deleted AS d,] value1 AS v1, ...
 *		  FROM (source) [WHERE options.where]
 *
 * k* have the source's types (names in key), v* are the mapped values cast to
 * the target's column types (names in columns).  c is options.cursor, or the
 * source's column of options.newest.  d is there where rows that
 * say they are gone must be seen: in a mirror by cursor; else they are left out
 * as by a where.  It is analysed once, at
 * declaration, by the owner; kept as a node tree, so that renames of tables
 * and columns are followed by oid and attribute number; and deparsed with
 * every name qualified when it is to run.  After a dump and restore, when the
 * oids mean nothing, it is analysed again from the text (activate_adopt).
 */
#ifndef ACTIVATE_SYNC_H
#define ACTIVATE_SYNC_H

#include "core/identity.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef enum SyncMode
{
	SYNC_UPSERT = 'u',
	SYNC_INSERT = 'i',
	SYNC_UPDATE = 'p',
	SYNC_MIRROR = 'm',
	SYNC_APPEND = 'a',
	SYNC_REPLACE = 'r'
} SyncMode;

typedef enum SyncCapture
{
	CAPTURE_DIFF = 'd',
	CAPTURE_TRIGGER = 't',
	CAPTURE_CURSOR = 'c',
	CAPTURE_FULL = 'f'
} SyncCapture;

/* What the target is, decided at declaration. */
typedef enum SyncKind
{
	SYNC_TO_API = 'a',			/* foreign table of the FDW activate: through the outbox */
	SYNC_TO_LOCAL = 'l',		/* ordinary or partitioned table */
	SYNC_TO_FOREIGN = 'f'		/* foreign table of another FDW */
} SyncKind;

typedef struct Sync
{
	int64		id;
	char	   *name;
	Oid			owner;			/* InvalidOid: the role is gone */
	char	   *owner_name;
	char	   *source;			/* as declared */
	char	   *target;
	Oid			source_rel;		/* InvalidOid: a query, or gone */
	Oid			target_rel;		/* InvalidOid: gone */
	Oid			server;			/* of an API target, else InvalidOid */
	SyncKind	kind;
	SyncMode	mode;
	SyncCapture capture;
	bool		paused;
	bool		implicit;		/* DML on a foreign table of ours: no source */
	char	   *pause_reason;
	char	   *schedule;		/* NULL: none */
	char	   *search_path;	/* of the declaration */
	int			nkeys;
	char	  **key;			/* source column names, the names in every key jsonb */
	char	  **key_types;		/* format_type() of each */
	char	  **target_key;		/* target column that key[i] is mapped to, or NULL */
	int			ncolumns;
	char	  **columns;		/* target column (or free field) names of v1.. */
	char	  **column_types;
	bool		has_cursor;		/* Q has a column c: by which it is captured, or options.newest */
	char	   *cursor_type;
	char	   *query_tree;		/* nodeToString(Query) of Q, NULL when implicit */
	int			tree_major;		/* SYNC_TREE_MAJOR of who wrote it */
	int			epoch;			/* another one after each change of target or key */
	Jsonb	   *options;		/* never NULL */
	Jsonb	   *map;			/* NULL: none given */
} Sync;

/* What one run planned or loaded; the columns of activate.run. */
typedef struct RunCounts
{
	int64		read;
	int64		inserted;
	int64		updated;
	int64		deleted;
	int64		rejected;
	int64		quarantined;	/* of the rejected: they fail an expectation */
	bool		held;			/* over the mirror limit: deletes wait for full => true; or gate */
	const char *gate;			/* an expectation lets nothing pass: why; NULL: none does */
} RunCounts;

/* The part of a run that the present transaction does, where a run is done by chunks (sync/chunk.c). */
typedef struct RunChunk
{
	const char *condition;		/* on columns of Q, which is called q */
	bool		ahead;			/* new rows only, by key; an ordinary run comes after the last chunk */
	bool		beside;			/* other processes write theirs at the same time (load/worker.c) */
	bool		last;			/* by cursor: there is nothing behind it */
	Datum		end;			/* text[]: the cursor's value or the key where it ends; not of the last one */
	struct FileEntry *file;		/* it is this file (file/file.h); NULL: as above */
} RunChunk;

/* By name or id, in context; NULL if there is none.  Needs a transaction; runs as the extension's owner. */
extern Sync *sync_load(int64 id, MemoryContext context);
extern Sync *sync_find(const char *name, MemoryContext context);
/* Those whose ids a query of our own gives as its only column, run as the extension's owner; in the current context. */
extern List *sync_load_found(const char *ids);

/*
 * By name for a verb of the calling user: errors 42704 (unknown; the hint
 * lists similar names that the caller may see) and 42501 (neither a member of
 * the owner nor of activate_admin).
 */
extern Sync *sync_require(const char *name, MemoryContext context);

/* Node trees are read by the major version that wrote them only. */
#define SYNC_TREE_MAJOR	(PG_VERSION_NUM / 10000)

/* Q, which there is; NULL after pg_upgrade, until activate_adopt() has it analysed again. */
extern Query *sync_tree(const Sync *sync);

/*
 * The text of Q with the present names.  Returns NULL and sets *reason
 * (palloc'd, one line) if a relation or column of it is gone, or as above.
 */
extern char *sync_query(const Sync *sync, char **reason);

/* The same for any kept tree. */
extern char *sync_tree_text(Query *query, char **reason);

/* The same for who cannot go on without it: an ERROR with the reason. */
extern char *sync_query_needed(const Sync *sync);

/* Was the database restored to an earlier moment, so that the target may be newer (SEMANTICS 20)? */
extern bool sync_set_back(const Sync *sync);

/* Why it cannot run at all (owner, target or source is gone), palloc'd; NULL: it can. */
extern char *sync_gone_reason(const Sync *sync);

/* Options with their defaults (SEMANTICS 19). */
extern int	sync_option_int(const Sync *sync, const char *name, int fallback);
extern bool sync_option_bool(const Sync *sync, const char *name, bool fallback);
extern char *sync_option_text(const Sync *sync, const char *name);	/* NULL: not given */

/* Is what the target held before a run kept, for activate_undo()? */
extern bool sync_keeps_undo(const Sync *sync);

/* Is the target a view, which has no runs (options.materialized)? */
extern bool sync_is_view(const Sync *sync);

/* Does options.conflict say that what an application has changed may stay? */
extern bool sync_heeds_application(const Sync *sync);

/* conflict.c: what that says of a column: "warehouse", "application", "newest" or "ignore". */
extern const char *sync_conflict_policy(Jsonb *options, const char *column);

/* The column of a side that tells when a row was changed (options.newest); NULL: none is declared. */
extern char *sync_conflict_newest(Jsonb *options, const char *side);

/*
 * Acts as the owner, in the rendering settings and under the search_path of
 * the declaration.  The owner's own session needs no restricted switch, and
 * keeps what that takes away (deferred constraints).  Errors 42704 if the
 * owner is gone.
 */
extern void sync_enter_owner(const Sync *sync, IdentityScope *scope);
extern void sync_leave_owner(const Sync *sync, IdentityScope *scope);

/*
 * Serialises runs of a sync.  wait false: returns false if another holds it.
 * Held to the end of the transaction.
 */
extern bool sync_lock(int64 id, bool wait);

/* Pauses it for a reason that people will read; one LOG line; announces at commit. */
extern void sync_pause(int64 id, const char *reason);

/* The same in the statement of a user, who must not wait for whoever is just doing that. */
extern void sync_pause_unless_locked(int64 id, const char *reason);

#endif							/* ACTIVATE_SYNC_H */
