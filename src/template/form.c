/*
 * form.c
 *	  A row as fields of a form: a[b][0]=value.
 *
 * Names of members and positions stand in brackets behind the first, as
 * Stripe, PHP and Rails read them.  Null and what is empty is an empty value:
 * a form has nothing else to say that by.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "template/object.h"
#include "template/path.h"

typedef struct FormOut
{
	TemplateField field;
	void	   *arg;
} FormOut;

/* Names and values are UTF-8 whatever the database's encoding is. */
static void
form_append_encoded(StringInfo out, const char *value)
{
	char	   *utf8 = pg_server_to_any(value, strlen(value), PG_UTF8);

	enlargeStringInfo(out, 3 * strlen(utf8));
	out->len += (int) escape_form(utf8, out->data + out->len);
	if (utf8 != value)
		pfree(utf8);
}

void
template_append_pair(StringInfo out, const char *name, const char *value)
{
	if (out->len > 0)
		appendStringInfoChar(out, '&');
	form_append_encoded(out, name);
	appendStringInfoChar(out, '=');
	form_append_encoded(out, value);
}

static char *
form_step(const char *prefix, const char *step)
{
	return *prefix == '\0' ? pstrdup(step) : psprintf("%s[%s]", prefix, step);
}

char *
template_form_name(const char *prefix, const char *path)
{
	PathStep	step;
	char	   *name = pstrdup(prefix);

	while (path_next(&path, &step) == PATH_STEP)
		name = form_step(name, step.name);
	return name;
}

/* A part of a document: its scalars, each under its own name. */
static void
form_value(const FormOut *out, const char *name, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	part;
	char	   *member = NULL;
	int			position = 0;

	check_stack_depth();
	if (value->type != jbvBinary || JsonContainerSize(value->val.binary.data) == 0)
	{
		char	   *text = value->type != jbvBinary ? template_scalar_text(value) : NULL;

		out->field(out->arg, name, text ? text : "");
		return;
	}
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &part, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			member = pnstrdup(part.val.string.val, part.val.string.len);
		else if (token == WJB_VALUE || token == WJB_ELEM)
			form_value(out, form_step(name, token == WJB_VALUE ? member : psprintf("%d", position++)), &part);
	}
}

static void
form_node(const FormOut *out, const char *name, const ObjectNode *node)
{
	check_stack_depth();
	if (node->value != NULL)
		form_value(out, name, node->value);
	for (const ObjectNode *child = node->child; child != NULL; child = child->next)
		form_node(out, form_step(name, child->name), child);
}

void
template_form(Jsonb *row, const TemplateShape *shape, const char *id, const char *prefix,
			  TemplateField field, void *arg)
{
	FormOut		out = {field, arg};

	form_node(&out, prefix, object_tree(row, shape, id));
}
