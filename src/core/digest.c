/*
 * digest.c
 *	  SHA-256 by one context for the life of the process, because making
 *	  OpenSSL's costs more than the digest: see digest.h.
 *
 * So does looking for the algorithm, which OpenSSL 3 does anew for each digest
 * that goes by pg_cryptohash_init(): twice for each message.  Where we are built
 * with OpenSSL, and PostgreSQL is, too, it is found once.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/md5.h"
#include "common/sha1.h"
#include "common/sha2.h"
#include "core/digest.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#if defined(ACTIVATE_OPENSSL) && defined(USE_OPENSSL)
#include <openssl/evp.h>
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#define DIGEST_BY_OPENSSL
#endif
#endif

static void
digest_check(const pg_cryptohash_ctx *hash, int result)
{
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a digest: %s",
						hash ? pg_cryptohash_error(unconstify(pg_cryptohash_ctx *, hash)) : "out of memory")));
}

/* It belongs to no transaction's resources. */
static pg_cryptohash_ctx *
digest_create(pg_cryptohash_type type)
{
	MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);
	ResourceOwner owner = CurrentResourceOwner;
	pg_cryptohash_ctx *created;

	CurrentResourceOwner = ResourceOwnerCreate(NULL, "activate digest");
	created = pg_cryptohash_create(type);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(previous);
	return created;
}

#ifdef DIGEST_BY_OPENSSL

static EVP_MD_CTX *context = NULL;

static void
digest_succeeded(int result)
{
	if (result != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute a digest")));
}

void
digest_begin(void)
{
	static EVP_MD *algorithm = NULL;

	if (algorithm == NULL)
		algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (context == NULL)
		context = EVP_MD_CTX_new();
	digest_succeeded(algorithm && context ? EVP_DigestInit_ex(context, algorithm, NULL) : 0);
}

static void
digest_bytes(const void *data, size_t len)
{
	digest_succeeded(EVP_DigestUpdate(context, data, len));
}

static void
digest_whole(uint8 *whole)
{
	digest_succeeded(EVP_DigestFinal_ex(context, whole, NULL));
}

#else

static pg_cryptohash_ctx *context = NULL;

void
digest_begin(void)
{
	if (context == NULL)
		context = digest_create(PG_SHA256);
	digest_check(context, context ? pg_cryptohash_init(context) : -1);
}

static void
digest_bytes(const void *data, size_t len)
{
	digest_check(context, pg_cryptohash_update(context, data, len));
}

static void
digest_whole(uint8 *whole)
{
	digest_check(context, pg_cryptohash_final(context, whole, PG_SHA256_DIGEST_LENGTH));
}

#endif							/* DIGEST_BY_OPENSSL */

void
digest_add(const void *data, size_t len)
{
	uint32		prefix = pg_hton32((uint32) len);

	digest_bytes(&prefix, sizeof(prefix));
	digest_bytes(data, len);
}

void
digest_end(uint8 *digest)
{
	uint8		whole[PG_SHA256_DIGEST_LENGTH];

	digest_whole(whole);
	memcpy(digest, whole, DIGEST_LEN);
}

size_t
digest_plain(DigestKind kind, const void *data, size_t len, uint8 *result)
{
	static const struct
	{
		pg_cryptohash_type type;
		size_t		len;
	}			kinds[] = {
		[DIGEST_MD5] = {PG_MD5, MD5_DIGEST_LENGTH},
		[DIGEST_SHA1] = {PG_SHA1, SHA1_DIGEST_LENGTH},
		[DIGEST_SHA256] = {PG_SHA256, PG_SHA256_DIGEST_LENGTH}
	};
	static pg_cryptohash_ctx *hashes[lengthof(kinds)];
	pg_cryptohash_ctx *hash;

	if (hashes[kind] == NULL)
		hashes[kind] = digest_create(kinds[kind].type);
	hash = hashes[kind];
	digest_check(hash, hash ? pg_cryptohash_init(hash) : -1);
	digest_check(hash, pg_cryptohash_update(hash, data, len));
	digest_check(hash, pg_cryptohash_final(hash, result, kinds[kind].len));
	return kinds[kind].len;
}
