/*
 * connector.h
 *	  What an API wants to be told and how it answers: a definition (JSON),
 *	  compiled for one foreign table.  docs/connectors.md is the vocabulary.
 *
 * Effective definition of a foreign table, later ones overrule: the row of
 * activate.connector named by the server's option "connector"; the server's
 * options; the object's entry in "objects"; the foreign table's own options.
 */
#ifndef ACTIVATE_CONNECTOR_H
#define ACTIVATE_CONNECTOR_H

#include "connector/reader.h"
#include "http/pool.h"
#include "outbox/outbox.h"
#include "quota/quota.h"
#include "sign/sign.h"
#include "template/template.h"
#include "token/token.h"

/* The foreign data wrapper of web APIs; the connector that has another one (room file), and that. */
#define CONNECTOR_WRAPPER		"activate"
#define CONNECTOR_OF_FILES		"file"
#define CONNECTOR_FILE_WRAPPER	"activate_file"

/* What "auth" of a definition says, see form.h. */
typedef struct ConnectorForm ConnectorForm;

/* An access token as this process has it; what all have is in room token. */
typedef struct ConnectorToken
{
	MemoryContext context;
	TokenAccount account;
	TokenDigest digest;			/* of the credentials that it is got by */
	uint64		serial;			/* 0: none was taken yet */
	bool		renewed;		/* see TokenLook */
	char	   *value;
	char	   *before;			/* what requests that are on their way may hold; NULL: none */
} ConnectorToken;

/* Where the secret goes; from the user mapping's option "secret". */
typedef struct ConnectorAuth
{
	Oid			userid;			/* of the mapping found; InvalidOid: public */
	bool		present;
	int			nheaders;
	char	  **header_names;
	char	  **header_values;
	int			nquery;
	char	  **query_names;
	char	  **query_values;
	char	   *client_cert;	/* PEM; NULL: none */
	char	   *client_key;
	char	   *proxy;			/* user:password */
	List	   *signing;		/* char *: what events pushed to us are signed with */
	char	   *access_key;		/* of AWS and of object stores: requests are signed; NULL: none */
	char	   *secret_key;
	char	   *session_token;	/* NULL: none */
	char	   *sign;			/* what "auth" signs with; NULL: none */
	char	   *client_id;		/* these six: what "auth" gets tokens by; NULL: none */
	char	   *client_secret;
	char	   *refresh_token;
	char	   *issuer;
	char	   *subject;
	char	   *private_key;	/* PEM */
	char	   *key_id;
	ConnectorToken *token;		/* NULL: there are none */
	const ConnectorForm *form;	/* NULL: the secret is sent as it is */
	const HttpTransport *transport; /* NULL: as usual */
	List	   *secrets;		/* char *: what no text may show */
} ConnectorAuth;

typedef enum PageStyle
{
	PAGE_NONE, PAGE_CURSOR, PAGE_NUMBER, PAGE_OFFSET, PAGE_NEXT_URL, PAGE_LINK
} PageStyle;

/* What of a condition on a column an API can be asked for. */
typedef enum FilterOp
{
	FILTER_EQ, FILTER_IN, FILTER_GT, FILTER_GE, FILTER_LT, FILTER_LE
} FilterOp;

#define FILTER_OPS	6

typedef struct ConnectorParam
{
	const char *name;			/* of the query; NULL: it cannot be asked for */
	const char *value;			/* template that names {value}; NULL: the value itself */
	char		quote;			/* that {value} stands between, in the API's own language; '\0': none */
	const char *separator;		/* of values ... */
	bool		repeat;			/* ... unless the parameter is repeated */
	int			most;			/* values of one request */
} ConnectorParam;

typedef struct ConnectorFilter
{
	const char *column;
	bool		in_path;		/* the path names it */
	bool		required;		/* without a value nothing can be read */
	ConnectorParam params[FILTER_OPS];
} ConnectorFilter;

typedef struct ConnectorRead
{
	bool		possible;
	char	   *method;			/* GET */
	char	   *path;			/* template of columns that a query fixes */
	int			nfilters;
	ConnectorFilter *filters;
	ConnectorParam limit;		/* of rows; most 0: any number */
	bool		conditional;	/* it may be asked whether a page has changed */
	int			nquery;			/* fixed query parameters */
	char	  **query_names;
	char	  **query_values;
	char	   *records;		/* path of the array in the answer; NULL: where most APIs have it */
	PageStyle	style;
	char	   *param;			/* cursor, page number or offset goes here */
	char	   *next;			/* path of the cursor or next URL in the answer */
	char	   *size_param;
	int			size;			/* rows per page; 0: not told */
	int			first;			/* number of the first page */
	int			in_flight;		/* pages asked for at once at most */
	int			cost;			/* of a call, in calls of the rate */
} ConnectorRead;

/* In what format rows are sent. */
typedef enum ConnectorBody
{
	BODY_JSON, BODY_FORM, BODY_CSV, BODY_MULTIPART, BODY_NDJSON
} ConnectorBody;

/* BODY_MULTIPART: the rows as a file, beside fields. */
typedef struct ConnectorPart
{
	char	   *name;			/* NULL: the columns of the row are fields themselves */
	char	   *filename;
	ConnectorBody format;		/* of the file */
	char	   *content_type;
} ConnectorPart;

typedef struct ConnectorWrite
{
	bool		possible;
	char	   *method;
	char	   *path;			/* template over the row, the key and remote_id */
	int			nquery;			/* of the URL; values are templates */
	char	  **query_names;
	char	  **query_values;
	int			batch;			/* rows per call; 1: single */
	ConnectorBody format;
	char	   *content_type;
	bool		own_type;		/* whatever the definition's headers say */
	char	   *envelope;		/* path of the array of rows, or of the single row; "": the body itself */
	TemplateFrame frame;		/* JSON: what stands around them */
	bool		arrays;			/* a row is the array of its values */
	ConnectorPart part;
	int			nfixed;			/* constants beside them */
	TemplateConstant *fixed;
	TemplateShape shape;		/* of each row */
	bool		changes;		/* some of its values */
	bool		no_body;
	bool		idempotent;		/* repeating it is harmless */
	int			cost;			/* of a call, in calls of the rate */
	int			max_bytes;		/* of the body with the rows; 0: no limit */
	int			fitting;		/* rows that keep within it, by experience of who sends; 0: not met yet */
	ConnectorAnswer answer;
	struct ConnectorJob *job;	/* NULL: the answer tells the outcome */
	struct ConnectorLookup *lookup; /* before it, where remote_id is not known; NULL: none */
	bool		search;			/* it changes nothing: the request of a lookup */
	const struct ConnectorWrite *bulk;	/* instead of this one, if so many rows are pending; NULL: none */
	int			bulk_rows;
} ConnectorWrite;

/* Which of the API's records is the row's: asked where it cannot tell itself. */
typedef struct ConnectorLookup
{
	ConnectorWrite write;		/* the request; its answer tells of errors only */
	Jsonb	   *body;			/* texts in it are templates; NULL: none */
	const char *records;		/* path of the list of those found; NULL: the answer is the record */
	const char *id;				/* in one of them */
	const char *match;			/* path, in one of them, of what must equal column; NULL: all found are meant */
	const char *column;
	int			nconflicts;		/* statuses that say that it has come into being meanwhile */
	int		   *conflicts;
	const ConnectorWrite *found;	/* what is sent then, with remote_id */
	const ConnectorWrite *none; /* if there is none; NULL: nothing */
} ConnectorLookup;

/* Bodies that are not built from columns. */
typedef enum ConnectorFormat
{
	FORMAT_OBJECT,				/* the columns at their paths: every definition */
	FORMAT_CHANGE,				/* webhook: SEMANTICS 5 */
	FORMAT_ROW					/* webhook: the bare row */
} ConnectorFormat;

/* Headers in which an API says what is left of a budget; NULL: it does not. */
typedef struct ConnectorQuota
{
	const char *remaining;		/* calls left */
	const char *used;			/* calls used, or used/limit */
	const char *limit;
	const char *reset;			/* seconds, seconds or milliseconds since 1970, or a date */
	int64		per_us;			/* how long it holds where reset does not say; 0: a second */
} ConnectorQuota;

/* How an API asks to wait, besides by 429 and Retry-After. */
typedef struct ConnectorThrottle
{
	char	   *code;			/* path, in an answer, of a code or of the name of a policy; NULL: none */
	int			ncodes;
	char	  **codes;			/* those that ask to wait ... */
	int64	   *code_us;		/* ... so long, if no header says more */
	int64		wait_us;		/* if nothing says how long; 0: by backoff */
} ConnectorThrottle;

typedef struct Connector
{
	char	   *name;			/* of the connector */
	char	   *object;
	Oid			table;
	Oid			server;
	char	   *base_url;
	char	   *proxy;			/* NULL: none */
	bool		compress;
	int			nheaders;
	char	  **header_names;
	char	  **header_values;	/* templates */
	ConnectorFormat format;
	bool		free_columns;	/* hook.change: any field may be sent */
	int			ncolumns;
	int			ncomputed;		/* columns that the table does not have */
	TemplateColumn *computed;
	TemplateColumn *columns;	/* where they are read; an operation's shape: where they are written */
	int			nkeys;
	char	  **key;			/* target columns */
	QuotaRate	rate;
	int			concurrent;		/* calls at once at most; 0: no limit */
	ConnectorThrottle throttle;
	int			nquotas;		/* 0: the headers that most APIs use */
	ConnectorQuota quotas[QUOTA_TOLD];
	ConnectorRead read;
	ConnectorWrite insert;
	ConnectorWrite update;
	ConnectorWrite upsert;
	ConnectorWrite delete;
} Connector;

/* Compiles for a foreign table of ours; errors name option and valid values.  Needs a transaction. */
extern Connector *connector_load(Oid foreign_table, MemoryContext context);
/* The same for many tables of a server; known: connector_definition() of its connector. */
extern Connector *connector_load_known(Oid foreign_table, Jsonb *known, MemoryContext context);

/* The mapping of a role (else public) and its secret; files are read here.  Needs a transaction. */
extern ConnectorAuth *connector_auth(Oid server, Oid userid, MemoryContext context);

/* Does the secret of that mapping hold what "auth" of the server needs?  Errors if not; reads no files. */
extern void connector_check_auth(Oid server, Oid userid);

/* Whose mapping that is: the role, or InvalidOid for public. */
extern Oid	connector_mapping(Oid server, Oid userid);

/* The operation's entry, or NULL if the object cannot do it; what is used where many rows wait is its bulk. */
extern const ConnectorWrite *connector_write(const Connector *connector, OutboxOp op);

/*
 * A stranger's text without what the secret is made of, in whatever form it
 * was sent; text itself if it holds none.  auth NULL: no secret.
 */
extern const char *connector_redact(const ConnectorAuth *auth, const char *text);

/* One row to be sent. */
typedef struct ConnectorRow
{
	OutboxOp	op;
	const char *id;				/* uuid text, SEMANTICS 3 */
	int64		seq;
	const char *sync;
	Jsonb	   *key;			/* source names */
	Jsonb	   *target_key;		/* target names: for templates of deletes; may be NULL */
	Jsonb	   *row;			/* flat; NULL for delete */
	const char *key_text;		/* key and row as JSON, where the caller has that; else NULL */
	const char *row_text;
	const char *remote_id;		/* NULL: unknown */
	const ConnectorWrite *write;	/* of the first row: how they are sent; NULL: as the operation says */
} ConnectorRow;

/*
 * The request for these rows (one operation unless format is change), without
 * secrets; call_key goes into Idempotency-Key.  body is in context.
 */
extern HttpRequest *connector_request(const Connector *connector, const ConnectorRow *rows, int n,
									  const char *call_key, MemoryContext context);
/*
 * Is the body with the rows as short as "max_bytes" wants it?  n if so, else
 * how many of the n rows to try instead; 54000 if it is of one row.  *bytes:
 * how long it is.
 */
extern int	connector_fitting(const Connector *connector, const HttpRequest *request,
							  const ConnectorRow *rows, int n, size_t *bytes);
/*
 * Adds the secret, headers and query (the URL may change), and the way to the
 * target; auth stays until it is done.  The last thing that is done to a request,
 * because it may be signed.
 */
extern void connector_authorize(HttpRequest *request, const ConnectorAuth *auth);

/*
 * Access tokens.  A request is made with the one that there is (it is taken by
 * connector_authorize()); to see to it that there is one is the caller's affair.
 */
extern TokenState connector_token_look(const ConnectorAuth *auth, TimestampTz now, TokenLook *look);
/* For sessions: has one got, and waits for it, interruptible. */
extern void connector_token_await(ConnectorAuth *auth);

/* To get one: what is asked, and what the answer says. */
typedef struct ConnectorGrant
{
	bool		got;
	TokenFailure failure;		/* these three if not */
	TimestampTz until;
	char	   *reason;
	char	   *token;
	int64		lifetime_us;	/* 0: not said */
	char	   *renewal;		/* a refresh token in place of the one we have; NULL: that stays */
} ConnectorGrant;

extern HttpRequest *connector_token_request(const ConnectorAuth *auth, MemoryContext context);
extern void connector_token_answer(const ConnectorAuth *auth, const HttpRequest *request, ConnectorGrant *grant);
/* Writes the renewal into the user mapping, in the present transaction; false: it stands in a file. */
extern bool connector_token_keep(ConnectorAuth *auth, const char *renewal);
/* That has been committed. */
extern void connector_token_renewed(ConnectorAuth *auth, const char *renewal);

/* The name of the ith header that connector_authorize() adds, NULL behind the last: to show that there is one. */
extern const char *connector_auth_header(const ConnectorAuth *auth, int i);

typedef enum AnswerClass
{
	ANSWER_OK,
	ANSWER_WARNED,				/* accepted, with a reason */
	ANSWER_REJECTED,			/* this row, for good */
	ANSWER_RETRY,				/* an attempt was used up */
	ANSWER_THROTTLED,			/* wait retry_after_ms, no attempt */
	ANSWER_AUTH,				/* pause the target, no attempt */
	ANSWER_CONFIG,				/* the same: nothing goes until somebody changes it */
	ANSWER_LOCKED,				/* refused because of others' work: fewer rows, an attempt */
	ANSWER_OUTAGE,				/* no connection: no attempt */
	ANSWER_AMBIGUOUS,			/* may have been applied: an attempt, same id again */
	ANSWER_SPLIT				/* 413, 400/422 of a batch, or refused as one: bisect at once */
} AnswerClass;

typedef struct RowAnswer
{
	AnswerClass class;
	int			code;			/* HTTP or per-row status; 0: none */
	char	   *reason;			/* palloc'd; NULL if ok; never a body */
	const char *mark;			/* the definition's own text that the answer held, for who may not see the reason; or NULL */
	char	   *remote_id;
	bool		unmentioned;	/* the answer tells of rows, and not of this one */
} RowAnswer;

/*
 * Reads a finished request: fills answers[n]; returns the class of the call
 * as a whole (what concerns the target: OK, RETRY, THROTTLED, AUTH, OUTAGE...).
 * auth: what the request carried, and no reason shows; NULL: nothing.
 * retry_after_ms: -1 if not told (Retry-After in seconds or as a date).
 */
extern AnswerClass connector_answer(const Connector *connector, const ConnectorAuth *auth,
									const HttpRequest *request, const ConnectorRow *rows, int n,
									RowAnswer *answers, int64 *retry_after_ms);

/*
 * The first request that these rows make, as connector_request(): of a job
 * that which makes it; where remote_id is looked for, or known already, that.
 */
extern HttpRequest *connector_first_request(const Connector *connector, ConnectorRow *rows, int n,
											const char *call_key, MemoryContext context);

typedef enum LookupResult
{
	LOOKUP_FAILED,				/* the row's answer says how */
	LOOKUP_NONE,
	LOOKUP_ONE,					/* its id is the answer's remote_id */
	LOOKUP_MANY					/* the row's answer says so */
} LookupResult;

/* Reads a finished lookup; class of the call and retry_after_ms as of connector_answer(). */
extern LookupResult connector_lookup_answer(const Connector *connector, const ConnectorAuth *auth,
											const ConnectorLookup *lookup, const HttpRequest *request,
											const ConnectorRow *row, RowAnswer *answer, AnswerClass *class,
											int64 *retry_after_ms);

/* base_url and an expanded path as one URL. */
extern char *connector_url(const Connector *connector, const char *path);

/*
 * Adds the definition's headers (and Accept) to a request.  values: the row
 * that templates name; NULL (reads, batches): headers that name a column are left out.
 */
extern void connector_add_headers(const Connector *connector, HttpRequest *request, Jsonb *values);

/* A connector's definition; errors 42704 with the names that exist. */
extern Jsonb *connector_definition(const char *name);
/* That of a server's connector; NULL: it names none. */
extern Jsonb *connector_definition_of(Oid server);

/* An object that a server offers, as a foreign table: for activate_target and IMPORT FOREIGN SCHEMA. */
typedef struct ConnectorObjectColumn
{
	char	   *name;
	char	   *type;			/* as in the definition: an SQL type's name */
	bool		key;			/* key columns come first */
} ConnectorObjectColumn;

typedef struct ConnectorObject
{
	char	   *name;
	int			ncolumns;
	ConnectorObjectColumn *columns;
} ConnectorObject;

/* All objects of a server, or only one name (object not NULL; 42704 if absent); list of ConnectorObject *. */
extern List *connector_objects(Oid server, const char *object, MemoryContext context);

/*
 * The options of a server, foreign table, column or user mapping of ours, for
 * the validator (catalog as the validator gets it); errors with the valid
 * names.  Looks at nothing outside of the options: a dump restores servers
 * before the rows of activate.connector.  The current user must be a superuser
 * or a member of pg_read_server_files for a secret that names a file.
 */
extern void connector_check_options(List *options, Oid catalog);

/* Of these, how a server is reached (ca_file, proxy, http_version), and a URL in an option: for other wrappers of ours. */
extern void connector_check_transport(List *options);
extern void connector_check_url(const char *url, const char *subject, bool may_have_query);

/* Retry-After of an answer in ms, at most a day; -1 if not told. */
extern int64 connector_retry_after(const HttpRequest *request);

/* How long an answer that asks to wait does so, at most a day: own_ms if no header says more; -1: not told. */
extern int64 connector_wait(const Connector *connector, const HttpRequest *request, int64 own_ms);

/* Does the answer ask to wait?  wait_ms: how long, at most a day, -1 if not told; else as above. */
extern bool connector_throttled(const Connector *connector, const HttpRequest *request, int64 *wait_ms);

/* What the answer says of calls that are left: told[QUOTA_TOLD]; false: nothing. */
extern bool connector_quota(const Connector *connector, const HttpRequest *request, QuotaTold *told);

/* Is this foreign table one of ours?  Its server, or InvalidOid. */
extern Oid	connector_server_of(Oid relation);

/*
 * How events that others push are known to be theirs, and what of them is
 * kept: the options of a server of the connector "receive" (inbound.c).
 */
typedef enum SignatureForm
{
	SIGNATURE_NONE,
	SIGNATURE_PLAIN,			/* the header is prefix and signature */
	SIGNATURE_PAIRS,			/* t=time,v1=signature,v1=... */
	SIGNATURE_LIST,				/* v1,signature v1,... */
	SIGNATURE_TOKEN				/* the header is the secret */
} SignatureForm;

typedef struct ConnectorInbound
{
	SignatureForm form;
	const char *header;			/* of the signature */
	const char *prefix;			/* "": none */
	const char *timestamp;		/* header; NULL: none, or in the signature's */
	const char *content;		/* what is signed: a template of id, timestamp and body */
	int			algorithm;		/* pg_cryptohash_type */
	SignCode	encoding;
	SignCode	key;
	bool		whsec;			/* the key follows this prefix, if it has it */
	int64		tolerance;		/* of the timestamp, microseconds */

	const char *id;				/* path in the payload; NULL: the header's, else a digest of the body */
	const char *id_header;
	bool		text;			/* the body is no JSON */
	List	   *headers;		/* names of those that are kept; NIL with all_headers: what looks like no secret */
	bool		all_headers;
	const char *retention;		/* interval; NULL: for ever */
} ConnectorInbound;

extern bool connector_is_inbound(List *server_options);
extern ConnectorInbound *connector_inbound(List *server_options);

/* Does a header of this name usually hold a secret? */
extern bool connector_header_is_secret(const char *name);
/* The same of a parameter of a query. */
extern bool connector_query_is_secret(const char *name);

/* Checks a whole definition (activate_connector); errors with hints. */
extern void connector_check_definition(Jsonb *definition);

/* What activate_connector() does: checks it and the caller's right, and keeps it; its name. */
extern char *connector_define(Jsonb *definition);
/* The caller's right and the name, before more is done; 42501, 42602. */
extern void connector_check_definer(const char *name);
/* The definition overruled by a patch (RFC 7396). */
extern Jsonb *connector_patched(Jsonb *definition, Jsonb *patch);

/* Checks the shape of a secret; 42501 if it names a file and may_read_files is false. */
extern void connector_check_secret(Jsonb *secret, bool may_read_files);

#include "connector/job.h"

#endif							/* ACTIVATE_CONNECTOR_H */
