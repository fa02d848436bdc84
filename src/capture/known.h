/*
 * known.h
 *	  In memory: the keys of a sync, with what a comparison has to know of each.
 *	  Not for other rooms.
 *
 * A key stands for itself by 128 bits of hash, under a seed of the run's own, so
 * that nobody can choose two keys that look like one; they are 32 bytes a key.
 * What few keys have (an intent that waits, a rejection, more than one row) is
 * in a note beside it.
 *
 * Rows were sent in the order in which the source has them, more or less.  So the
 * next key is looked for behind the last one; only where it is not there, an index
 * over all of them is asked, and made at the first need.
 */
#ifndef ACTIVATE_CAPTURE_KNOWN_H
#define ACTIVATE_CAPTURE_KNOWN_H

#include "capture/change.h"
#include "executor/spi.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"

typedef struct KeyHash
{
	uint64		a;
	uint64		b;
} KeyHash;

#define KNOWN_SENT		0x01
#define KNOWN_HASHED	0x02	/* and with what content */
#define KNOWN_SEEN		0x04	/* the source has a row with this key */
#define KNOWN_USELESS	0x08	/* the note says why */
#define KNOWN_NOTED		0x10

typedef struct KnownKey
{
	KeyHash		hash;
	int64		content;
	ItemPointerData place;		/* in activate._sent */
	uint8		flags;
} KnownKey;

/* Of the index: the entry's place from 1, and a part of its hash. */
typedef struct KnownSlot
{
	uint32		entry;			/* 0: none */
	uint32		tag;
} KnownSlot;

#define NOTE_PENDING	0x01	/* intents that count as sent; the newest of them: */
#define NOTE_PLANNED	0x02	/* ... says what its run saw */
#define NOTE_WAITING	0x04	/* intents of any kind but held ones */
#define NOTE_HELD		0x08	/* a delete that is held */
#define NOTE_REJECTED	0x10
#define NOTE_NO_DELETE	0x20	/* ... of its delete */
#define NOTE_NULL		0x40	/* a column of the key is NULL */

/* A content that was refused. */
typedef struct Refusal
{
	struct Refusal *next;
	int64		content;
	bool		undone;			/* ... or taken back */
} Refusal;

typedef struct KeyNote
{
	KeyHash		hash;
	int64		newest;			/* id of the intent that counts */
	int64		planned;
	int64		n;				/* rows, where the key is useless */
	Refusal    *refusals;
	Jsonb	   *key;			/* NULL: not needed */
	uint8		flags;
	char		status;
} KeyNote;

/* So many rows are looked up together. */
#define KNOWN_BATCH		32

typedef struct Known
{
	MemoryContext context;		/* all of it */
	MemoryContext row;			/* for what a row leaves behind; reset now and then */
	Size		limit;			/* of memory */
	int			nkeys;
	char	  **names;
	int		   *lengths;
	JsonbValue *values;			/* of a key of ours */
	KeyHash		seed;
	int64		sent;			/* keys that were */
	KnownKey   *keys;			/* in the order in which they were found */
	uint32		n;
	uint32		room;
	uint32		next;			/* the key after the one that was found last */
	bool		astray;			/* the last one was not there */
	KnownSlot  *slots;			/* NULL: no index was needed yet */
	uint32		mask;			/* their number less 1 */
	struct notes_hash *notes;
} Known;

extern Known *known_create(const Sync *sync);
extern void known_free(Known *known);

/* Rows that a plan, which is not saved, is thought to give; whether there is room for so many keys; whether it is used up. */
extern double known_planned_rows(SPIPlanPtr plan);
extern bool known_room_for(const Known *known, double rows);
extern bool known_is_full(const Known *known);

/*
 * All that our tables say of the sync's keys, as of the active snapshot.
 * forced: of the intents only these count as sent.  False: there is no room.
 */
extern bool known_read(Known *known, const Sync *sync, bool forced);

/* known_hash.c: of a key whose values these are, in the order of the declaration; of one in our tables */
extern KeyHash known_hash(const Known *known, const JsonbValue *values);
extern KeyHash known_hash_of(const Known *known, Jsonb *key);

/* It will be asked for soon: to wait for memory costs more than all else that finding a key does. */
extern void known_expect(const Known *known, KeyHash hash);

/* That key, up to the next new one; one that is new has no flags.  NULL: there is no room. */
extern KnownKey *known_key(Known *known, KeyHash hash);

/* NULL: there is none. */
extern KnownKey *known_find(Known *known, KeyHash hash);

/* The note of a key; one that is new is empty. */
extern KeyNote *known_note(Known *known, KnownKey *key);

/* A copy of the key into the note. */
extern void known_keep(Known *known, KeyNote *note, Jsonb *key);

/* A function of each key, with its note if it has one. */
extern void known_each(Known *known, void (*visit) (KnownKey *key, const KeyNote *note, void *arg), void *arg);

#endif							/* ACTIVATE_CAPTURE_KNOWN_H */
