/*
 * signature.c
 *	  Is an event from whom it says it is: a keyed digest of the body as it came.
 *
 * Compared are bytes of equal length, in a time that does not tell how many of
 * them were right.  What a message says is what the caller has sent and what
 * the declaration says, which is no secret; not what the signature should be.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "core/clock.h"
#include "core/compat.h"
#include "receive/receive.h"
#include "sign/sign.h"
#include "template/path.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define SIGNATURE_MAX	SIGN_MAX_DIGEST

/* So many signatures of one call are looked at: of a key, of its successor, of other versions. */
#define SIGNATURES_MAX	16

/* Seconds; what is larger counts milliseconds. */
#define TIMESTAMP_IN_SECONDS	INT64CONST(100000000000)

#define KEY_PREFIX	"whsec_"

typedef struct Signatures
{
	int			n;
	uint8		digest[SIGNATURES_MAX][SIGNATURE_MAX];
	const char *timestamp;		/* NULL: none */
} Signatures;

pg_noreturn static void
refuse(const ReceivedCall *call, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("event for target \"%s\" was refused: %s", call->server->servername, why),
			 errhint("Hand over the headers and the body exactly as they came: "
					 "activate_receive(name, headers => ..., body => ...); and look at option \"signature\" and secret \"hmac\" of the target.")));
}

static bool
same_bytes(const void *one, const void *other, size_t len)
{
	const volatile uint8 *a = one;
	const volatile uint8 *b = other;
	uint8		differs = 0;

	for (size_t i = 0; i < len; i++)
		differs |= a[i] ^ b[i];
	return differs == 0;
}

/* One that is not of the form is none. */
static void
take(const ConnectorInbound *inbound, Signatures *found, const char *text, size_t len)
{
	size_t		prefix = strlen(inbound->prefix);
	uint8		bytes[SIGNATURE_MAX];

	if (found->n == SIGNATURES_MAX || len < prefix || strncmp(text, inbound->prefix, prefix) != 0)
		return;
	if (sign_decode(inbound->encoding, text + prefix, len - prefix, bytes, sizeof(bytes)) != sign_digest_length(inbound->algorithm))
		return;
	memcpy(found->digest[found->n++], bytes, sizeof(bytes));
}

static void
read_signatures(const ReceivedCall *call, Signatures *found)
{
	const ConnectorInbound *inbound = call->inbound;
	const char *separators = inbound->form == SIGNATURE_PAIRS ? ", " : inbound->form == SIGNATURE_LIST ? " " : "";
	char	   *text = receive_header(call, inbound->header);

	if (text == NULL)
		refuse(call, psprintf("there is no header \"%s\"", inbound->header));
	found->n = 0;
	found->timestamp = inbound->timestamp ? receive_header(call, inbound->timestamp) : NULL;
	while (*text != '\0')
	{
		size_t		len = strcspn(text, separators);

		if (inbound->form == SIGNATURE_PAIRS && strncmp(text, "t=", 2) == 0)
			found->timestamp = pnstrdup(text + 2, len - 2);
		else
			take(inbound, found, text, len);
		text += len + strspn(text + len, separators);
	}
}

static void
check_timestamp(const ReceivedCall *call, const char *text)
{
	int64		time;
	int64		now = clock_now() + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64		age;

	if (text == NULL)
		refuse(call, call->inbound->timestamp ? psprintf("there is no header \"%s\"", call->inbound->timestamp)
			   : "its signature has no time");
	if (*text == '\0' || strlen(text) > 15 || strspn(text, "0123456789") != strlen(text))
		refuse(call, "its time is no number of seconds since 1970");
	time = strtoi64(text, NULL, 10);
	time *= time < TIMESTAMP_IN_SECONDS ? USECS_PER_SEC : 1000;
	age = now - time;
	if (age > call->inbound->tolerance || age < -call->inbound->tolerance)
		refuse(call, psprintf("it was signed %lld seconds %s, and %lld are tolerated", llabs(age) / USECS_PER_SEC,
							  age > 0 ? "ago" : "from now", (long long) (call->inbound->tolerance / USECS_PER_SEC)));
}

static void
add(pg_hmac_ctx *hmac, const char *bytes, size_t len)
{
	if (pg_hmac_update(hmac, (const uint8 *) bytes, len) < 0)
		elog(ERROR, "could not compute a signature");
}

/* Of what the template says, with the body byte for byte. */
static void
sign(const ReceivedCall *call, const char *timestamp, const uint8 *key, int keylen, uint8 *digest)
{
	const char *template = call->inbound->content;
	TemplatePiece piece;
	pg_hmac_ctx *hmac = pg_hmac_create(call->inbound->algorithm);

	if (hmac == NULL || pg_hmac_init(hmac, key, keylen) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a signature by the algorithm of target \"%s\"", call->server->servername)));
	while (template_next(&template, &piece) == PATH_STEP)
	{
		char	   *id;

		if (!piece.is_name)
			add(hmac, piece.start, piece.len);
		else if (strncmp(piece.start, "body", piece.len) == 0)
			add(hmac, call->body, call->length);
		else if (strncmp(piece.start, "timestamp", piece.len) == 0 && timestamp != NULL)
			add(hmac, timestamp, strlen(timestamp));
		else if (strncmp(piece.start, "id", piece.len) == 0 &&
				 (id = receive_header(call, call->inbound->id_header)) != NULL)
			add(hmac, id, strlen(id));
	}
	if (pg_hmac_final(hmac, digest, sign_digest_length(call->inbound->algorithm)) < 0)
		elog(ERROR, "could not compute a signature");
	pg_hmac_free(hmac);
}

/* The bytes of a key; what is no such code makes no key. */
static uint8 *
key_bytes(const ReceivedCall *call, const char *key, int *len)
{
	const ConnectorInbound *inbound = call->inbound;
	uint8	   *bytes;

	if (inbound->whsec && strncmp(key, KEY_PREFIX, strlen(KEY_PREFIX)) == 0)
		key += strlen(KEY_PREFIX);
	bytes = palloc(strlen(key) + 4);
	*len = sign_decode(inbound->key, key, strlen(key), bytes, strlen(key) + 1);
	if (*len <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("secret \"hmac\" of target \"%s\" is not written in %s", call->server->servername,
						inbound->key == CODE_HEX ? "hexadecimal" : "base64"),
				 errhint("Give it to activate_target() as it was handed out, or set \"key\" of option \"signature\" to \"text\".")));
	return bytes;
}

static bool
is_token(const ReceivedCall *call, List *keys)
{
	char	   *token = receive_header(call, call->inbound->header);
	uint8		given[PG_SHA256_DIGEST_LENGTH];
	uint8		wanted[PG_SHA256_DIGEST_LENGTH];
	ReceivedCall digest = *call;
	ConnectorInbound plain = *call->inbound;
	bool		right = false;
	ListCell   *lc;

	if (token == NULL)
		refuse(call, psprintf("there is no header \"%s\"", call->inbound->header));
	/* by digests, so that the length is not told either */
	plain.algorithm = PG_SHA256;
	plain.content = "{body}";
	digest.inbound = &plain;
	digest.body = "token";
	digest.length = strlen(digest.body);
	sign(&digest, NULL, (uint8 *) token, strlen(token), given);
	foreach(lc, keys)
	{
		sign(&digest, NULL, lfirst(lc), strlen(lfirst(lc)), wanted);
		right |= same_bytes(given, wanted, sizeof(given));
	}
	return right;
}

static bool
is_signed(const ReceivedCall *call, List *keys)
{
	const ConnectorInbound *inbound = call->inbound;
	Signatures	found;
	bool		right = false;
	ListCell   *lc;

	if (call->body == NULL)
		refuse(call, "what is signed is the body as it came, and it was not handed over");
	read_signatures(call, &found);
	if (inbound->tolerance > 0)
		check_timestamp(call, found.timestamp);
	foreach(lc, keys)
	{
		uint8		digest[SIGNATURE_MAX];
		int			len;
		uint8	   *key = key_bytes(call, lfirst(lc), &len);

		sign(call, found.timestamp, key, len, digest);
		for (int i = 0; i < found.n; i++)
			right |= same_bytes(digest, found.digest[i], sign_digest_length(inbound->algorithm));
	}
	return right;
}

void
receive_verify(const ReceivedCall *call, List *keys)
{
	if (keys == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s\" wants signed events, and has no secret to verify them with", call->server->servername),
				 errhint("Give it one: activate_target(name, 'receive', secret => '{\"hmac\": \"...\"}').")));
	if (call->headers == NULL)
		refuse(call, "its headers were not handed over");
	if (!(call->inbound->form == SIGNATURE_TOKEN ? is_token(call, keys) : is_signed(call, keys)))
		refuse(call, "its signature is not by the secret of the target");
}
