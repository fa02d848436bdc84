/*
 * hash.c
 *	  activate._row_hash(record): 64 bits that tell whether a row's content is
 *	  what was sent last.
 *
 * The hashes are stored, so they must be the same in every session, after a
 * restart and after a dump: built-in types are hashed by their bytes, which
 * depend on no setting; what holds oids that a restore changes (enums,
 * composites, reg*) and types of other extensions by their text.  Names of
 * columns are part of the content, because they are part of what is sent.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/tupmacs.h"
#include "capture/change.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "core/compat.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define NULL_MARK	UINT64CONST(0x9e3779b97f4a7c15)

typedef enum HashKind
{
	HASH_VALUE,					/* pass by value */
	HASH_FIXED,					/* fixed length, by reference */
	HASH_VARLENA,
	HASH_TEXT,					/* by the output function */
	HASH_NOTHING				/* the column was dropped */
} HashKind;

typedef struct HashColumn
{
	HashKind	kind;
	int			length;
	bool		output_varlena;
	FmgrInfo	output;
} HashColumn;

struct RowHash
{
	int			n;
	uint64		seed;			/* hash of the names */
	HashColumn	columns[FLEXIBLE_ARRAY_MEMBER];
};

static void hash_column_init(HashColumn *column, Oid type, MemoryContext context);
static bool hash_by_bytes(Oid type);
static uint64 hash_datum(HashColumn *column, Datum value, uint64 seed);

ACTIVATE_FUNCTION(activate_row_hash);
Datum
activate_row_hash(PG_FUNCTION_ARGS)
{
	CaptureRecord *row = capture_record(fcinfo, PG_GETARG_HEAPTUPLEHEADER(0));

	if (row->plan == NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		row->plan = capture_hash_prepare(row->desc, 0, NULL);
		MemoryContextSwitchTo(previous);
	}
	PG_RETURN_INT64(capture_hash(row->plan, row->values, row->isnull));
}

int64
capture_hash(RowHash *it, const Datum *values, const bool *isnull)
{
	uint64		hash = it->seed;

	for (int i = 0; i < it->n; i++)
	{
		if (it->columns[i].kind == HASH_NOTHING)
			continue;
		if (isnull[i])
			hash = hash_combine64(hash, NULL_MARK);
		else
			hash = hash_datum(&it->columns[i], values[i], hash);
	}
	return (int64) hash;
}

RowHash *
capture_hash_prepare(TupleDesc desc, int first, char **names)
{
	int			n = desc->natts - first;
	RowHash    *hash = palloc0(offsetof(RowHash, columns) + n * sizeof(HashColumn));

	hash->n = n;
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, first + i);
		const char *name = names ? names[i] : NameStr(attribute->attname);

		if (attribute->attisdropped)
		{
			hash->columns[i].kind = HASH_NOTHING;
			continue;
		}
		/* with the NUL, so that ("ab", "c") is not ("a", "bc") */
		hash->seed = hash_bytes_extended((const unsigned char *) name, (int) strlen(name) + 1, hash->seed);
		hash_column_init(&hash->columns[i], attribute->atttypid, CurrentMemoryContext);
	}
	return hash;
}

static void
hash_column_init(HashColumn *column, Oid type, MemoryContext context)
{
	int16		length;
	bool		by_value;
	Oid			output;

	type = getBaseType(type);
	get_typlenbyval(type, &length, &by_value);
	column->length = length;
	if (hash_by_bytes(type) && (by_value || length > 0 || length == -1))
	{
		column->kind = by_value ? HASH_VALUE : length > 0 ? HASH_FIXED : HASH_VARLENA;
		return;
	}
	column->kind = HASH_TEXT;
	getTypeOutputInfo(type, &output, &column->output_varlena);
	fmgr_info_cxt(output, &column->output, context);
}

/* Do the bytes of a value say the same here and in a restored dump? */
static bool
hash_by_bytes(Oid type)
{
	Oid			element = get_element_type(type);

	if (OidIsValid(element))
		return hash_by_bytes(getBaseType(element));
	if (type >= FirstNormalObjectId)
		return false;
	switch (type)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case ACLITEMOID:
			return false;
	}
	switch (get_typtype(type))
	{
		case TYPTYPE_BASE:
		case TYPTYPE_RANGE:
		case TYPTYPE_MULTIRANGE:
			return true;
	}
	return false;
}

static uint64
hash_datum(HashColumn *column, Datum value, uint64 seed)
{
	uint64		bits;
	uint64		result = 0;

	switch (column->kind)
	{
		case HASH_VALUE:
			bits = (uint64) value;
			result = hash_bytes_extended((const unsigned char *) &bits, sizeof(bits), seed);
			break;
		case HASH_FIXED:
			result = hash_bytes_extended((const unsigned char *) DatumGetPointer(value), column->length, seed);
			break;
		case HASH_VARLENA:
			{
				struct varlena *plain = pg_detoast_datum_packed((struct varlena *) DatumGetPointer(value));

				result = hash_bytes_extended((const unsigned char *) VARDATA_ANY(plain),
											 (int) VARSIZE_ANY_EXHDR(plain), seed);
				if ((Pointer) plain != DatumGetPointer(value))
					pfree(plain);
				break;
			}
		case HASH_TEXT:
			{
				char	   *text = OutputFunctionCall(&column->output, value);

				result = hash_bytes_extended((const unsigned char *) text, (int) strlen(text), seed);
				pfree(text);
				break;
			}
		case HASH_NOTHING:
			break;
	}
	return result;
}
