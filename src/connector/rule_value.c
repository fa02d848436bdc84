/*
 * rule_value.c
 *	  What conditions of an "answer" compare with: values and HTTP statuses.
 */
#include "postgres.h"

#include "connector/rule.h"

DefinitionMember *
rule_values(const JsonbValue *value, int *n)
{
	DefinitionMember *one;

	if (value->type == jbvBinary)
		return rule_elements(value, n);
	one = palloc0(sizeof(DefinitionMember));
	one->value = *value;
	*n = 1;
	return one;
}

/* One of them, or an array of them. */
static DefinitionMember *
rule_one_or_more(const JsonbValue *value, RulePlace place, const char *expected, int *n)
{
	DefinitionMember *elements = rule_values(value, n);

	if (elements == NULL)
		rule_fail(place, expected, NULL);
	if (*n == 0)
		rule_fail(place, expected, "An empty list holds of nothing.");
	return elements;
}

void
rule_check_scalars(const JsonbValue *value, RulePlace place)
{
	static const char *const expected = "a string, number or boolean, or an array of them";
	int			n;
	DefinitionMember *elements = rule_one_or_more(value, place, expected, &n);

	for (int i = 0; i < n; i++)
		if (elements[i].value.type == jbvBinary || elements[i].value.type == jbvNull)
			rule_fail(place, expected, elements[i].value.type == jbvNull ?
					  "null is no value: write \"exists\": false for what is not there." : NULL);
}

bool
rule_status(const JsonbValue *value, int *least, int *most)
{
	char	   *text;

	if (value->type != jbvString && value->type != jbvNumeric)
		return false;
	text = template_scalar_text(value);
	if (strlen(text) != 3 || text[0] < '1' || text[0] > '5')
		return false;
	if (value->type == jbvString && strcmp(text + 1, "xx") == 0)
	{
		*least = (text[0] - '0') * 100;
		*most = *least + 99;
		return true;
	}
	*least = *most = atoi(text);
	return strspn(text, "0123456789") == 3;
}

void
rule_check_status_set(const JsonbValue *value, RulePlace place)
{
	static const char *const expected = "an HTTP status, or an array of them";
	int			n;
	DefinitionMember *elements = rule_one_or_more(value, place, expected, &n);

	for (int i = 0; i < n; i++)
	{
		int			least;
		int			most;

		if (!rule_status(&elements[i].value, &least, &most))
			rule_fail(place, expected, "Write 409, \"4xx\" or [200, \"5xx\"].");
	}
}
