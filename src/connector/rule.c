/*
 * rule.c
 *	  What a definition holds against the tables of vocabulary.c.
 *
 * What is checked here is form: names, types, choices, paths, URLs, no secrets.
 */
#include "postgres.h"

#include "connector/rule.h"
#include "core/compat.h"
#include "http/pool.h"
#include "template/path.h"

static const Rule rule_period = {.kind = RULE_PERIOD};

RulePlace
place_under(RulePlace place, const char *name)
{
	place.where = *place.where ? psprintf("%s.%s", place.where, name) : pstrdup(name);
	return place;
}

void
rule_fail(RulePlace place, const char *expected, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 *place.where ? errmsg("%s: \"%s\" must be %s", place.subject, place.where, expected)
			 : errmsg("%s must be %s", place.subject, expected),
			 hint ? errhint("%s", hint) : 0));
}

void
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
DefinitionMember *
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
		rule_refuse_secret(name, place);
	}
}

void
rule_refuse_secret(const char *name, RulePlace place)
{
	if (secret_query_name(name, strlen(name)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s: query parameter \"%s\" looks like a secret", place.subject, name),
				 errhint("Put it into the secret of the user mapping: {\"query\": {\"%s\": \"...\"}}.", name)));
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
		rule_fail(place, "names of columns", "Write \"id\", \"tenant, id\" or [\"tenant\", \"id\"].");
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

DefinitionMember *
rule_elements(const JsonbValue *value, int *n)
{
	*n = 0;
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return NULL;
	return definition_members(value, n);
}

static void
rule_check_list(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	char	   *expected = psprintf("an array of at most %d objects", rule->most);
	int			n;
	DefinitionMember *elements = rule_elements(value, &n);

	if (elements == NULL || n > rule->most)
		rule_fail(place, expected, NULL);
	for (int i = 0; i < n; i++)
		rule_check_members(rule->members, &elements[i].value, place_under(place, psprintf("%d", i)));
}

static void
rule_check_statuses(const JsonbValue *value, RulePlace place)
{
	static const Rule status = {.kind = RULE_COUNT, .most = 599};
	int			n;
	DefinitionMember *elements = rule_elements(value, &n);

	if (n == 0)
		rule_fail(place, "an array of HTTP statuses", NULL);
	for (int i = 0; i < n; i++)
		rule_check_number(&status, &elements[i].value, place_under(place, psprintf("%d", i)));
}

static void
rule_check_texts(const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *elements = rule_elements(value, &n);

	for (int i = 0; i < n; i++)
		if (elements[i].value.type != jbvString)
			n = 0;
	if (n == 0)
		rule_fail(place, "an array of strings", NULL);
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
		case RULE_NAME:
			if (*text == '\0')
				rule_fail(place, "a string that is not empty", NULL);
			break;
		case RULE_LINK:
			definition_check_url(text, psprintf("%s: \"%s\"", place.subject, place.where), true);
			break;
		case RULE_CONTENT_TYPE:
			if (!rule_is_content_type(text))
				rule_fail(place, "a media type", "Write \"application/vnd.api+json\".");
			break;
		case RULE_URL:
			/* what a parameter makes of it is checked when it has a value */
			if (strncmp(text, "{$", 2) == 0)
				break;
			definition_check_url(text, psprintf("%s: \"%s\"", place.subject, place.where), false);
			break;
		case RULE_URL_PATH:
			definition_check_url_path(text, psprintf("%s: \"%s\"", place.subject, place.where));
			break;
		case RULE_CHOICE:
			rule_check_choice(rule, text, place);
			break;
		case RULE_HEADER:
			if (!http_header_is_name(text) || definition_header_is_ours(text))
				rule_fail(place, "the name of a header that activate does not set itself", "A header's name has letters, digits and \"-\".");
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

void
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
		case RULE_WRAP:
		case RULE_TRANSFORM:
		case RULE_FIXED:
		case RULE_VALUE:
		case RULE_PARAMETERS:
		case RULE_VALUES:
		case RULE_PARAM:
		case RULE_FILTERS:
			rule_check_request(rule, value, place);
			break;
		case RULE_COLUMNS:
			rule_check_columns(rule, value, place);
			break;
		case RULE_LIST:
			rule_check_list(rule, value, place);
			break;
		case RULE_STATUSES:
			rule_check_statuses(value, place);
			break;
		case RULE_TEXTS:
			rule_check_texts(value, place);
			break;
		case RULE_BODY:
			if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
				break;
			if (value->type != jbvString || rule->choices == NULL)
				rule_fail(place, rule->choices ? "\"rows\", \"none\" or an object" : "an object", NULL);
			rule_check_choice(rule, template_scalar_text(value), place);
			break;
		case RULE_PERIODS:
			members = rule_map(value, place, &n);
			for (int i = 0; i < n; i++)
				rule_check_text(&rule_period, &members[i].value, place_under(place, members[i].name));
			break;
		case RULE_CHOICES:
			members = rule_map(value, place, &n);
			for (int i = 0; i < n; i++)
			{
				RulePlace	under = place_under(place, members[i].name);

				if (members[i].value.type != jbvString)
					rule_fail(under, "a string", NULL);
				rule_check_choice(rule, template_scalar_text(&members[i].value), under);
			}
			break;
		case RULE_SCALARS:
			rule_check_scalars(value, place);
			break;
		case RULE_STATUS_SET:
			rule_check_status_set(value, place);
			break;
		case RULE_DECIMAL:
			if (value->type != jbvNumeric)
				rule_fail(place, "a number", NULL);
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

