/*
 * digest.h
 *	  128 bits that stand for a key of a sync.
 */
#ifndef ACTIVATE_CATALOG_DIGEST_H
#define ACTIVATE_CATALOG_DIGEST_H

#include "core/digest.h"
#include "utils/jsonb.h"

/* Two keys have the same (DIGEST_LEN bytes) if they are equal as jsonb: 1 and 1.0 are one. */
extern void catalog_key_digest(Jsonb *key, uint8 *digest);

#endif							/* ACTIVATE_CATALOG_DIGEST_H */
