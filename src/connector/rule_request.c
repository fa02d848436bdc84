/*
 * rule_request.c
 *	  What definitions hold of the shape of requests: constants, what is made of
 *	  values, parameters, media types.
 */
#include "postgres.h"

#include "connector/rule.h"
#include "template/path.h"

static void
rule_check_fixed(const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *members = rule_map(value, place, &n);

	for (int i = 0; i < n; i++)
	{
		const char *name = members[i].name;
		const char *p = name;
		PathStep	step;

		if (!path_valid(name))
			rule_fail(place, "an object whose names are paths into the body",
					  "Write {\"options.update\": true}, or \"\\\"a.b\\\"\" for a name with a dot.");
		while (path_next(&p, &step) == PATH_STEP)
			continue;
		if (members[i].value.type == jbvString && strcmp(step.name, "key") != 0 &&
			secret_query_name(step.name, strlen(step.name)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s: constant \"%s\" looks like a secret", place.subject, place_under(place, name).where),
					 errhint("Definitions are no place for secrets; they belong to the user mapping.")));
	}
}

static void
rule_check_wrap(const JsonbValue *value, RulePlace place)
{
	if (value->type == jbvBool)
		return;
	if (value->type != jbvBinary || definition_wrap_path(value->val.binary.data) == NULL)
		rule_fail(place, "true, or an object or array that says by \"$\" where the value goes",
				  "Write true for an array of the value, or {\"date\": {\"start\": \"$\"}}.");
}

static void
rule_check_transform(const JsonbValue *value, RulePlace place)
{
	char	   *hint = psprintf("Steps are: %s; \"e164:49\" says the country of numbers without one.", template_step_names());
	int			n;
	DefinitionMember *elements = rule_elements(value, &n);

	if (elements == NULL)
		rule_fail(place, "an array of steps", hint);
	for (int i = 0; i < n; i++)
	{
		TemplateStep step;

		/* a parameter is looked at when it has a value */
		if (elements[i].value.type != jbvString ||
			(strstr(template_scalar_text(&elements[i].value), "{$") == NULL &&
			 !template_step(template_scalar_text(&elements[i].value), &step)))
			rule_fail(place_under(place, psprintf("%d", i)), "one of the steps", hint);
	}
}

/* Stands in URLs and templates, where a brace would mean something else. */
static void
rule_check_value(const JsonbValue *value, RulePlace place)
{
	char	   *text = value->type == jbvBinary ? NULL : template_scalar_text(value);

	if (text == NULL)
		rule_fail(place, "a string, number or boolean", NULL);
	for (const char *p = text; *p; p++)
	{
		if ((unsigned char) *p < ' ' || *p == 0x7f || *p == '{' || *p == '}')
			rule_fail(place, "a text without braces and control characters", NULL);
	}
}

static bool
rule_parameter_name(const char *name)
{
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
}

/* Parameters of a definition, or values of them. */
static void
rule_check_parameters(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *members = rule_map(value, place, &n);

	for (int i = 0; i < n; i++)
	{
		RulePlace	under = place_under(place, members[i].name);

		if (!rule_parameter_name(members[i].name))
			rule_fail(under, "named by letters, digits and \"_\"", NULL);
		if (secret_query_name(members[i].name, strlen(members[i].name)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s: parameter \"%s\" looks like a secret", place.subject, members[i].name),
					 errhint("Parameters are shown to everybody; secrets belong to the user mapping.")));
		if (rule->kind == RULE_VALUES)
			rule_check_value(&members[i].value, under);
		else
			rule_check_members(rule->members, &members[i].value, under);
	}
}

/* Of the query that a read sends: "status", or {"param": "status", ...}. */
static void
rule_check_param(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	const char *name = value->type == jbvString ? template_scalar_text(value) : definition_text(value, "param");

	if (value->type == jbvBinary)
		rule_check_members(rule->members, value, place);
	if (name == NULL || *name == '\0')
		rule_fail(place, "the name of a parameter of the query, or an object with it",
				  "Write \"status\" or {\"param\": \"status\"}.");
	rule_refuse_secret(name, place);
}

/* By column: "status", which is {"eq": "status"}, or an object. */
static void
rule_check_filters(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	int			n;
	DefinitionMember *members = rule_map(value, place, &n);

	for (int i = 0; i < n; i++)
	{
		RulePlace	under = place_under(place, members[i].name);

		if (members[i].value.type == jbvString)
			rule_check_param(rule, &members[i].value, under);
		else if (members[i].value.type == jbvBinary)
			rule_check_members(rule->members, &members[i].value, under);
		else
			rule_fail(under, "the name of a parameter of the query, or an object",
					  "Write \"status\": \"status\" or \"updated_at\": {\"ge\": \"updated_since\"}.");
	}
}

bool
rule_is_content_type(const char *text)
{
	const char *slash = strchr(text, '/');

	for (const char *p = text; *p; p++)
	{
		if ((unsigned char) *p < ' ' || (unsigned char) *p >= 0x7f)
			return false;
	}
	return slash != NULL && slash > text && slash[1] != '\0';
}

void
rule_check_request(const Rule *rule, const JsonbValue *value, RulePlace place)
{
	switch (rule->kind)
	{
		case RULE_WRAP:
			rule_check_wrap(value, place);
			break;
		case RULE_TRANSFORM:
			rule_check_transform(value, place);
			break;
		case RULE_FIXED:
			rule_check_fixed(value, place);
			break;
		case RULE_VALUE:
			rule_check_value(value, place);
			break;
		case RULE_PARAM:
			rule_check_param(rule, value, place);
			break;
		case RULE_FILTERS:
			rule_check_filters(rule, value, place);
			break;
		default:
			rule_check_parameters(rule, value, place);
			break;
	}
}
