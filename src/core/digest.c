/*
 * digest.c
 *	  SHA-256 by one context for the life of the process, because making
 *	  OpenSSL's costs more than the digest: see digest.h.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "core/digest.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static pg_cryptohash_ctx *context = NULL;

static void
digest_check(int result)
{
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a SHA-256 digest: %s",
						context ? pg_cryptohash_error(context) : "out of memory")));
}

void
digest_begin(void)
{
	/* it belongs to no transaction's resources */
	if (context == NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);
		ResourceOwner owner = CurrentResourceOwner;

		CurrentResourceOwner = ResourceOwnerCreate(NULL, "activate digest");
		context = pg_cryptohash_create(PG_SHA256);
		CurrentResourceOwner = owner;
		MemoryContextSwitchTo(previous);
	}
	digest_check(context ? pg_cryptohash_init(context) : -1);
}

void
digest_add(const void *data, size_t len)
{
	uint32		prefix = pg_hton32((uint32) len);

	digest_check(pg_cryptohash_update(context, (const uint8 *) &prefix, sizeof(prefix)));
	digest_check(pg_cryptohash_update(context, data, len));
}

void
digest_end(uint8 *digest)
{
	uint8		whole[PG_SHA256_DIGEST_LENGTH];

	digest_check(pg_cryptohash_final(context, whole, sizeof(whole)));
	memcpy(digest, whole, DIGEST_LEN);
}
