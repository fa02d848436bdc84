/*
 * change.h
 *	  Differences between a kept query and the catalog, and the declaration as
 *	  it is changed by them.  Private to the room.
 */
#ifndef ACTIVATE_DRIFT_CHANGE_H
#define ACTIVATE_DRIFT_CHANGE_H

#include "drift/drift.h"

typedef enum DriftKind
{
	DRIFT_RENAME,				/* of a column */
	DRIFT_RELATION,				/* a relation has another name */
	DRIFT_DROP,
	DRIFT_ADD,
	DRIFT_TYPE
} DriftKind;

typedef enum DriftPolicy
{
	DRIFT_PROPOSE,
	DRIFT_EVOLVE,
	DRIFT_FREEZE,
	DRIFT_DISCARD
} DriftPolicy;

/* The name of a type that has none any more. */
#define DRIFT_TYPE_GONE "one that was dropped"

typedef struct Drift
{
	DriftKind	kind;
	Oid			relation;
	AttrNumber	attnum;			/* 0: the relation itself */
	char	   *name;			/* at declaration; of an addition its name */
	char	   *became;			/* name or type that it has now; NULL: it is gone */
	char	   *was;			/* type at declaration, where it changed */
	double		confidence;
} Drift;

/* A declaration while it is changed: texts that are NULL stay as they are. */
typedef struct DriftEdit
{
	const Sync *sync;
	Query	   *query;			/* a copy, changed */
	char	   *source;
	char	   *key;
	List	   *map_names;		/* char *; NIL: the map stays as it is */
	List	   *map_texts;
	List	   *option_names;
	List	   *option_values;
	List	   *columns;		/* char * */
	List	   *column_types;
	List	   *key_types;
	const char *target_was;		/* a column of the target that has another name now; NULL: none */
	const char *target_is;
	bool		uncast;			/* casts to a former type were taken out of the query */
	bool		needs_map;		/* the source still has a column that is left out */
	char	   *add_column;		/* the target gets it first: name and type, as in ALTER TABLE */
	char	   *refusal;		/* why the change cannot be made, for people; NULL: it was */
} DriftEdit;

extern const char *drift_kind_name(DriftKind kind);
extern DriftPolicy drift_policy(const Sync *sync);

/* "column email of shop.contact was renamed to mail" */
extern char *drift_words(const Drift *drift);
extern char *drift_relation_name(Oid relation);

/* find.c: List of Drift. */
extern List *drift_find(const Sync *sync, Query *query);

/* The relation that a Var reads, at its level; NULL: it is none. */
extern RangeTblEntry *drift_relation_of(const Var *var, const List *queries);

/* The source as it was declared: the one entry of FROM. */
extern RangeTblEntry *drift_source(Query *query);

/* Is the name of that column the one that the relation gives it, and not an alias of the query? */
extern bool drift_is_named(const RangeTblEntry *rte, int attnum);

extern int	drift_natts(Oid relation);

/* NULL: there is none of that number any more. */
extern char *drift_column_name(Oid relation, AttrNumber attnum);

/* The name in the text of a source query that means nothing any more, and the relation that it meant; NULL: all are right. */
extern char *drift_lost_name(const Sync *sync, const RangeTblEntry *source, Oid *relation);

extern bool drift_has_casts(const char *source);

/* edit.c: changes of the kept query, without reading any text of the declaration. */
extern DriftEdit *drift_edit(const Sync *sync);
extern void drift_leave_out(DriftEdit *edit, const Drift *drift);
extern void drift_take_in(DriftEdit *edit, const Drift *drift);
extern void drift_retype(DriftEdit *edit, const Drift *drift);
/* The contrary: without the casts to that former type. */
extern void drift_uncast(DriftEdit *edit, Oid relation, const char *column, const char *was);

/*
 * text.c: what a query that was changed makes of source and map; names: and all texts under the
 * names of today, which the query then has, too.
 */
extern void drift_rewrite(DriftEdit *edit, bool names);

/* Could a column of that name be sent, if the source had it? */
extern bool drift_might_take(const Sync *sync, const Drift *drift);

/* store.c */
extern void drift_apply(const DriftEdit *edit);
/* What was noted as healed is not. */
extern void drift_forget(int64 id);
extern Datum drift_proposal(const DriftEdit *edit);
extern void drift_changed(void);

/* Writes a difference down; its id, 0: somebody has taken that back. */
extern int64 drift_note(const Sync *sync, const Drift *drift, const DriftEdit *edit, const char *state, const char *reason, bool remote);

extern bool drift_redeclares;

/* look.c: in a command that changes a relation nothing of the owner may be executed. */
extern bool drift_look(const Sync *sync, bool in_command, char **frozen);

/* Is every column sent, as it was declared: no map was given, or only a renaming has written one? */
extern bool drift_is_open_map(const Sync *sync);

/* far.c: the same for foreign tables, of which only their servers know. */
extern bool drift_look_far(const Sync *sync, char **frozen);

/* types.c: targets take types that their columns can be cast to as they are.  True: one has. */
extern bool drift_widen(const Sync *sync);

/* Its types that are open, of which that is one. */
extern void drift_heal_types(const Sync *sync, int64 id);

/* heal.c: from its texts, as its owner; what is noted of a difference that is healed (reason NULL), or why it is not. */
extern void drift_redeclare(const Sync *sync);
extern void drift_mark(int64 id, const char *reason);
extern void drift_must(const Sync *sync, const char *command);

/* A command as the owner of the sync; the error, after all of it is taken back, or NULL. */
extern ErrorData *drift_by_owner(const Sync *sync, const char *command);

/*
 * heal.c: an added column is sent from now on, by the owner, whose target gets it if it
 * must; id is that of its row in activate.drift.  False: it is not, error (NULL: written down there) says why.
 */
extern bool drift_take_column(const Sync *sync, const Drift *drift, int64 id, ErrorData **error);

#endif							/* ACTIVATE_DRIFT_CHANGE_H */
