/*
 * rsa.c
 *	  JSON Web Tokens signed by RS256, where the library was built with OpenSSL.
 *
 * Objects of OpenSSL live within one function, in which nothing throws.
 */
#include "postgres.h"

#include "sign/sign.h"
#include "utils/json.h"

#ifdef ACTIVATE_OPENSSL
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#endif

/* Of a key of 16384 bits. */
#define RSA_MAX_SIGNATURE	2048

bool
sign_can_rsa(void)
{
#ifdef ACTIVATE_OPENSSL
	return true;
#else
	return false;
#endif
}

#ifdef ACTIVATE_OPENSSL

/* OpenSSL would ask at the terminal. */
static int
no_password(char *buffer, int size, int writing, void *arg)
{
	return -1;
}

static EVP_PKEY *
read_key(const char *pem)
{
	BIO		   *bio = BIO_new_mem_buf(pem, (int) strlen(pem));
	EVP_PKEY   *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	/* PostgreSQL's own TLS must not find our errors in the queue */
	ERR_clear_error();
	return key;
}

const char *
sign_rsa_problem(const char *pem)
{
	EVP_PKEY   *key = read_key(pem);
	const char *problem = NULL;

	if (key == NULL)
		problem = "it holds no private key in PEM form, or one that is locked with a password";
	else if (EVP_PKEY_base_id(key) != EVP_PKEY_RSA)
		problem = "its key is not an RSA key";
	EVP_PKEY_free(key);
	return problem;
}

/* The length of the signature; 0: there is none. */
static size_t
sign_rs256(const char *pem, const char *text, uint8 *signature)
{
	EVP_PKEY   *key = read_key(pem);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t		len = RSA_MAX_SIGNATURE;

	if (key == NULL || context == NULL || EVP_PKEY_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_size(key) > RSA_MAX_SIGNATURE ||
		EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
		EVP_DigestSign(context, signature, &len, (const unsigned char *) text, strlen(text)) != 1)
		len = 0;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return len;
}

#else

const char *
sign_rsa_problem(const char *pem)
{
	return "this build cannot sign with it";
}

static size_t
sign_rs256(const char *pem, const char *text, uint8 *signature)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("signing by RS256 is not supported by this build"),
			 errhint("Build activate where the headers of OpenSSL are (on Debian, libssl-dev).")));
}

#endif

char *
sign_jwt(const char *claims, const char *pem, const char *key_id)
{
	uint8		signature[RSA_MAX_SIGNATURE];
	StringInfoData header;
	char	   *text;
	size_t		len;

	initStringInfo(&header);
	appendStringInfoString(&header, "{\"alg\":\"RS256\",\"typ\":\"JWT\"");
	if (key_id != NULL)
	{
		appendStringInfoString(&header, ",\"kid\":");
		escape_json(&header, key_id);
	}
	appendStringInfoChar(&header, '}');
	text = psprintf("%s.%s", sign_base64url(header.data, header.len), sign_base64url(claims, strlen(claims)));
	len = sign_rs256(pem, text, signature);
	if (len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not sign with the private key"),
				 errhint("It must be an RSA key in PEM form without a password.")));
	return psprintf("%s.%s", text, sign_base64url(signature, len));
}
