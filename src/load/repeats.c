/*
 * repeats.c
 *	  Do rows that a statement reads have keys of their own?
 *
 * Nearly always they have, and an aggregate over all of them to know it costs
 * more than reading them.  So hashes of the keys are noted while they are read;
 * only where two are equal is it found out, in SQL, which keys those are.
 */
#include "postgres.h"

#include "core/compat.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "load/repeats.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

typedef struct NotedKey
{
	uint64		hash;
	char		status;
} NotedKey;

#define SH_PREFIX noted
#define SH_ELEMENT_TYPE NotedKey
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(table, key) ((uint32) ((key) >> 32))
#define SH_EQUAL(table, x, y) ((x) == (y))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Of the statement that is executed. */
typedef struct Repeats
{
	struct Repeats *outer;		/* of a run within which this one came */
	MemoryContext context;
	MemoryContextCallback callback;
	uint64		most;			/* keys there is room for */
	noted_hash *keys;
	bool		found;			/* or not known */
} Repeats;

/* Of an argument. */
typedef struct KeyPart
{
	FmgrInfo   *hash;
	Oid			collation;
} KeyPart;

static Repeats *repeats = NULL;

static void forget(void *arg);
static KeyPart *key_parts(FunctionCallInfo fcinfo);

void
repeats_begin(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "activate keys", ALLOCSET_DEFAULT_SIZES);
	Repeats    *begun = MemoryContextAllocZero(context, sizeof(Repeats));

	begun->context = context;
	begun->outer = repeats;
	begun->most = get_hash_memory_limit() / (2 * sizeof(NotedKey));
	begun->keys = noted_create(context, 1024, NULL);
	begun->callback.func = forget;
	begun->callback.arg = begun;
	MemoryContextRegisterResetCallback(context, &begun->callback);
	repeats = begun;
}

void
repeats_end(void)
{
	MemoryContextDelete(repeats->context);
}

/* However it ended; contexts of an aborted transaction go in any order. */
static void
forget(void *arg)
{
	for (Repeats **place = &repeats; *place; place = &(*place)->outer)
	{
		if (*place != arg)
			continue;
		*place = (*place)->outer;
		return;
	}
}

/* NULL: a type has no hash. */
static KeyPart *
key_parts(FunctionCallInfo fcinfo)
{
	KeyPart    *parts = fcinfo->flinfo->fn_extra;
	List	   *arguments;

	if (parts != NULL)
		return parts;
	if (get_fn_expr_variadic(fcinfo->flinfo) || !IsA(fcinfo->flinfo->fn_expr, FuncExpr))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("activate._take_key() takes the columns of a key")));
	arguments = ((FuncExpr *) fcinfo->flinfo->fn_expr)->args;
	parts = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, PG_NARGS() * sizeof(KeyPart));
	for (int i = 0; i < PG_NARGS(); i++)
	{
		TypeCacheEntry *type = lookup_type_cache(getBaseType(get_fn_expr_argtype(fcinfo->flinfo, i)),
												 TYPECACHE_HASH_EXTENDED_PROC_FINFO);

		parts[i].collation = exprCollation(list_nth(arguments, i));
		if (!OidIsValid(type->hash_extended_proc) || (OidIsValid(type->typcollation) && !OidIsValid(parts[i].collation)))
			return NULL;
		parts[i].hash = &type->hash_extended_proc_finfo;
	}
	fcinfo->flinfo->fn_extra = parts;
	return parts;
}

static void
note_key(FunctionCallInfo fcinfo)
{
	KeyPart    *parts = key_parts(fcinfo);
	uint64		hash = 0;
	bool		found = parts == NULL;

	for (int i = 0; i < PG_NARGS() && !found; i++)
	{
		found = PG_ARGISNULL(i);
		if (!found)
			hash = DatumGetUInt64(FunctionCall2Coll(parts[i].hash, parts[i].collation, PG_GETARG_DATUM(i), UInt64GetDatum(hash)));
	}
	if (!found)
		(void) noted_insert(repeats->keys, hash, &found);
	repeats->found = found || repeats->keys->members > repeats->most;
}

ACTIVATE_FUNCTION(activate_take_key);
Datum
activate_take_key(PG_FUNCTION_ARGS)
{
	if (repeats != NULL && !repeats->found)
		note_key(fcinfo);
	PG_RETURN_BOOL(true);
}

/* The argument is there to be computed first. */
ACTIVATE_FUNCTION(activate_keys_repeat);
Datum
activate_keys_repeat(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(repeats == NULL || repeats->found);
}
