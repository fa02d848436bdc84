/*
 * vocabulary.c
 *	  The members that a definition may have, as tables; rule.c checks them.
 *
 * docs/connectors.md explains them; keep the two in step.  What only makes
 * sense together (a batch whose path names a column) is compile.c's.
 */
#include "postgres.h"

#include "connector/rule.h"
#include "http/pool.h"

static const char *const methods_write[] = {"POST", "PUT", "PATCH", "DELETE", NULL};
static const char *const methods_read[] = {"GET", "POST", NULL};
static const char *const bodies[] = {"row", "none", NULL};
static const char *const styles[] = {"none", "cursor", "page", "offset", "next_url", "link", NULL};
static const char *const column_types[] = {"string", "number", "boolean", "array", "json", NULL};
static const char *const column_nulls[] = {"send", "omit", "empty", NULL};
static const char *const gaps[] = {"null", "close", NULL};
static const char *const rows_forms[] = {"objects", "arrays", NULL};
static const char *const file_formats[] = {"csv", "json", "ndjson", NULL};
static const char *const formats[] = {"json", "form", "csv", "multipart", "ndjson", NULL};
static const char *const shapes[] = {"status", "array", "errors", "keyed", "lists", "counts", NULL};
static const char *const unnamed[] = {"ok", "silent", "ambiguous", NULL};

/* What a rule may find; the same as text in compile_answer.c. */
static const char *const classes[] = {
	"ok", "warning", "invalid_row", "invalid_batch", "auth", "throttled", "transient", "locked", "config", "silent", NULL
};

#define CONDITION_MEMBERS \
	{.name = "status", .kind = RULE_STATUS_SET}, \
	{.name = "path", .kind = RULE_PATH}, \
	{.name = "header", .kind = RULE_TEXT}, \
	{.name = "is", .kind = RULE_SCALARS}, \
	{.name = "not", .kind = RULE_SCALARS}, \
	{.name = "contains", .kind = RULE_SCALARS}, \
	{.name = "min", .kind = RULE_DECIMAL}, \
	{.name = "max", .kind = RULE_DECIMAL}, \
	{.name = "exists", .kind = RULE_BOOL}

static const Rule rules_further[] = {
	CONDITION_MEMBERS,
	{.name = NULL}
};

static const Rule rules_success[] = {
	CONDITION_MEMBERS,
	{.name = "and", .kind = RULE_LIST, .members = rules_further, .most = DEFINITION_MAX_CONDITIONS},
	{.name = NULL}
};

static const Rule rules_judging[] = {
	CONDITION_MEMBERS,
	{.name = "and", .kind = RULE_LIST, .members = rules_further, .most = DEFINITION_MAX_CONDITIONS},
	{.name = "class", .kind = RULE_CHOICE, .choices = classes},
	{.name = "wait", .kind = RULE_PERIOD},
	{.name = "wait_at", .kind = RULE_PATH},
	{.name = "reason", .kind = RULE_TEXT},
	{.name = NULL}
};

static const Rule rules_named[] = {
	{.name = "path", .kind = RULE_PATH},
	{.name = "key", .kind = RULE_PATH},
	{.name = "column", .kind = RULE_TEXT},
	{.name = "index", .kind = RULE_PATH},
	{.name = "class", .kind = RULE_CHOICE, .choices = classes},
	{.name = "error", .kind = RULE_PATH},
	{.name = "id", .kind = RULE_PATH},
	{.name = NULL}
};

static const Rule rules_counts[] = {
	{.name = "failed", .kind = RULE_PATH},
	{.name = "accepted", .kind = RULE_PATH},
	{.name = NULL}
};

static const Rule rules_answer[] = {
	{.name = "shape", .kind = RULE_CHOICE, .choices = shapes},
	{.name = "path", .kind = RULE_PATH},
	{.name = "optional", .kind = RULE_BOOL},
	{.name = "status", .kind = RULE_PATH},
	{.name = "ok", .kind = RULE_PATH},
	{.name = "error", .kind = RULE_PATH},
	{.name = "index", .kind = RULE_PATH},
	{.name = "first", .kind = RULE_NUMBER, .most = 1},
	{.name = "key", .kind = RULE_PATH},
	{.name = "column", .kind = RULE_TEXT},
	{.name = "id", .kind = RULE_PATH},
	{.name = "rules", .kind = RULE_LIST, .members = rules_judging, .most = DEFINITION_MAX_RULES},
	{.name = "success", .kind = RULE_MEMBERS, .members = rules_success},
	{.name = "code", .kind = RULE_PATH},
	{.name = "row_rules", .kind = RULE_LIST, .members = rules_judging, .most = DEFINITION_MAX_RULES},
	{.name = "row_success", .kind = RULE_MEMBERS, .members = rules_success},
	{.name = "row_code", .kind = RULE_PATH},
	{.name = "codes", .kind = RULE_CHOICES, .choices = classes},
	{.name = "lists", .kind = RULE_LIST, .members = rules_named, .most = DEFINITION_MAX_LISTS},
	{.name = "unmentioned", .kind = RULE_CHOICE, .choices = unnamed},
	{.name = "counts", .kind = RULE_MEMBERS, .members = rules_counts},
	{.name = NULL}
};

static const char *const methods_job[] = {"GET", "POST", "PUT", "PATCH", "DELETE", NULL};
static const char *const step_bodies[] = {"rows", "none", NULL};
static const char *const result_formats[] = {"json", "csv", NULL};
static const char *const listed[] = {"ok", "invalid_row", "transient", NULL};
static const char *const unmentioned[] = {"ok", "ambiguous", "invalid_row", "transient", NULL};
static const char *const bulk_operations[] = {"bulk_insert", "bulk_update", "bulk_upsert", "bulk_delete", NULL};

static const Rule rules_step[] = {
	{.name = "method", .kind = RULE_CHOICE, .choices = methods_job},
	{.name = "path", .kind = RULE_TEMPLATE},
	{.name = "body", .kind = RULE_BODY, .choices = step_bodies},
	{.name = "idempotent", .kind = RULE_BOOL},
	{.name = NULL}
};

static const Rule rules_poll[] = {
	{.name = "method", .kind = RULE_CHOICE, .choices = methods_job},
	{.name = "path", .kind = RULE_TEMPLATE},
	{.name = "body", .kind = RULE_BODY},
	{.name = "state", .kind = RULE_PATH},
	{.name = "error", .kind = RULE_PATH},
	{.name = "done", .kind = RULE_TEXTS},
	{.name = "failed", .kind = RULE_TEXTS},
	{.name = "every", .kind = RULE_PERIOD},
	{.name = "timeout", .kind = RULE_PERIOD},
	{.name = NULL}
};

static const Rule rules_result[] = {
	{.name = "method", .kind = RULE_CHOICE, .choices = methods_job},
	{.name = "path", .kind = RULE_TEMPLATE},
	{.name = "body", .kind = RULE_BODY},
	{.name = "format", .kind = RULE_CHOICE, .choices = result_formats},
	{.name = "class", .kind = RULE_CHOICE, .choices = listed},
	{.name = "next", .kind = RULE_PATH},
	{.name = "answer", .kind = RULE_MEMBERS, .members = rules_answer},
	{.name = NULL}
};

static const Rule rules_job[] = {
	{.name = "id", .kind = RULE_PATH},
	{.name = "id_header", .kind = RULE_TEXT},
	{.name = "body", .kind = RULE_BODY},
	{.name = "steps", .kind = RULE_LIST, .members = rules_step, .most = 10},
	{.name = "poll", .kind = RULE_MEMBERS, .members = rules_poll},
	{.name = "results", .kind = RULE_LIST, .members = rules_result, .most = 10},
	{.name = "unmentioned", .kind = RULE_CHOICE, .choices = unmentioned},
	{.name = "concurrent", .kind = RULE_COUNT, .most = 16},
	{.name = NULL}
};

static const char *const many_records[] = {"reject", NULL};

static const Rule rules_lookup[] = {
	{.name = "method", .kind = RULE_CHOICE, .choices = methods_read},
	{.name = "path", .kind = RULE_TEMPLATE},
	{.name = "query", .kind = RULE_QUERY},
	{.name = "body", .kind = RULE_BODY},
	{.name = "records", .kind = RULE_PATH},
	{.name = "id", .kind = RULE_PATH},
	{.name = "match", .kind = RULE_PATH},
	{.name = "column", .kind = RULE_TEXT},
	{.name = "many", .kind = RULE_CHOICE, .choices = many_records},
	{.name = "conflict", .kind = RULE_STATUSES},
	{.name = "cost", .kind = RULE_COUNT, .most = RATE_MAX_CALLS},
	{.name = NULL}
};

static const Rule rules_choose[] = {
	{.name = "rows", .kind = RULE_COUNT, .most = 1000000},
	{.name = "operation", .kind = RULE_CHOICE, .choices = bulk_operations},
	{.name = NULL}
};

static const Rule rules_part[] = {
	{.name = "name", .kind = RULE_NAME},
	{.name = "filename", .kind = RULE_NAME},
	{.name = "format", .kind = RULE_CHOICE, .choices = file_formats},
	{.name = NULL}
};

static const Rule rules_operation[] = {
	{.name = "method", .kind = RULE_CHOICE, .choices = methods_write},
	{.name = "path", .kind = RULE_TEMPLATE},
	{.name = "query", .kind = RULE_QUERY},
	{.name = "format", .kind = RULE_CHOICE, .choices = formats},
	{.name = "content_type", .kind = RULE_CONTENT_TYPE},
	{.name = "batch", .kind = RULE_COUNT, .most = DEFINITION_MAX_BATCH},
	{.name = "max_bytes", .kind = RULE_COUNT, .most = DEFINITION_MAX_BYTES},
	{.name = "envelope", .kind = RULE_PATH},
	{.name = "row_at", .kind = RULE_PATH},
	{.name = "fixed", .kind = RULE_FIXED},
	{.name = "fixed_row", .kind = RULE_FIXED},
	{.name = "trace", .kind = RULE_PATH},
	{.name = "gaps", .kind = RULE_CHOICE, .choices = gaps},
	{.name = "rows", .kind = RULE_CHOICE, .choices = rows_forms},
	{.name = "columns_at", .kind = RULE_PATH},
	{.name = "part", .kind = RULE_MEMBERS, .members = rules_part},
	{.name = "omit", .kind = RULE_KEY},
	{.name = "body", .kind = RULE_CHOICE, .choices = bodies},
	{.name = "idempotent", .kind = RULE_BOOL},
	{.name = "cost", .kind = RULE_COUNT, .most = RATE_MAX_CALLS},
	{.name = "answer", .kind = RULE_MEMBERS, .members = rules_answer},
	{.name = "job", .kind = RULE_MEMBERS, .members = rules_job},
	{.name = "choose", .kind = RULE_MEMBERS, .members = rules_choose},
	{.name = "lookup", .kind = RULE_MEMBERS, .members = rules_lookup},
	{.name = NULL}
};

static const Rule rules_write[] = {
	{.name = "insert", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "update", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "upsert", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "delete", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "bulk_insert", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "bulk_update", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "bulk_upsert", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "bulk_delete", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = NULL}
};

static const Rule rules_page[] = {
	{.name = "style", .kind = RULE_CHOICE, .choices = styles},
	{.name = "param", .kind = RULE_TEXT},
	{.name = "next", .kind = RULE_PATH},
	{.name = "size_param", .kind = RULE_TEXT},
	{.name = "size", .kind = RULE_COUNT, .most = 1000000},
	{.name = "first", .kind = RULE_NUMBER, .most = 1000000},
	{.name = "in_flight", .kind = RULE_COUNT, .most = HTTP_SESSION_CONNECTIONS},
	{.name = NULL}
};

static const Rule rules_asked[] = {
	{.name = "param", .kind = RULE_NAME},
	{.name = "value", .kind = RULE_TEXT},
	{.name = "separator", .kind = RULE_NAME},
	{.name = "repeat", .kind = RULE_BOOL},
	{.name = "most", .kind = RULE_COUNT, .most = 10000},
	{.name = NULL}
};

static const Rule rules_filter[] = {
	{.name = "eq", .kind = RULE_PARAM, .members = rules_asked},
	{.name = "in", .kind = RULE_PARAM, .members = rules_asked},
	{.name = "gt", .kind = RULE_PARAM, .members = rules_asked},
	{.name = "ge", .kind = RULE_PARAM, .members = rules_asked},
	{.name = "lt", .kind = RULE_PARAM, .members = rules_asked},
	{.name = "le", .kind = RULE_PARAM, .members = rules_asked},
	{.name = "required", .kind = RULE_BOOL},
	{.name = NULL}
};

static const Rule rules_row_limit[] = {
	{.name = "param", .kind = RULE_NAME},
	{.name = "most", .kind = RULE_COUNT, .most = 1000000},
	{.name = NULL}
};

static const Rule rules_read[] = {
	{.name = "method", .kind = RULE_CHOICE, .choices = methods_read},
	{.name = "path", .kind = RULE_URL_PATH},
	{.name = "query", .kind = RULE_QUERY},
	{.name = "records", .kind = RULE_PATH},
	{.name = "row_at", .kind = RULE_PATH},
	{.name = "cost", .kind = RULE_COUNT, .most = RATE_MAX_CALLS},
	{.name = "page", .kind = RULE_MEMBERS, .members = rules_page},
	{.name = "filter", .kind = RULE_FILTERS, .members = rules_filter},
	{.name = "limit", .kind = RULE_PARAM, .members = rules_row_limit},
	{.name = "conditional", .kind = RULE_BOOL},
	{.name = NULL}
};

static const Rule rules_column[] = {
	{.name = "type", .kind = RULE_TEXT},
	{.name = "path", .kind = RULE_PATH},
	{.name = "readonly", .kind = RULE_BOOL},
	{.name = "from", .kind = RULE_NAME},
	{.name = "transform", .kind = RULE_TRANSFORM},
	{.name = "date", .kind = RULE_NAME},
	{.name = "as", .kind = RULE_CHOICE, .choices = column_types},
	{.name = "null", .kind = RULE_CHOICE, .choices = column_nulls},
	{.name = "empty", .kind = RULE_TEXT},
	{.name = "wrap", .kind = RULE_WRAP},
	{.name = "required", .kind = RULE_BOOL},
	{.name = "max_length", .kind = RULE_COUNT, .most = DEFINITION_MAX_BYTES},
	{.name = "values", .kind = RULE_TEXTS},
	{.name = NULL}
};

static const Rule rules_object[] = {
	{.name = "path", .kind = RULE_URL_PATH},
	{.name = "key", .kind = RULE_KEY},
	{.name = "row_at", .kind = RULE_PATH},
	{.name = "null", .kind = RULE_CHOICE, .choices = column_nulls},
	{.name = "empty", .kind = RULE_TEXT},
	{.name = "columns", .kind = RULE_COLUMNS, .members = rules_column},
	{.name = "read", .kind = RULE_READ, .members = rules_read},
	{.name = "write", .kind = RULE_MEMBERS, .members = rules_write},
	{.name = "answer", .kind = RULE_MEMBERS, .members = rules_answer},
	{.name = NULL}
};

static const Rule rules_limit[] = {
	{.name = "calls", .kind = RULE_COUNT, .most = RATE_MAX_CALLS},
	{.name = "per", .kind = RULE_PERIOD},
	{.name = NULL}
};

static const Rule rules_quota[] = {
	{.name = "remaining", .kind = RULE_TEXT},
	{.name = "limit", .kind = RULE_TEXT},
	{.name = "used", .kind = RULE_TEXT},
	{.name = "reset", .kind = RULE_TEXT},
	{.name = "per", .kind = RULE_PERIOD},
	{.name = NULL}
};

static const Rule rules_throttle[] = {
	{.name = "code", .kind = RULE_PATH},
	{.name = "codes", .kind = RULE_PERIODS},
	{.name = "wait", .kind = RULE_PERIOD},
	{.name = NULL}
};

static const char *const signature_styles[] = {"hmac", "github", "shopify", "slack", "standard", "stripe", "token", NULL};
static const char *const signature_algorithms[] = {"sha256", "sha512", "sha1", NULL};
static const char *const signature_encodings[] = {"hex", "base64", NULL};
static const char *const signature_keys[] = {"text", "base64", "hex", NULL};

static const Rule rules_signature[] = {
	{.name = "style", .kind = RULE_CHOICE, .choices = signature_styles},
	{.name = "header", .kind = RULE_TEXT},
	{.name = "prefix", .kind = RULE_TEXT},
	{.name = "timestamp", .kind = RULE_TEXT},
	{.name = "signed", .kind = RULE_TEXT},
	{.name = "algorithm", .kind = RULE_CHOICE, .choices = signature_algorithms},
	{.name = "encoding", .kind = RULE_CHOICE, .choices = signature_encodings},
	{.name = "key", .kind = RULE_CHOICE, .choices = signature_keys},
	{.name = "tolerance", .kind = RULE_PERIOD},
	{.name = NULL}
};

static const Rule rules_parameter[] = {
	{.name = "description", .kind = RULE_TEXT},
	{.name = "default", .kind = RULE_VALUE},
	{.name = NULL}
};

static const Rule rules_gap[] = {
	{.name = "at", .kind = RULE_TEXT},
	{.name = "gap", .kind = RULE_TEXT},
	{.name = "example", .kind = RULE_TEXT},
	{.name = "assumed", .kind = RULE_TEXT},
	{.name = NULL}
};

static const Rule rules_drift[] = {
	{.name = "object", .kind = RULE_TEXT},
	{.name = "column", .kind = RULE_TEXT},
	{.name = "change", .kind = RULE_TEXT},
	{.name = "before", .kind = RULE_TEXT},
	{.name = "now", .kind = RULE_TEXT},
	{.name = NULL}
};

static const char *const auth_forms[] = {"oauth2", "hmac", "aws", NULL};
static const char *const auth_grants[] = {"refresh_token", "client_credentials", "jwt", NULL};
static const char *const auth_clients[] = {"body", "basic", NULL};

static const Rule rules_auth[] = {
	{.name = "form", .kind = RULE_CHOICE, .choices = auth_forms},
	{.name = "grant", .kind = RULE_CHOICE, .choices = auth_grants},
	{.name = "token_url", .kind = RULE_URL},
	{.name = "scope", .kind = RULE_TEXT},
	{.name = "audience", .kind = RULE_TEXT},
	{.name = "client", .kind = RULE_CHOICE, .choices = auth_clients},
	{.name = "parameters", .kind = RULE_QUERY},
	{.name = "header", .kind = RULE_HEADER},
	{.name = "prefix", .kind = RULE_TEXT},
	{.name = "signed", .kind = RULE_TEXT},
	{.name = "timestamp", .kind = RULE_HEADER},
	{.name = "algorithm", .kind = RULE_CHOICE, .choices = signature_algorithms},
	{.name = "encoding", .kind = RULE_CHOICE, .choices = signature_encodings},
	{.name = "key", .kind = RULE_CHOICE, .choices = signature_keys},
	{.name = "service", .kind = RULE_TEXT},
	{.name = "region", .kind = RULE_TEXT},
	{.name = NULL}
};

static const Rule rules_whole[] = {
	{.name = "name", .kind = RULE_TEXT},
	{.name = "description", .kind = RULE_TEXT},
	{.name = "version", .kind = RULE_TEXT},
	{.name = "documentation", .kind = RULE_LINK},
	{.name = "parameters", .kind = RULE_PARAMETERS, .members = rules_parameter},
	{.name = "base_url", .kind = RULE_URL},
	{.name = "headers", .kind = RULE_HEADERS},
	{.name = "auth", .kind = RULE_MEMBERS, .members = rules_auth},
	{.name = "rate", .kind = RULE_LIST, .members = rules_limit, .most = QUOTA_LIMITS},
	{.name = "concurrent", .kind = RULE_COUNT, .most = RATE_MAX_CONCURRENT},
	{.name = "quota", .kind = RULE_LIST, .members = rules_quota, .most = QUOTA_TOLD},
	{.name = "throttle", .kind = RULE_MEMBERS, .members = rules_throttle},
	{.name = "answer", .kind = RULE_MEMBERS, .members = rules_answer},
	{.name = "defaults", .kind = RULE_MEMBERS, .members = rules_object},
	{.name = "gaps", .kind = RULE_LIST, .members = rules_gap, .most = DEFINITION_MAX_GAPS},
	{.name = "drift", .kind = RULE_LIST, .members = rules_drift, .most = DEFINITION_MAX_GAPS},
	{.name = "objects", .kind = RULE_MAP, .members = rules_object},
	{.name = NULL}
};

static const Rule rule_parts[] = {
	[DEFINITION_WHOLE] = {.name = "definition", .kind = RULE_MEMBERS, .members = rules_whole},
	[DEFINITION_OBJECT] = {.name = "object", .kind = RULE_MEMBERS, .members = rules_object},
	[DEFINITION_HEADERS] = {.name = "headers", .kind = RULE_HEADERS},
	[DEFINITION_RATE] = {.name = "rate", .kind = RULE_LIST, .members = rules_limit, .most = QUOTA_LIMITS},
	[DEFINITION_QUOTA] = {.name = "quota", .kind = RULE_LIST, .members = rules_quota, .most = QUOTA_TOLD},
	[DEFINITION_THROTTLE] = {.name = "throttle", .kind = RULE_MEMBERS, .members = rules_throttle},
	[DEFINITION_CONCURRENT] = {.name = "concurrent", .kind = RULE_COUNT, .most = RATE_MAX_CONCURRENT},
	[DEFINITION_OBJECTS] = {.name = "objects", .kind = RULE_MAP, .members = rules_object},
	[DEFINITION_READ] = {.name = "read", .kind = RULE_READ, .members = rules_read},
	[DEFINITION_WRITE] = {.name = "write", .kind = RULE_MEMBERS, .members = rules_write},
	[DEFINITION_COLUMNS] = {.name = "columns", .kind = RULE_COLUMNS, .members = rules_column},
	[DEFINITION_VALUES] = {.name = "parameters", .kind = RULE_VALUES},
	[DEFINITION_ANSWER] = {.name = "answer", .kind = RULE_MEMBERS, .members = rules_answer},
	[DEFINITION_SIGNATURE] = {.name = "signature", .kind = RULE_MEMBERS, .members = rules_signature},
	[DEFINITION_AUTH] = {.name = "auth", .kind = RULE_MEMBERS, .members = rules_auth}
};

void
definition_check(Jsonb *json, DefinitionPart part, const char *subject, const char *where)
{
	JsonbValue	root = definition_root(json);
	RulePlace	place = {subject, pstrdup(where)};

	if (JB_ROOT_IS_SCALAR(json))
		root = *getIthJsonbValueFromContainer(&json->root, 0);
	rule_check(&rule_parts[part], &root, place);
}
