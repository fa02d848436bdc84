/*
 * digest.h
 *	  SHA-256, of which 128 bits are kept: they are written down, so they are
 *	  the same on every machine and version.
 */
#ifndef ACTIVATE_DIGEST_H
#define ACTIVATE_DIGEST_H

#define DIGEST_LEN	16

/* One at a time.  An ERROR in between leaves nothing that the next one would notice. */
extern void digest_begin(void);

/* Lengths go in as well, so that no two lists of parts are the same bytes. */
extern void digest_add(const void *data, size_t len);

extern void digest_end(uint8 *digest);

/* What others compute of the same bytes. */
typedef enum DigestKind
{
	DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256
} DigestKind;

#define DIGEST_MOST	32			/* bytes of the longest */

/* Into result; how many bytes it has. */
extern size_t digest_plain(DigestKind kind, const void *data, size_t len, uint8 *result);

#endif							/* ACTIVATE_DIGEST_H */
