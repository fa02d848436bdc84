/*
 * print.c
 *	  An object as JSON in the vocabulary of definitions.
 */
#include "postgres.h"

#include "openapi/openapi.h"

static void
print_comma(StringInfo out)
{
	if (out->len > 0 && out->data[out->len - 1] != '{' && out->data[out->len - 1] != '[')
		appendStringInfoString(out, ", ");
}

void
openapi_print_name(StringInfo out, const char *name)
{
	print_comma(out);
	template_append_string(out, name);
	appendStringInfoString(out, ": ");
}

void
openapi_print_member(StringInfo out, const char *name, const char *text)
{
	if (text == NULL)
		return;
	openapi_print_name(out, name);
	template_append_string(out, text);
}

static void
print_number(StringInfo out, const char *name, int number)
{
	openapi_print_name(out, name);
	appendStringInfo(out, "%d", number);
}

/* Names and texts in turn. */
static void
print_pairs(StringInfo out, const char *name, List *pairs)
{
	if (pairs == NIL)
		return;
	openapi_print_name(out, name);
	appendStringInfoChar(out, '{');
	for (int i = 0; i < list_length(pairs); i += 2)
		openapi_print_member(out, list_nth(pairs, i), list_nth(pairs, i + 1));
	appendStringInfoChar(out, '}');
}

static void
print_texts(StringInfo out, const char *name, List *texts)
{
	ListCell   *cell;

	openapi_print_name(out, name);
	appendStringInfoChar(out, '[');
	foreach(cell, texts)
	{
		print_comma(out);
		template_append_string(out, lfirst(cell));
	}
	appendStringInfoChar(out, ']');
}

static void
print_column(StringInfo out, const OpenapiColumn *column)
{
	openapi_print_name(out, column->name);
	appendStringInfoChar(out, '{');
	openapi_print_member(out, "type", column->type.sql);
	openapi_print_member(out, "path", column->path);
	openapi_print_member(out, "date", column->type.date);
	if (!column->written)
		appendStringInfoString(out, ", \"readonly\": true");
	else
	{
		openapi_print_member(out, "as", column->type.as);
		if (column->type.nullable)
			openapi_print_member(out, "null", "send");
		if (column->required && !column->optional)
			appendStringInfoString(out, ", \"required\": true");
		if (column->type.max_length > 0)
			print_number(out, "max_length", column->type.max_length);
		if (column->type.values != NIL)
			print_texts(out, "values", column->type.values);
	}
	appendStringInfoChar(out, '}');
}

/* Members of a column of "filter". */
void
openapi_print_filter(StringInfo out, const OpenapiFilter *filter)
{
	if (!filter->list)
	{
		openapi_print_member(out, "eq", filter->param);
		return;
	}
	openapi_print_name(out, "in");
	appendStringInfoChar(out, '{');
	openapi_print_member(out, "param", filter->param);
	if (filter->separator == NULL)
		appendStringInfoString(out, ", \"repeat\": true");
	else if (strcmp(filter->separator, ",") != 0)
		openapi_print_member(out, "separator", filter->separator);
	if (filter->most > 0)
		print_number(out, "most", filter->most);
	appendStringInfoChar(out, '}');
}

static void
print_read(StringInfo out, const OpenapiRead *read)
{
	ListCell   *cell;

	openapi_print_name(out, "read");
	if (!read->possible)
	{
		appendStringInfoString(out, "false");
		return;
	}
	appendStringInfoChar(out, '{');
	openapi_print_member(out, "path", read->path);
	openapi_print_member(out, "records", read->records);
	if (read->attributes)
		openapi_print_member(out, "row_at", "attributes");
	print_pairs(out, "query", read->query);
	if (read->filter != NIL)
	{
		openapi_print_name(out, "filter");
		appendStringInfoChar(out, '{');
		foreach(cell, read->filter)
		{
			const OpenapiFilter *filter = lfirst(cell);

			openapi_print_name(out, filter->column);
			appendStringInfoChar(out, '{');
			openapi_print_filter(out, filter);
			appendStringInfoString(out, ", \"required\": true}");
		}
		appendStringInfoChar(out, '}');
	}
	if (read->style != NULL)
	{
		openapi_print_name(out, "page");
		appendStringInfoChar(out, '{');
		openapi_print_member(out, "style", read->style);
		openapi_print_member(out, "param", read->param);
		openapi_print_member(out, "next", read->next);
		openapi_print_member(out, "size_param", read->size_param);
		if (read->size > 0 && read->size_param != NULL)
			print_number(out, "size", read->size);
		if (read->first >= 0)
			print_number(out, "first", read->first);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, '}');
}

/* Columns that others write and this operation does not know. */
static List *
print_omitted(const OpenapiObject *object, const OpenapiOperation *operation)
{
	List	   *omit = NIL;

	for (int i = 0; i < object->ncolumns; i++)
	{
		if (object->columns[i]->written && !list_member_ptr(operation->columns, object->columns[i]))
			omit = lappend(omit, unconstify(char *, object->columns[i]->name));
	}
	return omit;
}

static void
print_answer(StringInfo out, const OpenapiOperation *operation)
{
	if (operation->id == NULL && operation->ok == NULL)
		return;
	openapi_print_name(out, "answer");
	appendStringInfoChar(out, '{');
	openapi_print_member(out, "id", operation->id);
	openapi_print_member(out, "ok", operation->ok);
	openapi_print_member(out, "error", operation->error);
	appendStringInfoChar(out, '}');
}

static void
print_operation(StringInfo out, const OpenapiObject *object, const OpenapiOperation *operation)
{
	const OpenapiBody *body = &operation->body;
	List	   *omit = body->none ? NIL : print_omitted(object, operation);

	openapi_print_name(out, operation->name);
	appendStringInfoChar(out, '{');
	openapi_print_member(out, "method", operation->method);
	openapi_print_member(out, "path", operation->path);
	print_pairs(out, "query", operation->query);
	openapi_print_member(out, "format", body->format);
	openapi_print_member(out, "content_type", body->content_type);
	openapi_print_member(out, "envelope", body->envelope);
	/* a call of many rows always holds an array: one row is no batch */
	if (body->batch > 0)
		print_number(out, "batch", body->batch);
	if (body->attributes)
		openapi_print_member(out, "row_at", "attributes");
	print_pairs(out, "fixed", body->fixed);
	if (body->type != NULL)
		print_pairs(out, "fixed_row", list_make2(pstrdup("type"), body->type));
	if (omit != NIL)
		print_texts(out, "omit", omit);
	if (body->none && strcmp(operation->name, "delete") != 0)
		openapi_print_member(out, "body", "none");
	if (operation->idempotent)
	{
		openapi_print_name(out, "idempotent");
		appendStringInfoString(out, "true");
	}
	print_answer(out, operation);
	appendStringInfoChar(out, '}');
}

void
openapi_print_object(StringInfo out, const OpenapiObject *object)
{
	List	   *key = NIL;
	ListCell   *cell;

	appendStringInfoChar(out, '{');
	if (object->list != NULL && openapi_path_parameters(object->list->path) == NIL)
		openapi_print_member(out, "path", object->list->path);
	foreach(cell, object->key)
		key = lappend(key, unconstify(char *, ((OpenapiColumn *) lfirst(cell))->name));
	if (key != NIL)
		print_texts(out, "key", key);
	openapi_print_member(out, "null", "omit");
	openapi_print_name(out, "columns");
	appendStringInfoChar(out, '{');
	for (int i = 0; i < object->ncolumns; i++)
		print_column(out, object->columns[i]);
	appendStringInfoChar(out, '}');
	print_read(out, &object->read);
	if (object->noperations > 0)
	{
		openapi_print_name(out, "write");
		appendStringInfoChar(out, '{');
		for (int i = 0; i < object->noperations; i++)
			print_operation(out, object, &object->operations[i]);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, '}');
}

void
openapi_print_gaps(StringInfo out, List *gaps)
{
	ListCell   *cell;

	openapi_print_name(out, "gaps");
	appendStringInfoChar(out, '[');
	foreach(cell, gaps)
	{
		OpenapiGap *gap = lfirst(cell);

		print_comma(out);
		appendStringInfoChar(out, '{');
		openapi_print_member(out, "at", gap->at);
		openapi_print_member(out, "gap", gap->gap);
		openapi_print_member(out, "example", gap->example);
		openapi_print_member(out, "assumed", gap->assumed);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, ']');
}
