/*
 * known_hash.c
 *	  The hash that stands for a key in memory: the same for two keys that are
 *	  equal as jsonb, whether they come from a row of the source or from our
 *	  tables.
 */
#include "postgres.h"

#include "capture/known.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

/* Values of one kind are no values of another. */
#define MARK_STRING		UINT64CONST(0x9e3779b97f4a7c15)
#define MARK_POSITIVE	UINT64CONST(0xbf58476d1ce4e5b9)
#define MARK_NEGATIVE	UINT64CONST(0x94d049bb133111eb)
#define MARK_CONTAINER	UINT64CONST(0xd6e8feb86659fd93)
#define MARK_OTHER		UINT64CONST(0xa0761d6478bd642f)

static void add_value(KeyHash *hash, const JsonbValue *value);
static void add_container(KeyHash *hash, JsonbContainer *container);

/* Of a key as our tables have it: an object, of which the values count in the order of the declaration. */
KeyHash
known_hash_of(const Known *known, Jsonb *key)
{
	bool		whole = JB_ROOT_IS_OBJECT(key) && JB_ROOT_COUNT(key) == known->nkeys;
	KeyHash		hash = known->seed;

	for (int i = 0; i < known->nkeys && whole; i++)
		whole = getKeyJsonValueFromContainer(&key->root, known->names[i], known->lengths[i], &known->values[i]) != NULL;
	if (whole)
		return known_hash(known, known->values);
	/* what a truncate leaves, or a key of other columns: no row of the source has it */
	add_container(&hash, &key->root);
	hash.a ^= MARK_OTHER;
	return hash;
}

KeyHash
known_hash(const Known *known, const JsonbValue *values)
{
	KeyHash		hash = known->seed;

	for (int i = 0; i < known->nkeys; i++)
		add_value(&hash, &values[i]);
	return hash;
}

static void
add_bytes(KeyHash *hash, uint64 mark, const void *bytes, int n)
{
	hash->a = hash_bytes_extended(bytes, n, hash->a ^ mark);
	hash->b = hash_bytes_extended(bytes, n, hash->b ^ mark);
}

/* Numbers that are equal, however they are written; what is built in for that sees no sign. */
static void
add_number(KeyHash *hash, Numeric number)
{
	static Numeric zero = NULL;
	uint64		mark;

	if (zero == NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);

		zero = int64_to_numeric(0);
		MemoryContextSwitchTo(previous);
	}
	mark = DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(number), NumericGetDatum(zero))) ?
		MARK_NEGATIVE : MARK_POSITIVE;
	hash->a = DatumGetUInt64(DirectFunctionCall2(hash_numeric_extended, NumericGetDatum(number), UInt64GetDatum(hash->a ^ mark)));
	hash->b = DatumGetUInt64(DirectFunctionCall2(hash_numeric_extended, NumericGetDatum(number), UInt64GetDatum(hash->b ^ mark)));
}

static void
add_value(KeyHash *hash, const JsonbValue *value)
{
	uint8		byte;

	switch (value->type)
	{
		case jbvString:
			add_bytes(hash, MARK_STRING, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			add_number(hash, value->val.numeric);
			break;
		case jbvBinary:
			add_container(hash, value->val.binary.data);
			break;
		default:
			byte = value->type == jbvBool ? value->val.boolean : 2;
			add_bytes(hash, MARK_OTHER, &byte, 1);
	}
}

static void
add_container(KeyHash *hash, JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		uint8		byte = (uint8) token;

		add_bytes(hash, MARK_CONTAINER, &byte, 1);
		if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM)
			add_value(hash, &value);
	}
}
