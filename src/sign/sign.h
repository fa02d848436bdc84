/*
 * sign.h
 *	  Signatures of what is sent and of what is received: keyed digests, AWS
 *	  Signature Version 4, JSON Web Tokens.  Knows nothing of targets.
 *
 * No message of this room holds a key.
 */
#ifndef ACTIVATE_SIGN_H
#define ACTIVATE_SIGN_H

#include "datatype/timestamp.h"
#include "http/pool.h"

/* The longest digest, of SHA-512. */
#define SIGN_MAX_DIGEST	64

/* How bytes are written as text. */
typedef enum SignCode
{
	CODE_TEXT, CODE_HEX, CODE_BASE64
} SignCode;

/* code.c: into out; the length, or -1 if it is no such code or is longer than size. */
extern int	sign_decode(SignCode code, const char *text, size_t len, uint8 *out, int size);
/* Hexadecimal is in lower case. */
extern char *sign_encode(SignCode code, const uint8 *bytes, int len);
/* As in a URL: with "-" and "_", and not filled up. */
extern char *sign_base64url(const void *bytes, int len);

/* digest.c: algorithm is a pg_cryptohash_type; digest has SIGN_MAX_DIGEST bytes, or those of the algorithm */
extern int	sign_digest_length(int algorithm);
extern void sign_hmac(int algorithm, const void *key, size_t key_len, const void *data, size_t len, uint8 *digest);
extern char *sign_sha256_hex(const void *data, size_t len);

/* aws.c */
typedef struct SignAws
{
	const char *access_key;
	const char *secret_key;
	const char *session_token;	/* NULL: none */
	const char *region;
	const char *service;
} SignAws;

/* Adds the headers that sign it: the last thing that is done to a request.  at: seconds since 1970. */
extern void sign_aws(HttpRequest *request, const SignAws *aws, int64 at);

/* rsa.c: needs OpenSSL when the library is built */
extern bool sign_can_rsa(void);
/* NULL, or what is wrong with it as a static text: an RSA key in PEM form without a password. */
extern const char *sign_rsa_problem(const char *pem);
/* header.claims.signature by RS256 (RFC 7519, 7515); claims is the text of a JSON object; key_id NULL: none. */
extern char *sign_jwt(const char *claims, const char *pem, const char *key_id);

#endif							/* ACTIVATE_SIGN_H */
