/*
 * message.c
 *	  What a message is: its operation (SEMANTICS 1) and its identity (3).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "core/identity.h"
#include "deliver/engine.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/*
 * The table of SEMANTICS 1.  uncertain: a message of this key may have reached
 * the target since, so that what was sent last says nothing of what it holds.
 */
DeliverDecision
deliver_decide(const Sync *sync, bool found, int64 hash, bool forced, bool uncertain,
			   const DeliverKnown *known, OutboxOp *op)
{
	*op = outbox_mode_op(sync->mode);
	if (!found)
	{
		if (sync->mode == SYNC_MIRROR || sync->mode == SYNC_REPLACE)
			*op = OUTBOX_DELETE;
		if (!known->sent && (!uncertain || *op != OUTBOX_DELETE))
			return DECIDED_SUPERSEDED;
		if (*op != OUTBOX_DELETE)
			return DECIDED_SKIP;
		return known->refused && known->refused_delete && !forced && !uncertain ? DECIDED_REFUSED : DECIDED_SEND;
	}
	if (forced || sync->mode == SYNC_APPEND || sync->mode == SYNC_REPLACE)
		return DECIDED_SEND;

	/* SEMANTICS 9: what was refused is tried again only when its content changes */
	if (known->refused && known->has_refused_hash && known->refused_hash == hash && !uncertain)
		return DECIDED_REFUSED;
	if (!known->sent)
		return DECIDED_SEND;
	if (sync->mode == SYNC_INSERT)
		return DECIDED_SKIP;
	return known->has_hash && known->hash == hash && !uncertain ? DECIDED_SKIP : DECIDED_SEND;
}

static void
known_from_tuple(DeliverKnown *known, HeapTuple tuple, TupleDesc desc, MemoryContext context)
{
	bool		isnull;
	char	   *text;
	MemoryContext previous = MemoryContextSwitchTo(context);

	known->sent = DatumGetBool(SPI_getbinval(tuple, desc, 2, &isnull));
	known->hash = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
	known->has_hash = !isnull;
	known->seq = DatumGetInt64(SPI_getbinval(tuple, desc, 4, &isnull));
	known->remote_id = SPI_getvalue(tuple, desc, 5);
	known->refused = DatumGetBool(SPI_getbinval(tuple, desc, 6, &isnull));
	known->refused_hash = DatumGetInt64(SPI_getbinval(tuple, desc, 7, &isnull));
	known->has_refused_hash = !isnull;
	text = SPI_getvalue(tuple, desc, 8);
	known->refused_delete = text != NULL && strcmp(text, outbox_op_name(OUTBOX_DELETE)) == 0;
	MemoryContextSwitchTo(previous);
}

/* What the target holds of these keys, and what it refused of them. */
void
deliver_known(int64 sync, Jsonb **keys, int n, DeliverKnown *out, MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	IdentityScope scope;
	Oid			types[2] = {INT8OID, JSONBARRAYOID};
	Datum		values[2];
	Datum	   *elements = palloc(sizeof(Datum) * n);

	memset(out, 0, sizeof(DeliverKnown) * n);
	for (int i = 0; i < n; i++)
		elements[i] = JsonbPGetDatum(keys[i]);
	values[0] = Int64GetDatum(sync);
	values[1] = PointerGetDatum(construct_array(elements, n, JSONBOID, -1, false, TYPALIGN_INT));

	identity_enter_extension(&scope);
	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT * FROM activate._deliver_known($1, $2)", 2, types);
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int			ord = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		known_from_tuple(&out[ord - 1], SPI_tuptable->vals[i], SPI_tuptable->tupdesc, context);
	}
	SPI_finish();
	identity_leave(&scope);
}

/*
 * One context for the life of the process, because OpenSSL's cost more than
 * the digest; so it belongs to no transaction's resources.
 */
static pg_cryptohash_ctx *
digest_begin(void)
{
	static pg_cryptohash_ctx *digest = NULL;

	if (digest == NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);
		ResourceOwner owner = CurrentResourceOwner;

		CurrentResourceOwner = ResourceOwnerCreate(NULL, "activate digest");
		digest = pg_cryptohash_create(PG_SHA256);
		CurrentResourceOwner = owner;
		MemoryContextSwitchTo(previous);
	}
	if (digest == NULL || pg_cryptohash_init(digest) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the identity of a message: %s",
						digest ? pg_cryptohash_error(digest) : "out of memory")));
	return digest;
}

/* Lengths go in as well, so that no two lists of parts are the same bytes. */
static void
digest_add(pg_cryptohash_ctx *digest, const void *data, size_t len)
{
	uint32		prefix = pg_hton32((uint32) len);

	if (pg_cryptohash_update(digest, (const uint8 *) &prefix, sizeof(prefix)) < 0 ||
		pg_cryptohash_update(digest, data, len) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the identity of a message: %s", pg_cryptohash_error(digest))));
}

static void
digest_end(pg_cryptohash_ctx *digest, uint8 *id)
{
	uint8		result[PG_SHA256_DIGEST_LENGTH];

	if (pg_cryptohash_final(digest, result, sizeof(result)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute the identity of a message: %s", pg_cryptohash_error(digest))));
	memcpy(id, result, DELIVER_ID_LEN);
}

static void
digest_add_jsonb(pg_cryptohash_ctx *digest, Jsonb *value)
{
	StringInfoData text;

	initStringInfo(&text);
	if (value)
		JsonbToCString(&text, &value->root, VARSIZE(value));
	digest_add(digest, text.data, text.len);
	pfree(text.data);
}

void
deliver_message_id(uint8 *id, uint64 nonce, int64 sync, Jsonb *key, OutboxOp op, Jsonb *row)
{
	pg_cryptohash_ctx *digest = digest_begin();
	uint64		numbers[2] = {pg_hton64(nonce), pg_hton64((uint64) sync)};
	char		letter = (char) op;

	digest_add(digest, numbers, sizeof(numbers));
	digest_add_jsonb(digest, key);
	digest_add(digest, &letter, 1);
	digest_add_jsonb(digest, row);
	digest_end(digest, id);
}

/* As uuid text; out has DELIVER_ID_TEXT bytes. */
char *
deliver_id_text(const uint8 *id, char *out)
{
	static const char digits[] = "0123456789abcdef";
	char	   *p = out;

	for (int i = 0; i < DELIVER_ID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[id[i] >> 4];
		*p++ = digits[id[i] & 15];
	}
	*p = '\0';
	return out;
}

/* The key of a call: the id of its message, or a digest of the ids in order. */
void
deliver_call_key(const ConnectorRow *rows, int n, const ConnectorWrite *write, char *out)
{
	pg_cryptohash_ctx *digest;
	uint8		id[DELIVER_ID_LEN];

	if (n == 1 && write->batch <= 1)
	{
		strlcpy(out, rows[0].id, DELIVER_ID_TEXT);
		return;
	}
	digest = digest_begin();
	for (int i = 0; i < n; i++)
		digest_add(digest, rows[i].id, strlen(rows[i].id));
	digest_end(digest, id);
	deliver_id_text(id, out);
}

/* The key under the target's column names, as far as its columns are mapped. */
Jsonb *
deliver_target_key(const Sync *sync, Jsonb *key)
{
	JsonbParseState *state = NULL;
	JsonbValue	name;
	JsonbValue	value;

	/* written under them, whatever has become of the object's key since */
	if (sync->implicit)
		return key;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < sync->nkeys; i++)
	{
		if (sync->target_key[i] == NULL ||
			getKeyJsonValueFromContainer(&key->root, sync->key[i], strlen(sync->key[i]), &value) == NULL)
			continue;
		name.type = jbvString;
		name.val.string.val = sync->target_key[i];
		name.val.string.len = strlen(sync->target_key[i]);
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* A number above all that were given to intents so far. */
int64
deliver_next_seq(void)
{
	IdentityScope scope;
	bool		isnull;
	int64		seq;

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute("SELECT nextval('activate.outbox_id_seq')", false, 1);
	seq = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	identity_leave(&scope);
	return seq;
}
