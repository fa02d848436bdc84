/*
 * vocabulary.c
 *	  The members that a definition may have, as tables, and their check.
 *
 * docs/connectors.md explains them; keep the two in step.  What is checked
 * here is form: names, types, choices, paths, URLs, no secrets.  What only
 * makes sense together (a batch whose path names a column) is compile.c's.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "core/compat.h"
#include "http/pool.h"
#include "template/path.h"

typedef enum RuleKind
{
	RULE_TEXT,
	RULE_PATH,					/* of JSON */
	RULE_URL_PATH,				/* behind base_url */
	RULE_TEMPLATE,				/* the same with columns in braces */
	RULE_URL,
	RULE_COUNT,					/* 1 to most */
	RULE_NUMBER,				/* 0 to most */
	RULE_BOOL,
	RULE_CHOICE,
	RULE_KEY,
	RULE_HEADERS,
	RULE_QUERY,
	RULE_MEMBERS,				/* an object of members */
	RULE_MAP,					/* an object of names of the user's, each of members */
	RULE_COLUMNS,
	RULE_READ,					/* members, or false */
	RULE_LIST,					/* an array of at most so many, each of members */
	RULE_PERIOD,				/* text of an interval */
	RULE_PERIODS				/* an object of names of the user's, each of an interval */
} RuleKind;

typedef struct Rule
{
	const char *name;
	RuleKind	kind;
	const struct Rule *members;
	const char *const *choices;
	int			most;
} Rule;

/* What is being checked: for the message. */
typedef struct RulePlace
{
	const char *subject;
	char	   *where;
} RulePlace;

static const char *const methods_write[] = {"POST", "PUT", "PATCH", "DELETE", NULL};
static const char *const methods_read[] = {"GET", "POST", NULL};
static const char *const bodies[] = {"row", "none", NULL};
static const char *const styles[] = {"none", "cursor", "page", "offset", "next_url", "link", NULL};
static const char *const shapes[] = {"status", "array", "errors", "keyed", NULL};

static const Rule rules_answer[] = {
	{.name = "shape", .kind = RULE_CHOICE, .choices = shapes},
	{.name = "path", .kind = RULE_PATH},
	{.name = "optional", .kind = RULE_BOOL},
	{.name = "status", .kind = RULE_PATH},
	{.name = "ok", .kind = RULE_PATH},
	{.name = "error", .kind = RULE_PATH},
	{.name = "index", .kind = RULE_PATH},
	{.name = "key", .kind = RULE_PATH},
	{.name = "column", .kind = RULE_TEXT},
	{.name = "id", .kind = RULE_PATH},
	{.name = NULL}
};

static const Rule rules_operation[] = {
	{.name = "method", .kind = RULE_CHOICE, .choices = methods_write},
	{.name = "path", .kind = RULE_TEMPLATE},
	{.name = "batch", .kind = RULE_COUNT, .most = DEFINITION_MAX_BATCH},
	{.name = "envelope", .kind = RULE_PATH},
	{.name = "body", .kind = RULE_CHOICE, .choices = bodies},
	{.name = "idempotent", .kind = RULE_BOOL},
	{.name = "cost", .kind = RULE_COUNT, .most = RATE_MAX_CALLS},
	{.name = "answer", .kind = RULE_MEMBERS, .members = rules_answer},
	{.name = NULL}
};

static const Rule rules_write[] = {
	{.name = "insert", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "update", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "upsert", .kind = RULE_MEMBERS, .members = rules_operation},
	{.name = "delete", .kind = RULE_MEMBERS, .members = rules_operation},
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

static const Rule rules_read[] = {
	{.name = "method", .kind = RULE_CHOICE, .choices = methods_read},
	{.name = "path", .kind = RULE_URL_PATH},
	{.name = "query", .kind = RULE_QUERY},
	{.name = "records", .kind = RULE_PATH},
	{.name = "cost", .kind = RULE_COUNT, .most = RATE_MAX_CALLS},
	{.name = "page", .kind = RULE_MEMBERS, .members = rules_page},
	{.name = NULL}
};

static const Rule rules_column[] = {
	{.name = "type", .kind = RULE_TEXT},
	{.name = "path", .kind = RULE_PATH},
	{.name = "readonly", .kind = RULE_BOOL},
	{.name = NULL}
};

static const Rule rules_object[] = {
	{.name = "path", .kind = RULE_URL_PATH},
	{.name = "key", .kind = RULE_KEY},
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

static const Rule rules_whole[] = {
	{.name = "name", .kind = RULE_TEXT},
	{.name = "description", .kind = RULE_TEXT},
	{.name = "base_url", .kind = RULE_URL},
	{.name = "headers", .kind = RULE_HEADERS},
	{.name = "rate", .kind = RULE_LIST, .members = rules_limit, .most = QUOTA_LIMITS},
	{.name = "concurrent", .kind = RULE_COUNT, .most = RATE_MAX_CONCURRENT},
	{.name = "quota", .kind = RULE_LIST, .members = rules_quota, .most = QUOTA_TOLD},
	{.name = "throttle", .kind = RULE_MEMBERS, .members = rules_throttle},
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
	[DEFINITION_ANSWER] = {.name = "answer", .kind = RULE_MEMBERS, .members = rules_answer},
	[DEFINITION_SIGNATURE] = {.name = "signature", .kind = RULE_MEMBERS, .members = rules_signature}
};

static const Rule rule_period = {.kind = RULE_PERIOD};

static void rule_check(const Rule *rule, const JsonbValue *value, RulePlace place);

static RulePlace
place_under(RulePlace place, const char *name)
{
	place.where = *place.where ? psprintf("%s.%s", place.where, name) : pstrdup(name);
	return place;
}

pg_noreturn static void
rule_fail(RulePlace place, const char *expected, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 *place.where ? errmsg("%s: \"%s\" must be %s", place.subject, place.where, expected)
			 : errmsg("%s must be %s", place.subject, expected),
			 hint ? errhint("%s", hint) : 0));
}

static void
rule_check_members(const Rule *rules, const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *members;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		rule_fail(place, "an object", NULL);
	members = definition_members(value, &n);
	for (int i = 0; i < n; i++)
	{
		const Rule *rule = rules;
		StringInfoData valid;

		while (rule->name != NULL && strcmp(rule->name, members[i].name) != 0)
			rule++;
		if (rule->name != NULL)
		{
			/* null removes a member when definitions are merged */
			if (members[i].value.type != jbvNull)
				rule_check(rule, &members[i].value, place_under(place, rule->name));
			continue;
		}
		initStringInfo(&valid);
		for (rule = rules; rule->name != NULL; rule++)
			appendStringInfo(&valid, "%s%s", rule > rules ? ", " : "", rule->name);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s: unknown member \"%s\"", place.subject,
						place_under(place, members[i].name).where),
				 errhint("Valid members here are: %s.", valid.data)));
	}
}

/* An object of the user's own names: headers, query, columns, objects. */
static DefinitionMember *
rule_map(const JsonbValue *value, RulePlace place, int *n)
{
	DefinitionMember *members;
	int			kept = 0;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		rule_fail(place, "an object", NULL);
	members = definition_members(value, n);
	for (int i = 0; i < *n; i++)
	{
		if (members[i].name[0] == '\0')
			rule_fail(place, "an object without empty names", NULL);
		if (members[i].value.type != jbvNull)
			members[kept++] = members[i];
	}
	*n = kept;
	return members;
}

static void
rule_check_columns(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *members = rule_map(value, place, &n);

	for (int i = 0; i < n; i++)
	{
		RulePlace	under = place_under(place, members[i].name);

		if (strlen(members[i].name) >= NAMEDATALEN)
			rule_fail(under, "named with fewer bytes than a column's name may have", NULL);
		if (members[i].value.type == jbvString)
			continue;
		if (members[i].value.type != jbvBinary)
			rule_fail(under, "the name of a type or an object",
					  "Write \"email\": \"text\" or \"email\": {\"type\": \"text\", \"path\": \"properties.email\"}.");
		rule_check_members(rule->members, &members[i].value, under);
	}
}

/* Headers that HTTP itself, or we, decide. */
bool
definition_header_is_ours(const char *name)
{
	return http_header_is_reserved(name) || pg_strcasecmp(name, "Idempotency-Key") == 0;
}

static void
rule_check_headers(const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *members = rule_map(value, place, &n);

	for (int i = 0; i < n; i++)
	{
		const char *name = members[i].name;
		RulePlace	under = place_under(place, name);
		char	   *text;

		if (!http_header_is_name(name))
			rule_fail(place, "an object of header names", "A header's name has letters, digits and \"-\".");
		if (definition_header_is_ours(name))
			rule_fail(under, "left out", "This header is set by activate itself.");
		if (secret_header_name(name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s: header \"%s\" looks like a secret", place.subject, name),
					 errhint("Put it into the secret of the user mapping: {\"header\": {\"%s\": \"...\"}} or {\"bearer\": \"...\"}.", name)));
		if (members[i].value.type != jbvString)
			rule_fail(under, "a string", NULL);
		text = template_scalar_text(&members[i].value);
		for (const char *p = text; *p; p++)
		{
			if ((unsigned char) *p < ' ' || *p == 0x7f)
				rule_fail(under, "a string without control characters", NULL);
		}
		(void) template_names(text);
	}
}

static void
rule_check_query(const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *members = rule_map(value, place, &n);

	for (int i = 0; i < n; i++)
	{
		const char *name = members[i].name;

		if (members[i].value.type == jbvBinary)
			rule_fail(place_under(place, name), "a string, number or boolean", NULL);
		if (secret_query_name(name, strlen(name)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s: query parameter \"%s\" looks like a secret", place.subject, name),
					 errhint("Put it into the secret of the user mapping: {\"query\": {\"%s\": \"...\"}}.", name)));
	}
}

static void
rule_check_choice(const Rule *rule, const char *text, RulePlace place)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (const char *const *choice = rule->choices; *choice; choice++)
	{
		if (strcmp(*choice, text) == 0)
			return;
		appendStringInfo(&valid, "%s%s", choice > rule->choices ? ", " : "Valid values are: ", *choice);
	}
	rule_fail(place, "one of the valid values", psprintf("%s.", valid.data));
}

static void
rule_check_key(const JsonbValue *value, RulePlace place)
{
	bool		good = value->type == jbvString ||
		(value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data));
	List	   *names = NIL;
	ListCell   *lc;

	if (good && value->type == jbvBinary)
	{
		int			n;
		DefinitionMember *elements = definition_members(value, &n);

		for (int i = 0; i < n; i++)
			good = good && elements[i].value.type == jbvString;
	}
	if (good)
		names = definition_key(value);
	foreach(lc, names)
		good = good && *(char *) lfirst(lc) != '\0';
	if (!good || names == NIL)
		rule_fail(place, "the names of the key columns", "Write \"id\", \"tenant, id\" or [\"tenant\", \"id\"].");
}

static void
rule_check_number(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	int			least = rule->kind == RULE_COUNT ? 1 : 0;
	char	   *range = psprintf("a whole number from %d to %d", least, rule->most);
	char	   *text;
	char	   *end;
	long		number;

	if (value->type != jbvNumeric)
		rule_fail(place, range, NULL);
	text = template_scalar_text(value);
	errno = 0;
	number = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || number < least || number > rule->most)
		rule_fail(place, range, NULL);
}

static void
rule_check_list(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	char	   *expected = psprintf("an array of at most %d objects", rule->most);
	int			n = 0;
	DefinitionMember *elements = NULL;

	if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		!JsonContainerIsScalar(value->val.binary.data))
		elements = definition_members(value, &n);
	if (elements == NULL || n > rule->most)
		rule_fail(place, expected, NULL);
	for (int i = 0; i < n; i++)
		rule_check_members(rule->members, &elements[i].value, place_under(place, psprintf("%d", i)));
}

static void
rule_check_text(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	char	   *text;

	if (value->type != jbvString)
		rule_fail(place, "a string", NULL);
	text = template_scalar_text(value);
	switch (rule->kind)
	{
		case RULE_PATH:
			if (!path_valid(text))
				rule_fail(place, "a path into JSON",
						  "Write dotted member names and positions, as in \"data.items\", \"errors.0.message\" or \"\\\"a.b\\\".c\".");
			break;
		case RULE_URL:
			definition_check_url(text, psprintf("%s: \"%s\"", place.subject, place.where), false);
			break;
		case RULE_URL_PATH:
			definition_check_url_path(text, psprintf("%s: \"%s\"", place.subject, place.where));
			break;
		case RULE_CHOICE:
			rule_check_choice(rule, text, place);
			break;
		case RULE_TEMPLATE:
			definition_check_url_path(text, psprintf("%s: \"%s\"", place.subject, place.where));
			(void) template_names(text);
			break;
		case RULE_PERIOD:
			if (!rate_period(text, NULL))
				rule_fail(place, "an interval of a second to a month", "Write \"10s\", \"1 minute\" or \"1 day\".");
			break;
		default:
			break;
	}
}

static void
rule_check(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *members;

	switch (rule->kind)
	{
		case RULE_BOOL:
			if (value->type != jbvBool)
				rule_fail(place, "true or false", NULL);
			break;
		case RULE_COUNT:
		case RULE_NUMBER:
			rule_check_number(rule, value, place);
			break;
		case RULE_KEY:
			rule_check_key(value, place);
			break;
		case RULE_HEADERS:
			rule_check_headers(value, place);
			break;
		case RULE_QUERY:
			rule_check_query(value, place);
			break;
		case RULE_COLUMNS:
			rule_check_columns(rule, value, place);
			break;
		case RULE_LIST:
			rule_check_list(rule, value, place);
			break;
		case RULE_PERIODS:
			members = rule_map(value, place, &n);
			for (int i = 0; i < n; i++)
				rule_check_text(&rule_period, &members[i].value, place_under(place, members[i].name));
			break;
		case RULE_READ:
			if (value->type == jbvBool && !value->val.boolean)
				break;
			/* FALLTHROUGH */
		case RULE_MEMBERS:
			rule_check_members(rule->members, value, place);
			break;
		case RULE_MAP:
			members = rule_map(value, place, &n);
			for (int i = 0; i < n; i++)
				rule_check_members(rule->members, &members[i].value,
								   place_under(place, members[i].name));
			break;
		default:
			rule_check_text(rule, value, place);
			break;
	}
}

void
definition_check(Jsonb *json, DefinitionPart part, const char *subject, const char *where)
{
	JsonbValue	root = definition_root(json);
	RulePlace	place = {subject, pstrdup(where)};

	if (JB_ROOT_IS_SCALAR(json))
		root = *getIthJsonbValueFromContainer(&json->root, 0);
	rule_check(&rule_parts[part], &root, place);
}
