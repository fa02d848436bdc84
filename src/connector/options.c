/*
 * options.c
 *	  The options of servers, foreign tables, columns and user mappings: what
 *	  there is, and what they add to a definition.
 *
 * Options are text and definitions are JSON: an option either holds JSON of
 * the member with its name, or the member itself.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "connector/definition.h"
#include "connector/form.h"
#include "core/compat.h"
#include "miscadmin.h"
#include "template/path.h"
#include "utils/acl.h"
#include "utils/builtins.h"

typedef enum OptionKind
{
	OPTION_TEXT,
	OPTION_JSON,				/* a part of a definition */
	OPTION_KEY,
	OPTION_VALUES,				/* of the definition's parameters */
	OPTION_OURS					/* read by its own code */
} OptionKind;

typedef struct Option
{
	const char *name;
	OptionKind	kind;
	DefinitionPart part;		/* OPTION_JSON, OPTION_VALUES */
} Option;

/* Of every server, whatever its connector. */
#define OPTIONS_OF_SERVERS \
	{.name = "ca_file", .kind = OPTION_OURS}, \
	{.name = "proxy", .kind = OPTION_OURS}, \
	{.name = "http_version", .kind = OPTION_OURS}, \
	{.name = "compress", .kind = OPTION_OURS}, \
	{.name = "auth", .kind = OPTION_JSON, .part = DEFINITION_AUTH}, \
	{.name = "rate", .kind = OPTION_JSON, .part = DEFINITION_RATE}, \
	{.name = "concurrent", .kind = OPTION_JSON, .part = DEFINITION_CONCURRENT}, \
	{.name = "quota", .kind = OPTION_JSON, .part = DEFINITION_QUOTA}, \
	{.name = "throttle", .kind = OPTION_JSON, .part = DEFINITION_THROTTLE}

static const Option options_webhook[] = {
	{.name = "connector", .kind = OPTION_OURS},
	{.name = "url", .kind = OPTION_OURS},
	{.name = "method", .kind = OPTION_OURS},
	{.name = "batch", .kind = OPTION_OURS},
	{.name = "headers", .kind = OPTION_JSON, .part = DEFINITION_HEADERS},
	{.name = "format", .kind = OPTION_OURS},
	OPTIONS_OF_SERVERS,
	{.name = NULL}
};

static const Option options_receive[] = {
	{.name = "connector", .kind = OPTION_OURS},
	{.name = "signature", .kind = OPTION_OURS},
	{.name = "id", .kind = OPTION_OURS},
	{.name = "id_header", .kind = OPTION_OURS},
	{.name = "format", .kind = OPTION_OURS},
	{.name = "headers", .kind = OPTION_OURS},
	{.name = "retention", .kind = OPTION_OURS},
	{.name = NULL}
};

static const Option options_server[] = {
	{.name = "connector", .kind = OPTION_OURS},
	{.name = "base_url", .kind = OPTION_TEXT},
	{.name = "headers", .kind = OPTION_JSON, .part = DEFINITION_HEADERS},
	{.name = "answer", .kind = OPTION_JSON, .part = DEFINITION_ANSWER},
	{.name = "objects", .kind = OPTION_JSON, .part = DEFINITION_OBJECTS},
	{.name = "parameters", .kind = OPTION_VALUES, .part = DEFINITION_VALUES},
	OPTIONS_OF_SERVERS,
	{.name = NULL}
};

static const Option options_table[] = {
	{.name = "object", .kind = OPTION_OURS},
	{.name = "path", .kind = OPTION_TEXT},
	{.name = "key", .kind = OPTION_KEY},
	{.name = "read", .kind = OPTION_JSON, .part = DEFINITION_READ},
	{.name = "write", .kind = OPTION_JSON, .part = DEFINITION_WRITE},
	{.name = "answer", .kind = OPTION_JSON, .part = DEFINITION_ANSWER},
	{.name = "columns", .kind = OPTION_JSON, .part = DEFINITION_COLUMNS},
	{.name = "parameters", .kind = OPTION_VALUES, .part = DEFINITION_VALUES},
	{.name = NULL}
};

static const Option options_column[] = {
	{.name = "path", .kind = OPTION_OURS},
	{.name = "readonly", .kind = OPTION_OURS},
	{.name = NULL}
};

static const Option options_mapping[] = {
	{.name = "secret", .kind = OPTION_OURS},
	{.name = NULL}
};

static const Option options_none[] = {
	{.name = NULL}
};

const char *
definition_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

static bool
definition_is_of(List *server_options, const char *name)
{
	const char *connector = definition_option(server_options, "connector");

	return connector != NULL && strcmp(connector, name) == 0;
}

bool
definition_is_webhook(List *server_options)
{
	return definition_is_of(server_options, "webhook");
}

bool
connector_is_inbound(List *server_options)
{
	return definition_is_of(server_options, "receive");
}

static const Option *
options_of(List *options, Oid catalog)
{
	switch (catalog)
	{
		case ForeignServerRelationId:
			return definition_is_webhook(options) ? options_webhook :
				connector_is_inbound(options) ? options_receive : options_server;
		case ForeignTableRelationId:
			return options_table;
		case AttributeRelationId:
			return options_column;
		case UserMappingRelationId:
			return options_mapping;
		default:
			return options_none;
	}
}

static void
option_check_known(const Option *known, const char *name)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (const Option *option = known; option->name != NULL; option++)
	{
		if (strcmp(option->name, name) == 0)
			return;
		appendStringInfo(&valid, "%s%s", option > known ? ", " : "", option->name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 known->name == NULL ? errhint("There are no valid options in this context.")
			 : errhint("Valid options in this context are: %s.", valid.data)));
}

/* One option as the member of a definition that it stands for: text of JSON. */
static void
option_append_member(StringInfo json, const Option *option, const char *value)
{
	bool		text = option->kind == OPTION_TEXT ||
		(option->kind == OPTION_KEY && value[strspn(value, " \t\n")] != '[');

	appendStringInfo(json, "%s\"%s\": ", json->len > 1 ? ", " : "", option->name);
	if (text)
		template_append_string(json, value);
	else
	{
		Jsonb	   *part = definition_parse(value, option->name, option->part == DEFINITION_HEADERS);

		JsonbToCString(json, &part->root, VARSIZE(part));
	}
}

/* more: further members as text of JSON, or NULL. */
static Jsonb *
options_as_definition(List *options, const Option *known, const char *more)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{%s", more ? more : "");
	for (const Option *option = known; option->name != NULL; option++)
	{
		const char *value = definition_option(options, option->name);

		if (value != NULL && option->kind != OPTION_OURS && option->kind != OPTION_VALUES)
			option_append_member(&json, option, value);
	}
	appendStringInfoChar(&json, '}');
	return definition_parse(json.data, "definition", true);
}

/* method and batch of a webhook are those of each of its operations; its url stays an option. */
static Jsonb *
webhook_as_definition(List *options)
{
	static const char *const operations[] = {"insert", "update", "upsert", "delete"};
	const char *method = definition_option(options, "method");
	const char *batch = definition_option(options, "batch");
	const char *format = definition_option(options, "format");
	bool		rows = format != NULL && strcmp(format, "row") == 0;
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "\"objects\": {\"change\": {\"write\": {");
	for (int i = 0; i < lengthof(operations); i++)
	{
		appendStringInfo(&json, "%s\"%s\": ", i > 0 ? ", " : "", operations[i]);
		if (rows && strcmp(operations[i], "delete") == 0)
			appendStringInfoString(&json, "null");
		else
			appendStringInfo(&json, "{\"method\": \"%s\", \"batch\": %s}",
							 method ? method : "POST", batch ? batch : "1");
	}
	appendStringInfoString(&json, "}}}");
	return options_as_definition(options, options_webhook, json.data);
}

Jsonb *
definition_of_server(List *options)
{
	return definition_is_webhook(options) ? webhook_as_definition(options)
		: options_as_definition(options, connector_is_inbound(options) ? options_receive : options_server, NULL);
}

Jsonb *
definition_of_table(List *options)
{
	return options_as_definition(options, options_table, NULL);
}

pg_noreturn static void
option_fail(const char *name, const char *value, const char *valid)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value \"%s\" of option \"%s\"", value, name),
			 errhint("Valid values are: %s.", valid)));
}

static void
option_check_choice(List *options, const char *name, const char *const *choices)
{
	const char *value = definition_option(options, name);
	StringInfoData valid;

	if (value == NULL)
		return;
	initStringInfo(&valid);
	for (const char *const *choice = choices; *choice; choice++)
	{
		if (strcmp(*choice, value) == 0)
			return;
		appendStringInfo(&valid, "%s%s", choice > choices ? ", " : "", *choice);
	}
	option_fail(name, value, valid.data);
}

static void
webhook_check(List *options)
{
	static const char *const methods[] = {"POST", "PUT", "PATCH", NULL};
	static const char *const formats[] = {"change", "row", NULL};
	const char *url = definition_option(options, "url");
	const char *batch = definition_option(options, "batch");

	if (url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
				 errmsg("a server of the connector \"webhook\" needs the option \"url\""),
				 errhint("Write the URL that changes are sent to: url 'https://host/path'.")));
	definition_check_url(url, "option \"url\"", true);
	option_check_choice(options, "method", methods);
	option_check_choice(options, "format", formats);
	if (batch != NULL && (strlen(batch) > 5 || strspn(batch, "0123456789") != strlen(batch) ||
						  atoi(batch) < 1 || atoi(batch) > DEFINITION_MAX_BATCH))
		option_fail("batch", batch, psprintf("whole numbers from 1 to %d", DEFINITION_MAX_BATCH));
}

/* Of these two the definition says nothing of it, so the option is the whole. */
static void
server_check_auth(List *options)
{
	JsonbValue	definition = definition_root(definition_of_server(options));

	if (definition_is_webhook(options) || definition_is_of(options, "rest"))
		(void) form_compile(&definition, "options of the server");
}

static void
server_check(List *options)
{
	static const char *const versions[] = {"1.1", "2", NULL};
	static const char *const compressions[] = {"gzip", NULL};
	const char *base_url = definition_option(options, "base_url");
	Connector	ignored = {0};

	if (definition_option(options, "connector") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
				 errmsg("a server of activate needs the option \"connector\""),
				 errhint("Name a row of activate.connector, such as connector 'rest' or connector 'webhook'.")));
	if (connector_is_inbound(options))
	{
		definition_check_inbound(options);
		return;
	}
	if (definition_is_webhook(options))
		webhook_check(options);
	else if (base_url != NULL)
		definition_check_url(base_url, "option \"base_url\"", false);
	option_check_choice(options, "http_version", versions);
	option_check_choice(options, "compress", compressions);
	definition_check_transport(options);
	rate_compile(&ignored, definition_of_server(options), "options of the server");
	server_check_auth(options);
}

static void
column_check(List *options)
{
	const char *path = definition_option(options, "path");
	const char *readonly = definition_option(options, "readonly");
	bool		ignored;

	if (path != NULL && (*path == '\0' || !path_valid(path)))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("option \"path\" of a column is not a path into JSON: \"%s\"", path),
				 errhint("Write dotted member names and positions, as in \"properties.email\" or \"emails.0.value\".")));
	if (readonly != NULL && !parse_bool(readonly, &ignored))
		option_fail("readonly", readonly, "true, false");
}

static void
mapping_check(List *options)
{
	const char *secret = definition_option(options, "secret");

	if (secret != NULL)
		connector_check_secret(definition_parse(secret, "secret", true),
							   has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES));
}

void
connector_check_options(List *options, Oid catalog)
{
	const Option *known = options_of(options, catalog);
	ListCell   *lc;

	foreach(lc, options)
		option_check_known(known, lfirst_node(DefElem, lc)->defname);
	for (const Option *option = known; option->name != NULL; option++)
	{
		const char *value = definition_option(options, option->name);

		if (value != NULL && (option->kind == OPTION_JSON || option->kind == OPTION_VALUES))
			definition_check(definition_parse(value, option->name, option->part == DEFINITION_HEADERS),
							 option->part, psprintf("option \"%s\"", option->name), "");
	}
	if (catalog == ForeignServerRelationId)
		server_check(options);
	else if (catalog == ForeignTableRelationId)
		definition_check(definition_of_table(options), DEFINITION_OBJECT, "foreign table options", "");
	else if (catalog == AttributeRelationId)
		column_check(options);
	else if (catalog == UserMappingRelationId)
		mapping_check(options);
}
