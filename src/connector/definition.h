/*
 * definition.h
 *	  Private to the room: definitions as JSON, before they are compiled.
 */
#ifndef ACTIVATE_DEFINITION_H
#define ACTIVATE_DEFINITION_H

#include "connector/connector.h"
#include "core/compat.h"
#include "foreign/foreign.h"

/* Largest "batch": what one call may hold in memory, request and answer. */
#define DEFINITION_MAX_BATCH	10000
/* Of "rules" or "row_rules" in one place, of "and" in a rule, and of "lists". */
#define DEFINITION_MAX_RULES	100
#define DEFINITION_MAX_CONDITIONS	10
#define DEFINITION_MAX_LISTS	50
#define DEFINITION_MAX_GAPS	10000
/* Largest "max_bytes": what a body can have anyway */
#define DEFINITION_MAX_BYTES	1000000000
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
	DEFINITION_COLUMNS,
	DEFINITION_VALUES,			/* of parameters */
	DEFINITION_ANSWER,
	DEFINITION_SIGNATURE,
	DEFINITION_AUTH
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

/* defaults.c */
/* The object of that name: what it says over "defaults"; NULL: there is none. */
extern Jsonb *definition_object(Jsonb *definition, const char *name);

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

pg_noreturn extern void definition_fail(const char *subject, const char *message, const char *hint);

/* compile_filter.c: what "read" (NULL: nothing) says of conditions; its path is known */
extern void definition_compile_filters(Connector *connector, const JsonbValue *object, const JsonbValue *read, const char *subject);

/* column.c */
extern void definition_compile_columns(Connector *connector, const JsonbValue *object, const char *subject);
/* Where "$" is in what wraps a value, as a path; NULL: nowhere. */
extern char *definition_wrap_path(JsonbContainer *wrap);
/* The foreign table's, or the one that is computed, of this name; NULL: there is none. */
extern TemplateColumn *definition_column(const Connector *connector, const char *name);
extern const TemplateColumn *definition_computed(const Connector *connector, const char *name);
extern char *definition_column_names(const Connector *connector);

/* What a template names must be there: columns of the row, of a delete the key; what: the template, for the message. */
extern void definition_check_names(const Connector *connector, const ConnectorWrite *write, OutboxOp op,
								   const char *template, const char *what, const char *where, const char *subject);

/* shape.c: format, query, constants and places of columns; batch and envelope are known */
extern void definition_compile_shape(Connector *connector, ConnectorWrite *write, OutboxOp op, const JsonbValue *object,
									 const JsonbValue *operation, const char *where, const char *subject);
/* Errors 22023 if two columns want one place. */
extern void definition_try_shape(const TemplateShape *shape);
extern TemplateColumn *definition_columns_at(const TemplateColumn *columns, int n, const char *at);

/* body.c: sets it, in context, and returns its Content-Type */
extern const char *definition_set_body(HttpRequest *request, const Connector *connector, const ConnectorWrite *write,
									   const ConnectorRow *rows, int n, MemoryContext context);

/* body_table.c: rows by columns; values: of each row, as they are sent */
typedef struct BodyTable BodyTable;

extern BodyTable *body_table(const ConnectorWrite *write, const ConnectorRow *rows, Jsonb **values, int n, bool all);
extern void body_table_names(StringInfo out, const BodyTable *table);	/* an array in JSON */
extern void body_table_row(StringInfo out, const BodyTable *table, int row);
extern void body_table_csv(StringInfo out, const BodyTable *table);

/* body_multipart.c: values: its fields, or content: of the file; returns the boundary */
extern char *body_multipart(StringInfo out, const ConnectorWrite *write, const ConnectorRow *row, Jsonb *values,
							const char *content);

/* parameter.c: values of a definition's parameters, and where they come from */
typedef struct DefinitionParameters
{
	const char *subject;
	JsonbValue	declared;		/* jbvNull: none */
	Jsonb	   *server;			/* name to value; NULL: none */
	Jsonb	   *table;
	const char *object;			/* {$object}; NULL: in what is not an object's */
	bool		declaring;		/* a missing value is no error yet */
} DefinitionParameters;

extern void definition_parameters(DefinitionParameters *parameters, Jsonb *definition, List *server, List *table,
								  const char *subject);
extern Jsonb *definition_expand(Jsonb *json, const DefinitionParameters *parameters, bool whole);
extern void definition_require_column(const Connector *connector, const char *name, const char *where, const char *subject);

/* compile_answer.c: the definition's "answer", the object's over it, the operation's over both, member by member; whole, object: NULL, none */
extern void definition_compile_answer(ConnectorWrite *write, const Connector *connector, const JsonbValue *whole,
									  const JsonbValue *object, const JsonbValue *operation, const char *where,
									  const char *subject);

/* compile_job.c: an operation's member "job" */
extern void compile_job(ConnectorWrite *write, const Connector *connector, const JsonbValue *whole, const JsonbValue *operation,
						const char *where, const char *subject);

/* What the whole definition says of any answer, whatever it answers: no shape, no rows. */
extern void definition_compile_rules(ConnectorAnswer *answer, const JsonbValue *whole, const char *where, const char *subject);

/* lookup.c: the quote that is open behind a text of an API's own language, where this one was before; '\0': none */
extern char definition_quote_behind(const char *text, size_t len, char quote);

/* compile_lookup.c: an operation's member "lookup" */
extern void compile_lookup(Connector *connector, ConnectorWrite *write, OutboxOp op, const JsonbValue *whole, const JsonbValue *object,
						   const JsonbValue *operation, const char *where, const char *subject);

/* request.c: what templates of a row may name */
extern Jsonb *request_values(const ConnectorRow *row, const ConnectorWrite *write);

/* request.c; write: of a request that carries rows, else NULL */
extern void request_add_headers(const Connector *connector, const ConnectorWrite *write, HttpRequest *request, Jsonb *values);
extern bool request_header_given(const Connector *connector, const char *name);

/* answer.c: a stranger's text for our tables, at most max bytes */
extern char *answer_text(const char *text, int max);
/* The document of an answer, which lives as long as owner; NULL: no memory. */
extern Reader *answer_open(const HttpRequest *request, MemoryContext owner);

/* throttle.c: connector_throttled() of an answer whose document is open; NULL: it is not looked at */
extern bool answer_throttled(const Connector *connector, const HttpRequest *request, const Reader *reader, int64 *wait_ms);

/* answer_keys.c: for each list that names rows by a value, what the column of each row holds in UTF-8 (NULL: nothing) */
extern const char *const *const *answer_keys(const ConnectorWrite *write, const ConnectorRow *rows, int n);

/* sheet.c: CSV with a header line to an array of objects; only columns that one of these texts (NULL: any) names */
typedef struct SheetColumns
{
	int			n;
	const char **wanted;
	const char *boolean;		/* a path: of this column true and false are booleans; NULL: none */
	const char *number[2];		/* paths: of these numbers are numbers */
} SheetColumns;
extern char *sheet_to_json(const char *text, size_t len, const SheetColumns *columns, size_t *json_len);

/* url.c: no userinfo, no secret, nothing that is no URL; subject begins the message */
extern void definition_check_url(const char *url, const char *subject, bool may_have_query);
extern void definition_check_url_path(const char *path, const char *subject);

/* transport.c: how an API is reached, by the options of its server and the secret */
extern void definition_check_transport(List *options);
extern const HttpTransport *definition_transport(Oid server, const ConnectorAuth *auth);

/* rate.c: rate and quota of a checked definition; a period in microseconds, false if it is none */
extern void rate_compile(Connector *connector, Jsonb *definition, const char *subject);
extern bool rate_period(const char *text, int64 *us);

/*
 * load.c: the definition that a server's options make of its connector's, with
 * its parameters, but in objects; of these only one (of no such name: none),
 * or, with NULL, all.
 */
extern Jsonb *definition_server(ForeignServer *server, const char *object);

/* secret.c: a secret that was checked into auth, files read; names under which secrets travel */
extern void secret_load(Jsonb *secret, ConnectorAuth *auth);
extern bool secret_header_name(const char *name);
extern bool secret_query_name(const char *name, size_t len);

#endif							/* ACTIVATE_DEFINITION_H */
