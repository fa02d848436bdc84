/*
 * parameter.c
 *	  Parameters of a definition: "{$list_id}" in its texts, with the values
 *	  that a server's and a table's option "parameters" give.
 *
 * Only the server's stand in what says where requests go and what they carry
 * (base_url, headers): whoever may set options of a table need not be one who
 * may send the server's secret elsewhere.  So objects are expanded on their
 * own, with the table's values over the server's.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "utils/builtins.h"

/* Members of a definition that say nothing to the API, or wait for a table. */
static bool
parameter_is_apart(const JsonbValue *key)
{
	static const char *const apart[] = {"objects", "defaults", "parameters", "gaps", "drift", "description", "documentation", "name", "version"};

	for (int i = 0; i < lengthof(apart); i++)
	{
		if (strlen(apart[i]) == key->val.string.len &&
			memcmp(apart[i], key->val.string.val, key->val.string.len) == 0)
			return true;
	}
	return false;
}

static bool
parameter_declared(const DefinitionParameters *parameters, const char *name, JsonbValue *declared)
{
	return parameters->declared.type == jbvBinary &&
		definition_get_in(&parameters->declared, name, declared);
}

static char *
parameter_of(Jsonb *values, const char *name)
{
	return values ? template_member_text(values, name) : NULL;
}

pg_noreturn static void
parameter_unknown(const DefinitionParameters *parameters, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_PARAMETER),
			 errmsg("%s: parameter \"%s\" is not declared", parameters->subject, name),
			 errhint("Parameters of the definition are: %s.",
					 parameters->declared.type == jbvBinary ? definition_names(&parameters->declared) : "none")));
}

static char *
parameter_value(const DefinitionParameters *parameters, const char *name)
{
	JsonbValue	declared;
	JsonbValue	standard;
	bool		known = parameter_declared(parameters, name, &declared);
	char	   *value = parameter_of(parameters->table, name);
	char	   *description;

	if (parameters->object != NULL && strcmp(name, "object") == 0)
		return pstrdup(parameters->object);

	if (value == NULL)
		value = parameter_of(parameters->server, name);
	if (value == NULL && known && definition_get_in(&declared, "default", &standard))
		value = template_scalar_text(&standard);
	if (value != NULL)
		return value;
	if (!known)
		parameter_unknown(parameters, name);
	if (parameters->declaring)
		return pstrdup("0");
	description = definition_text(&declared, "description");
	ereport(ERROR,
			(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
			 errmsg("%s: the connector's parameter \"%s\" has no value", parameters->subject, name),
			 description ? errdetail("It is %s.", description) : 0,
			 errhint("Add it to the option \"parameters\" of the server, as in parameters '{\"%s\": \"...\"}'.", name)));
}

/* Every {$name} of a text; NULL: there is none. */
static char *
parameter_expand_text(const DefinitionParameters *parameters, const char *text)
{
	StringInfoData out;

	if (strstr(text, "{$") == NULL)
		return NULL;
	initStringInfo(&out);
	while (*text)
	{
		const char *end;

		/* a doubled brace is the brace itself */
		if (text[0] == '{' && text[1] == '{')
		{
			appendStringInfoString(&out, "{{");
			text += 2;
			continue;
		}
		if (text[0] != '{' || text[1] != '$')
		{
			appendStringInfoChar(&out, *text++);
			continue;
		}
		end = strpbrk(text + 1, "{}");
		if (end == NULL || *end != '}' || end == text + 2)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s: malformed parameter in \"%s\"", parameters->subject, text),
					 errhint("A parameter is named as in \"/lists/{$list_id}\".")));
		appendStringInfoString(&out, parameter_value(parameters, pnstrdup(text + 2, end - text - 2)));
		text = end + 1;
	}
	return out.data;
}

/* whole: a definition, whose objects and texts for people are left as they are. */
Jsonb *
definition_expand(Jsonb *json, const DefinitionParameters *parameters, bool whole)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbValue *result = NULL;
	JsonbValue	value;
	JsonbIteratorToken token;
	int			depth = 0;
	bool		apart = false;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
			depth++;
		else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
			depth--;
		else if (token == WJB_KEY && depth == 1)
			apart = whole && parameter_is_apart(&value);
		else if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvString && !apart)
		{
			char	   *text = parameter_expand_text(parameters, template_scalar_text(&value));

			if (text != NULL)
			{
				value.val.string.val = text;
				value.val.string.len = strlen(text);
			}
		}
		result = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY ? &value : NULL);
	}
	return JsonbValueToJsonb(result);
}

/* Values that a definition, if it declares any, does not know. */
static void
parameter_check_known(const DefinitionParameters *parameters, Jsonb *values)
{
	JsonbValue	root;
	JsonbValue	declared;
	DefinitionMember *members;
	int			n;

	if (values == NULL || parameters->declared.type != jbvBinary)
		return;
	root = definition_root(values);
	members = definition_members(&root, &n);
	for (int i = 0; i < n; i++)
	{
		if (!parameter_declared(parameters, members[i].name, &declared))
			parameter_unknown(parameters, members[i].name);
	}
}

static Jsonb *
parameter_option(List *options)
{
	const char *text = definition_option(options, "parameters");

	return text ? definition_parse(text, "parameters", false) : NULL;
}

void
definition_parameters(DefinitionParameters *parameters, Jsonb *definition, List *server, List *table, const char *subject)
{
	memset(parameters, 0, sizeof(DefinitionParameters));
	parameters->subject = subject;
	if (!definition_get(definition, "parameters", &parameters->declared))
		parameters->declared.type = jbvNull;
	parameters->server = parameter_option(server);
	parameters->table = parameter_option(table);
	parameter_check_known(parameters, parameters->server);
	parameter_check_known(parameters, parameters->table);
}
