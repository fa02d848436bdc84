/*
 * service.h
 *	  The CRM-like HTTP service that tests, demo and benchmarks talk to.
 *
 * One thread, one epoll set.  http.c moves bytes and knows nothing of what
 * they mean; route.c hands a request to crm.c (objects), hook.c (webhooks) or
 * control.c (what "/_..." says); fault.c decides which answers go wrong.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_HEADERS 64

typedef struct Buffer
{
	char	   *data;
	size_t		len;
	size_t		size;
} Buffer;

/* Strings point into the connection's input and live as long as the request is handled. */
typedef struct Request
{
	char	   *method;
	char	   *path;			/* still percent-encoded, without the query */
	char	   *query;			/* "" if there is none */
	int			nheaders;
	char	   *names[MAX_HEADERS]; /* in lower case */
	char	   *values[MAX_HEADERS];
	bool		keep_alive;
	const char *body;			/* not NUL-terminated */
	size_t		body_len;
	int64_t		arrived_us;
} Request;

typedef struct Reply
{
	int			status;
	const char *content_type;
	Buffer		headers;		/* further header lines, each with its CRLF */
	Buffer		body;
} Reply;

/* How the bytes of a reply leave; decided by fault.c, done by http.c. */
typedef enum SendHow
{
	SEND_ALL,
	SEND_NEVER,					/* keep the connection open, say nothing */
	SEND_CLOSE,					/* close without a byte */
	SEND_HALF,					/* half of the body, then close */
	SEND_RESET,					/* half of the body, then RST */
	SEND_DRIP					/* a byte every delay_ms */
} SendHow;

typedef struct Delivery
{
	SendHow		how;
	int			delay_ms;
	int64_t		filler;			/* bytes of filling after the body, part of its length */
} Delivery;

/* util.c */
extern void buffer_append(Buffer *b, const void *data, size_t len);
extern void buffer_printf(Buffer *b, const char *format,...) __attribute__((format(printf, 2, 3)));
extern int64_t now_us(void);
extern void sha256_hex(const char *data, size_t len, char out[65]);
extern char *query_param(const char *query, const char *name);	/* decoded, malloc'd; NULL if absent */
extern void percent_decode(char *s);	/* in place */
extern void http_date(int64_t at_us, char out[40]);

/* json.c */
extern json_object *json_parse(const char *data, size_t len);	/* NULL: not JSON */
extern const char *json_text(json_object *o);	/* plain, valid until o is changed or freed */
extern json_object *json_member(json_object *o, const char *name);	/* NULL if absent or not an object */
extern const char *json_member_text(json_object *o, const char *name);	/* NULL if absent or null */
extern void json_reply(Reply *reply, int status, json_object *o);	/* frees o */
extern void json_error(Reply *reply, int status, const char *message);

/* http.c */
extern int	http_listen(int port);	/* on 127.0.0.1; the port, chosen if 0 */
extern void http_loop(void);
extern void http_go_down(int ms);	/* after the present answer; 0: until SIGUSR1 */
extern void http_connections(int *accepted, int *open);
extern int	http_held(void);	/* answers held back, now and at most at once */
extern int	http_held_most(bool reset);

/* parse.c */
extern bool http_parse_head(char *head, Request *request);	/* destructive */
extern int64_t http_declared_length(const char *head, size_t len);	/* -1: a body without Content-Length */
extern const char *request_header(const Request *request, const char *lower_name);

/* route.c: everything between a complete request and its reply */
extern void route(const Request *request, Reply *reply, Delivery *delivery);

/* bulk.c */
extern void bulk_handle(const Request *request, Reply *reply);	/* /bulk... */

/* job.c: what is carried out later */
extern void job_handle(const Request *request, Reply *reply);	/* /jobs... */
extern void job_list(Reply *reply);
extern const char *job_configure(json_object *o);
extern void job_reset(void);

/* search.c: by the value of a field */
extern void search_handle(json_object *rows, const Request *request, json_object *body, Reply *reply);
extern bool search_conflicts(const char *collection, json_object *rows, json_object *row);
extern const char *search_configure(json_object *o);
extern void search_reset(void);

/* version.c: which version of a list or an object an answer holds */
extern const char *version_configure(json_object *value);
extern void version_tell(const Request *request, Reply *reply);
extern void version_reset(void);

/* filter.c: a new object with the rows that the query's parameters want */
extern json_object *filter_rows(json_object *rows, const char *query);

/* crm.c, hook.c */
extern bool crm_apply(const char *collection, json_object *row, bool is_delete, const char **error);
extern void crm_handle(const Request *request, Reply *reply);	/* /objects/... and /_objects/... */
extern void crm_reset(void);
extern void hook_receive(const Request *request, Reply *reply);
extern void hook_state(const Request *request, Reply *reply);
extern void hook_reset(void);

/* fault.c: rules set by POST /_control */
typedef struct Fault Fault;
extern const char *fault_configure(json_object *control);	/* NULL, or what was wrong */
extern Fault *fault_match(const Request *request);	/* counts the hit; NULL: none */
extern bool fault_applies_first(const Fault *fault);	/* is the request carried out before its answer goes wrong? */
extern void fault_spoil(const Fault *fault, Reply *reply, Delivery *delivery);
extern void fault_reset(void);

/* policy.c: who may call, which rows are refused, limits; also set by POST /_control */
typedef struct Refusal
{
	int			status;
	const char *reason;
} Refusal;
typedef enum ResultsMode
{
	RESULTS_AUTO, RESULTS_ALWAYS, RESULTS_SHORT, RESULTS_WRONG
} ResultsMode;
extern bool policy_knows(const char *member);
extern const char *policy_configure(const char *member, json_object *value);
extern bool policy_admits(const Request *request, Reply *reply);	/* false: reply is filled (401, 429) */
extern bool policy_refuses(json_object *row, Refusal *refusal);
extern bool policy_refuses_whole_batch(void);
extern int	policy_max_batch(void); /* 0: any */
extern ResultsMode policy_results(void);
extern void policy_reset(void);

/* token.c: a token endpoint */
extern const char *token_configure(json_object *value);
extern void token_handle(const Request *request, Reply *reply);
extern bool token_admits(const Request *request, Reply *reply);	/* false: reply is filled (401) */
extern void token_list(Reply *reply);
extern void token_reset(void);

/* log.c: what arrived */
typedef struct Stats
{
	int64_t		requests;
	int64_t		rows;			/* accepted */
	int64_t		refused;		/* rows */
	int64_t		faults;
	int64_t		duplicates;		/* webhook ids seen before */
	int64_t		seq_regressions;
	int64_t		key_repeats;	/* Idempotency-Keys seen before */
	int64_t		first_us;
	int64_t		last_us;
} Stats;
extern Stats stats;
extern void log_init(int entries);
extern void log_note(const char *head, size_t head_len, const Request *request);
extern void log_status(int status);	/* of the request noted last; 0: no answer */
extern void log_list(const Request *request, Reply *reply);
extern void log_stats(Reply *reply);
extern void log_reset(void);

/* client.c: "service call" and "service load" */
extern int	client_call(const char *url, const char *method, const char *path, const char *body);
extern int	client_load(const char *url, int seconds, int connections, const char *method,
						const char *path, const char *body);

#endif							/* SERVICE_H */
