/*
 * form.h
 *	  Private to the room: the member "auth" of a definition, compiled.
 */
#ifndef ACTIVATE_FORM_H
#define ACTIVATE_FORM_H

#include "connector/connector.h"

typedef enum AuthForm
{
	AUTH_OAUTH2,				/* an access token that is got by the secret */
	AUTH_HMAC,					/* the body is signed */
	AUTH_AWS					/* AWS Signature Version 4 */
} AuthForm;

typedef enum AuthGrant
{
	GRANT_REFRESH, GRANT_CLIENT, GRANT_JWT
} AuthGrant;

struct ConnectorForm
{
	AuthForm	form;
	const char *header;			/* where the signature goes */
	const char *prefix;			/* before it; hmac: a template of timestamp */

	/* oauth2 */
	AuthGrant	grant;
	const char *token_url;
	const char *scope;			/* NULL: none, as the next */
	const char *audience;
	bool		client_basic;	/* who we are is said in a header, not in the body */
	int			nparameters;
	char	  **parameter_names;
	char	  **parameter_values;

	/* hmac */
	const char *content;		/* what is signed: a template of timestamp, method, path and body */
	const char *timestamp;		/* header of the time; NULL: none */
	int			algorithm;		/* pg_cryptohash_type */
	SignCode	encoding;
	SignCode	key;

	/* aws */
	const char *service;
	const char *region;
};

/* form.c: of a checked definition; NULL: it has none.  subject begins messages. */
extern ConnectorForm *form_compile(const JsonbValue *definition, const char *subject);
/* Errors if the secret (NULL: none) is not what the form needs, or holds what no form uses. */
extern void form_check_secret(const ConnectorForm *form, Jsonb *secret, const char *subject);

/* oauth.c */
extern void oauth_digest(const ConnectorAuth *auth, TokenDigest *digest);

/* apply.c: the options of the mapping of a role, else of public; and whose that is; adds to a request what depends on it */
extern List *mapping_options(Oid server, Oid userid, Oid *found);
extern void form_apply(HttpRequest *request, const ConnectorAuth *auth);

#endif							/* ACTIVATE_FORM_H */
