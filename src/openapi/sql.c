/*
 * sql.c
 *	  activate_openapi(): an OpenAPI document as a connector definition.
 *
 * Each object is tried alone before it is taken, so that one that does not
 * compile costs itself and not the others.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/own.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "openapi/openapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

/* Objects of a definition: each use of the connector reads all of them. */
#define IMPORT_OBJECTS	1000
/* Schemas and members that are looked at for all of them; vendors' largest need some millions. */
#define IMPORT_WORK		20000000

typedef struct ImportOptions
{
	const char *base_url;		/* NULL: the document's */
	OpenapiNode objects;		/* array of names, or object of name to path; jbvNull: all */
	OpenapiNode definition;		/* over what was made; jbvNull: nothing */
} ImportOptions;

typedef struct Import
{
	OpenapiDocument document;
	ImportOptions options;
	StringInfoData objects;		/* members of "objects" */
	List	   *names;			/* char *, of those taken */
	int			taken;
	int			refused;		/* those beyond the limit */
} Import;

ACTIVATE_FUNCTION(activate_openapi);

static void
import_fail(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message),
			 errhint("%s", hint)));
}

static void
import_options(Jsonb *json, ImportOptions *options)
{
	OpenapiNode root = openapi_root(json);
	int			n;
	DefinitionMember *members = definition_members(&root, &n);

	memset(options, 0, sizeof(ImportOptions));
	if (!openapi_is_object(&root))
		import_fail("options must be a JSON object", "Valid options are: base_url, objects, definition.");
	for (int i = 0; i < n; i++)
	{
		OpenapiNode *value = &members[i].value;

		if (value->type == jbvNull)
			continue;
		if (strcmp(members[i].name, "base_url") == 0 && value->type == jbvString)
			options->base_url = openapi_scalar(value);
		else if (strcmp(members[i].name, "objects") == 0 && value->type == jbvBinary)
			options->objects = *value;
		else if (strcmp(members[i].name, "definition") == 0 && openapi_is_object(value))
			options->definition = *value;
		else
			import_fail(psprintf("invalid option \"%s\" of an import", members[i].name),
						"Valid options are: base_url (a URL), objects (an array of names or paths, or an object of names and paths), definition (an object that overrules what the document gives).");
	}
}

static void
import_document(Jsonb *json, OpenapiDocument *document)
{
	OpenapiNode version;
	OpenapiNode paths;
	char	   *text;

	memset(document, 0, sizeof(OpenapiDocument));
	document->left = IMPORT_WORK;
	document->root = openapi_root(json);
	document->context = CurrentMemoryContext;
	version = openapi_get(&document->root, "swagger");
	document->swagger = version.type != jbvNull;
	if (!document->swagger)
		version = openapi_get(&document->root, "openapi");
	text = openapi_scalar(&version);
	if (text == NULL || strncmp(text, document->swagger ? "2" : "3", 1) != 0)
		import_fail(text ? psprintf("the document is of version \"%s\", which is not supported", text) :
					"the document is no OpenAPI document: it has neither \"openapi\" nor \"swagger\"",
					"Supported are OpenAPI 3.0 and 3.1 and Swagger 2.0, as JSON.");
	paths = openapi_get(&document->root, "paths");
	if (!openapi_is_object(&paths))
		import_fail("the document has no \"paths\"", "Only what is called by its path can be a table.");
}

/* The name under which an object is taken; NULL: it is not wanted. */
static const char *
import_wanted(const ImportOptions *options, const char *name, const OpenapiPath *list, const OpenapiPath *item)
{
	int			n;
	DefinitionMember *members;

	if (options->objects.type == jbvNull)
		return name;
	members = definition_members(&options->objects, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *wanted = openapi_scalar(&members[i].value);

		if (wanted != NULL && (strcmp(wanted, name) == 0 || (list && strcmp(wanted, list->path) == 0) ||
							   (item && strcmp(wanted, item->path) == 0)))
			return members[i].name ? members[i].name : name;
	}
	return NULL;
}

/* Two paths may have one name. */
static const char *
import_name(Import *import, const char *name)
{
	const char *unique = name;
	int			n = 1;
	ListCell   *cell;

again:
	foreach(cell, import->names)
	{
		if (strcmp(lfirst(cell), unique) == 0)
		{
			import->document.left -= list_length(import->names);
			unique = psprintf("%.*s_%d", pg_mbcliplen(name, strlen(name), NAMEDATALEN - 8), name, ++n);
			goto again;
		}
	}
	return unique;
}

/* Does it compile?  NULL, or why not.  Nothing but memory is touched, so there is nothing to undo. */
static char *
import_try(const char *name, const char *object)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile why = NULL;

	PG_TRY();
	{
		StringInfoData text;

		initStringInfo(&text);
		appendStringInfoString(&text, "{\"name\": \"import\", \"objects\": {");
		openapi_print_name(&text, name);
		appendStringInfo(&text, "%s}}", object);
		connector_check_definition(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data))));
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			category;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
		if (category != ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) &&
			category != ERRCODE_TO_CATEGORY(ERRCODE_UNDEFINED_PARAMETER) &&
			category != ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED))
			PG_RE_THROW();
		FlushErrorState();
		why = error->message;
	}
	PG_END_TRY();
	return why;
}

static void
import_object(Import *import, const OpenapiPath *list, const OpenapiPath *item)
{
	OpenapiDocument *document = &import->document;
	OpenapiObject *object = palloc0(sizeof(OpenapiObject));
	const OpenapiPath *any = list ? list : item;
	const char *name = import_wanted(&import->options, openapi_path_name(any->about), list, item);
	StringInfoData text;
	MemoryContext scratch;
	char	   *why;

	if (name == NULL)
		return;
	object->name = import_name(import, name);
	object->about = any->about;
	object->list = list;
	object->item = item;
	if (!openapi_object(document, object))
		return;
	if (import->taken >= IMPORT_OBJECTS)
	{
		import->refused++;
		return;
	}
	initStringInfo(&text);
	openapi_print_object(&text, object);
	why = import_try(object->name, text.data);
	if (why != NULL)
	{
		openapi_gap(document, psprintf("objects.%s", object->name), NULL, "the object, which could not be taken: %s", why);
		return;
	}
	scratch = MemoryContextSwitchTo(document->context);
	import->names = lappend(import->names, pstrdup(object->name));
	MemoryContextSwitchTo(scratch);
	openapi_print_name(&import->objects, object->name);
	appendStringInfoString(&import->objects, text.data);
	import->taken++;
}

/* Each object in memory of its own. */
static void
import_objects(Import *import)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(old, "activate openapi object", ALLOCSET_DEFAULT_SIZES);
	int			n;
	OpenapiPath *paths = openapi_paths(&import->document, &n);

	for (int i = 0; i < n && import->document.left > 0;)
	{
		const OpenapiPath *list = NULL;
		const OpenapiPath *item = NULL;
		int			first = i;

		CHECK_FOR_INTERRUPTS();
		for (; i < n && strcmp(paths[i].about, paths[first].about) == 0; i++)
		{
			if (paths[i].item && item == NULL)
				item = &paths[i];
			else if (!paths[i].item && list == NULL)
				list = &paths[i];
		}
		MemoryContextSwitchTo(scratch);
		import_object(import, list, item);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	if (import->document.left <= 0)
		openapi_gap(&import->document, "objects.*", NULL, "more objects: the document is too large to be looked at as a whole; choose by the option \"objects\"");
	if (import->refused > 0)
		openapi_gap(&import->document, "objects.*", NULL, "%d more objects: a definition holds %d; choose by the option \"objects\"",
					import->refused, IMPORT_OBJECTS);
}

static void
import_check_found(const Import *import)
{
	const char *why = "The document has no path that is read as a list or written as JSON or a form.";
	ListCell   *cell;

	if (import->taken > 0)
		return;
	foreach(cell, import->document.gaps)
	{
		const OpenapiGap *gap = lfirst(cell);

		if (strncmp(gap->at, "objects.", 8) == 0)
		{
			why = psprintf("For one, %s.", gap->gap);
			break;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the document gives no table"),
			 errdetail("%s", why),
			 import->options.objects.type != jbvNull ? errhint("The option \"objects\" chooses by the names of tables, or by paths, as in [\"/contacts\"].") : 0));
}

/* What differs from the definition of that name that there is; if nothing does, the difference before. */
static Jsonb *
import_with_drift(const char *name, Jsonb *definition)
{
	Oid			types[] = {TEXTOID, JSONBOID};
	Datum		values[] = {CStringGetTextDatum(name), JsonbPGetDatum(definition)};
	bool		isnull;
	Datum		drift = own_value("SELECT activate._openapi_drift_of($1, $2)", 2, types, values, NULL, &isnull);

	return isnull ? definition : connector_patched(definition, DatumGetJsonbP(drift));
}

Datum
activate_openapi(PG_FUNCTION_ARGS)
{
	Import	   *import = palloc0(sizeof(Import));
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	StringInfoData text;
	Jsonb	   *definition;

	connector_check_definer(name);
	import_options(PG_GETARG_JSONB_P(2), &import->options);
	import_document(PG_GETARG_JSONB_P(0), &import->document);
	initStringInfo(&import->objects);
	import_objects(import);
	import_check_found(import);

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	openapi_print_member(&text, "name", name);
	openapi_whole(&import->document, &text, import->options.base_url);
	openapi_print_gaps(&text, import->document.gaps);
	appendStringInfo(&text, ", \"objects\": {%s}}", import->objects.data);
	definition = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data)));
	if (import->options.definition.type != jbvNull)
		definition = connector_patched(definition, JsonbValueToJsonb(&import->options.definition));
	PG_RETURN_TEXT_P(cstring_to_text(connector_define(import_with_drift(name, definition))));
}
