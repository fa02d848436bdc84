/*
 * digest.c
 *	  Digests of PostgreSQL's own, with a key and without.
 *
 * Its contexts belong to a resource owner, and a deliverer that makes a request
 * has none: then ours.  Nothing between takes and gives back can fail but for
 * lack of memory.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "sign/sign.h"
#include "utils/resowner.h"

static ResourceOwner
owner_enter(void)
{
	static ResourceOwner own = NULL;
	ResourceOwner before = CurrentResourceOwner;

	if (before == NULL)
	{
		if (own == NULL)
			own = ResourceOwnerCreate(NULL, "activate signatures");
		CurrentResourceOwner = own;
	}
	return before;
}

int
sign_digest_length(int algorithm)
{
	switch (algorithm)
	{
		case PG_SHA1:
			return 20;
		case PG_SHA512:
			return PG_SHA512_DIGEST_LENGTH;
		default:
			return PG_SHA256_DIGEST_LENGTH;
	}
}

void
sign_hmac(int algorithm, const void *key, size_t key_len, const void *data, size_t len, uint8 *digest)
{
	ResourceOwner before = owner_enter();
	pg_hmac_ctx *context = pg_hmac_create(algorithm);
	bool		done = context != NULL && pg_hmac_init(context, key, key_len) >= 0 &&
		pg_hmac_update(context, data, len) >= 0 &&
		pg_hmac_final(context, digest, sign_digest_length(algorithm)) >= 0;

	if (context != NULL)
		pg_hmac_free(context);
	CurrentResourceOwner = before;
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a signature by this algorithm")));
}

char *
sign_sha256_hex(const void *data, size_t len)
{
	ResourceOwner before = owner_enter();
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	bool		done = context != NULL && pg_cryptohash_init(context) >= 0 &&
		pg_cryptohash_update(context, data, len) >= 0 &&
		pg_cryptohash_final(context, digest, sizeof(digest)) >= 0;

	if (context != NULL)
		pg_cryptohash_free(context);
	CurrentResourceOwner = before;
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a digest")));
	return sign_encode(CODE_HEX, digest, sizeof(digest));
}
