/*
 * message.c
 *	  What a message is: its operation (SEMANTICS 1) and its identity (3).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/digest.h"
#include "core/identity.h"
#include "deliver/engine.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

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
	if (forced || sync->mode == SYNC_APPEND)
		return DECIDED_SEND;

	/* SEMANTICS 9: what was refused is tried again only when its content changes, or where every row is sent each time */
	if (known->refused && known->has_refused_hash && known->refused_hash == hash && !uncertain &&
		(sync->mode != SYNC_REPLACE || known->undone))
		return DECIDED_REFUSED;
	if (!known->sent || sync->mode == SYNC_REPLACE)
		return DECIDED_SEND;
	if (sync->mode == SYNC_INSERT)
		return DECIDED_SKIP;
	return known->has_hash && known->hash == hash && !uncertain ? DECIDED_SKIP : DECIDED_SEND;
}

DeliverText
deliver_text(Jsonb *key, Jsonb *row)
{
	DeliverText text = {0};
	StringInfoData out;

	initStringInfo(&out);
	(void) JsonbToCString(&out, &key->root, VARSIZE(key));
	text.key_len = out.len;
	appendStringInfoChar(&out, '\0');
	if (row)
		(void) JsonbToCString(&out, &row->root, VARSIZE(row));
	text.row_len = out.len - text.key_len - 1;
	text.data = out.data;
	return text;
}

void
deliver_message_id(uint8 *id, uint64 nonce, int64 sync, OutboxOp op, const DeliverText *text)
{
	uint64		numbers[2] = {pg_hton64(nonce), pg_hton64((uint64) sync)};
	char		letter = (char) op;

	digest_begin();
	digest_add(numbers, sizeof(numbers));
	digest_add(text->data, text->key_len);
	digest_add(&letter, 1);
	digest_add(deliver_text_row(text->data), text->row_len);
	digest_end(id);
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
	uint8		id[DELIVER_ID_LEN];

	if (n == 1 && write->batch <= 1)
	{
		strlcpy(out, rows[0].id, DELIVER_ID_TEXT);
		return;
	}
	digest_begin();
	for (int i = 0; i < n; i++)
		digest_add(rows[i].id, strlen(rows[i].id));
	digest_end(id);
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
	/* who comes after a crash draws others */
	deliver_commit_surely();
	return seq;
}
