/*
 * digest.c
 *	  activate._key_digest(jsonb): see digest.h.
 *
 * Not jsonb's own hash, which is the same for 1 and -1.  A digest that cannot
 * be made to collide, because keys are data of anybody's.  It is written down
 * and dumped: what goes in is bytes of text, as they are in the database.
 */
#include "postgres.h"

#include "catalog/digest.h"
#include "core/compat.h"
#include "lib/stringinfo.h"
#include "port/pg_bswap.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

static void
append_text(StringInfo out, char kind, const char *text, size_t len)
{
	uint32		prefix = pg_hton32((uint32) len);

	appendStringInfoChar(out, kind);
	appendBinaryStringInfo(out, (const char *) &prefix, sizeof(prefix));
	appendBinaryStringInfo(out, text, (int) len);
}

static void
append_scalar(StringInfo out, const JsonbValue *value)
{
	char	   *number;

	switch (value->type)
	{
		case jbvString:
			append_text(out, 's', value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			/* without the zeros at the end that make no difference */
			number = numeric_normalize(value->val.numeric);
			append_text(out, 'n', number, strlen(number));
			break;
		case jbvBool:
			appendStringInfoChar(out, value->val.boolean ? 't' : 'f');
			break;
		case jbvNull:
			appendStringInfoChar(out, '0');
			break;
		default:
			elog(ERROR, "unexpected type of a value in a key: %d", (int) value->type);
	}
}

/* Members of an object come in the order that jsonb keeps them in. */
void
catalog_key_digest(Jsonb *key, uint8 *digest)
{
	StringInfoData bytes;
	JsonbIterator *it = JsonbIteratorInit(&key->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	initStringInfo(&bytes);
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		switch (token)
		{
			case WJB_BEGIN_OBJECT:
				appendStringInfoChar(&bytes, '{');
				break;
			case WJB_BEGIN_ARRAY:
				appendStringInfoChar(&bytes, value.val.array.rawScalar ? '=' : '[');
				break;
			case WJB_END_OBJECT:
			case WJB_END_ARRAY:
				appendStringInfoChar(&bytes, '.');
				break;
			default:
				append_scalar(&bytes, &value);
				break;
		}
	}
	digest_begin();
	digest_add(bytes.data, bytes.len);
	digest_end(digest);
	pfree(bytes.data);
}

ACTIVATE_FUNCTION(activate_key_digest);

Datum
activate_key_digest(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));

	StaticAssertStmt(DIGEST_LEN == UUID_LEN, "a digest is a uuid");
	catalog_key_digest(PG_GETARG_JSONB_P(0), result->data);
	PG_RETURN_UUID_P(result);
}
