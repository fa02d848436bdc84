/*
 * definition.h
 *	  Private to the room: definitions as JSON, before they are compiled.
 */
#ifndef ACTIVATE_DEFINITION_H
#define ACTIVATE_DEFINITION_H

#include "connector/connector.h"

/* Largest "batch": what one call may hold in memory, request and answer. */
#define DEFINITION_MAX_BATCH	10000
/* Largest limit of "rate", and "cost". */
#define RATE_MAX_CALLS	1000000000
#define RATE_MAX_CONCURRENT	1000

/* vocabulary.c: which members there are and what they hold */
typedef enum DefinitionPart
{
	DEFINITION_WHOLE,			/* name, description, base_url, headers, objects */
	DEFINITION_OBJECT,
	DEFINITION_HEADERS,
	DEFINITION_RATE,
	DEFINITION_QUOTA,
	DEFINITION_THROTTLE,
	DEFINITION_CONCURRENT,
	DEFINITION_OBJECTS,
	DEFINITION_READ,
	DEFINITION_WRITE,
	DEFINITION_ANSWER,
	DEFINITION_SIGNATURE
} DefinitionPart;

/* Errors 22023 naming subject and member, with the valid ones; where: path of json in the whole, "" at the top. */
extern void definition_check(Jsonb *json, DefinitionPart part, const char *subject, const char *where);
extern bool definition_header_is_ours(const char *name);

/* merge.c */
/* RFC 7396: members of patch overrule those of base, objects by member, null removes. */
extern Jsonb *definition_merge(Jsonb *base, Jsonb *patch);
/* The text of an option as JSON; 22023 naming the option.  quiet: the text may hold a secret, do not quote it. */
extern Jsonb *definition_parse(const char *text, const char *option, bool quiet);
/* The members of an object, or elements of an array, in order; *n of them.  NULL name: element. */
typedef struct DefinitionMember
{
	char	   *name;
	JsonbValue	value;
} DefinitionMember;
extern DefinitionMember *definition_members(const JsonbValue *container, int *n);
/* False if absent or null. */
extern bool definition_get(Jsonb *json, const char *name, JsonbValue *value);
extern bool definition_get_in(const JsonbValue *container, const char *name, JsonbValue *value);
/* NULL: absent, null or of another type. */
extern char *definition_text(const JsonbValue *container, const char *name);
extern int	definition_int(const JsonbValue *container, const char *name, int fallback);
extern bool definition_bool(const JsonbValue *container, const char *name, bool fallback);
extern JsonbValue definition_root(Jsonb *json);
/* "id", "a, b" or ["a", "b"] */
extern List *definition_key(const JsonbValue *key);
/* The names of an object's members as "a, b, c"; for hints. */
extern char *definition_names(const JsonbValue *container);

/* options.c */
extern const char *definition_option(List *options, const char *name);	/* NULL: not given */
/* What the options of a server, or of a foreign table, add to a definition or an object. */
extern Jsonb *definition_of_server(List *options);
extern Jsonb *definition_of_table(List *options);
/* Webhook is written by its own few options. */
extern bool definition_is_webhook(List *server_options);

/* inbound.c: the options of a server that receives */
extern void definition_check_inbound(List *options);

/*
 * compile.c: fills base_url, headers, key, read and write from a checked
 * definition and object; the columns must be known already.
 */
extern void definition_compile(Connector *connector, Jsonb *definition, Jsonb *object, const char *subject);

/* url.c: no userinfo, no secret, nothing that is no URL; subject begins the message */
extern void definition_check_url(const char *url, const char *subject, bool may_have_query);
extern void definition_check_url_path(const char *path, const char *subject);

/* transport.c: how an API is reached, by the options of its server and the secret */
extern void definition_check_transport(List *options);
extern const HttpTransport *definition_transport(Oid server, const ConnectorAuth *auth);

/* rate.c: rate and quota of a checked definition; a period in microseconds, false if it is none */
extern void rate_compile(Connector *connector, Jsonb *definition, const char *subject);
extern bool rate_period(const char *text, int64 *us);

/* secret.c: names under which secrets travel */
extern bool secret_header_name(const char *name);
extern bool secret_query_name(const char *name, size_t len);

#endif							/* ACTIVATE_DEFINITION_H */
