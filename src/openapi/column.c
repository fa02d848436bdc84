/*
 * column.c
 *	  The fields of an object as columns of its foreign table.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "openapi/openapi.h"

/* Columns whose names differ by a number only. */
#define COLUMN_ALIKE	50

/* As much of a name as fits, and a digest of the whole, which stays when the API grows. */
static char *
column_short(const char *name, const char *field)
{
	return psprintf("%.*s_%04x", pg_mbcliplen(name, strlen(name), NAMEDATALEN - 10), name,
					hash_bytes((const unsigned char *) field, strlen(field)) & 0xffff);
}

/* May be the name of a column, of a table and in a template. */
static char *
column_name(const OpenapiObject *object, const char *field)
{
	static const char *const system[] = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "remote_id", NULL};
	char	   *base = pstrdup(field + strspn(field, "$"));
	char	   *name;
	int			n = 1;

	for (char *p = base; *p != '\0'; p++)
	{
		if (*p == '{' || *p == '}' || (unsigned char) *p < ' ' || *p == 0x7f || *p == ',')
			*p = '_';
	}
	if (*base == '\0')
		base = openapi_identifier(field);
	if (*base == '\0' || openapi_one_of(base, system))
		base = psprintf("%s_", base);
	if (strlen(base) > NAMEDATALEN - 5)
		base = column_short(base, field);
	name = base;
	for (int i = 0; i < object->ncolumns; i++)
	{
		if (strcmp(object->columns[i]->name, name) != 0)
			continue;
		/* of so many that differ in nothing that a name may hold nobody tells one from the other */
		if (++n > COLUMN_ALIKE)
			return NULL;
		name = psprintf("%s_%d", base, n);
		i = -1;
	}
	return name;
}

static OpenapiColumn *
column_add(OpenapiObject *object, const char *field, const char *path, const OpenapiType *type)
{
	OpenapiColumn *column;
	char	   *name = object->ncolumns < OPENAPI_FIELDS ? column_name(object, field) : NULL;

	if (name == NULL)
		return NULL;
	column = palloc0(sizeof(OpenapiColumn));
	column->name = name;
	column->field = field;
	column->path = path;
	if (path == NULL && strcmp(column->name, field) != 0)
		column->path = openapi_step(field);
	column->type = *type;
	object->columns[object->ncolumns++] = column;
	return column;
}

OpenapiColumn *
openapi_column(OpenapiObject *object, const OpenapiField *field)
{
	for (int i = 0; i < object->ncolumns; i++)
	{
		OpenapiColumn *column = object->columns[i];
		bool		same = strcmp(column->field, field->name) == 0;

		/* "id" beside the attributes is the id, whether an operation has attributes or not */
		if (!same)
			continue;
		if (field->path != NULL && column->path == NULL && !column->written)
			column->path = field->path;
		return column;
	}
	return column_add(object, field->name, field->path, &field->type);
}

/* What is written decides what a column is, but it must hold what comes back. */
void
openapi_column_read(OpenapiObject *object, const OpenapiField *field)
{
	OpenapiColumn *column = openapi_column(object, field);
	OpenapiKind kind;

	if (column == NULL)
		return;
	column->read = true;
	kind = column->type.kind;
	if (!column->written || strcmp(column->type.sql, field->type.sql) == 0 || column->type.date != NULL)
		return;
	if (kind == OPENAPI_STRING)
		column->type.sql = "text";
	else if (kind == OPENAPI_ARRAY)
		column->type.sql = "jsonb";
	else if ((kind == OPENAPI_INTEGER || kind == OPENAPI_NUMBER) &&
			 (field->type.kind == OPENAPI_INTEGER || field->type.kind == OPENAPI_NUMBER))
		column->type.sql = "numeric";
	else if (kind == OPENAPI_INTEGER || kind == OPENAPI_NUMBER || kind == OPENAPI_BOOLEAN)
	{
		column->type.sql = "text";
		column->type.as = kind == OPENAPI_BOOLEAN ? "boolean" : "number";
	}
}

/* Names by which anything may be known. */
static const char *const column_ids[] = {"id", "gid", "uuid", "guid", "sid", "uid", "key", "slug", "code", "number", "name", NULL};

/* How well a field may be what a parameter of the path names; 0: not at all. */
static int
column_fits(const OpenapiColumn *column, const char *plain, bool last)
{
	char	   *field = openapi_plain(column->field);
	size_t		n = strlen(field);

	if (column->type.kind == OPENAPI_OBJECT || column->type.kind == OPENAPI_ARRAY || column->type.kind == OPENAPI_ANY)
		return 0;
	if (strcmp(field, plain) == 0)
		return 4;
	if (!last)
		return 0;
	if (openapi_one_of(field, column_ids) && strlen(plain) > n && strcmp(plain + strlen(plain) - n, field) == 0)
		return strcmp(field, "id") == 0 ? 3 : 2;
	return strcmp(field, "id") == 0 ? 1 : 0;
}

OpenapiColumn *
openapi_column_of_parameter(OpenapiDocument *document, OpenapiObject *object, const char *name,
							const OpenapiNode *parameter, bool last)
{
	char	   *plain = openapi_plain(name);
	OpenapiColumn *best = NULL;
	int			fits = 0;
	char	   *in = openapi_text(parameter, "in");
	bool		path = in == NULL || strcmp(in, "query") != 0;
	OpenapiNode schema = openapi_parameter_schema(document, parameter);
	OpenapiType type;

	/* "/customers/{id}/orders": the id is not that of the order */
	if (path && !last && openapi_one_of(plain, column_ids))
	{
		name = psprintf("parent_%s", name);
		plain = openapi_plain(name);
	}
	for (int i = 0; i < object->ncolumns; i++)
	{
		int			fit = column_fits(object->columns[i], plain, last);

		if (fit > fits)
		{
			fits = fit;
			best = object->columns[i];
		}
	}
	if (best != NULL)
		return best;
	openapi_type(document, &schema, &type);
	if (type.kind == OPENAPI_ANY || type.kind == OPENAPI_OBJECT || type.kind == OPENAPI_ARRAY)
	{
		type.kind = OPENAPI_STRING;
		type.sql = "text";
	}
	return column_add(object, name, NULL, &type);
}
