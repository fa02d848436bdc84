/*
 * document.c
 *	  Access to a document that may be anything: members, references, the
 *	  budget of work, and the list of what it does not tell.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "openapi/openapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

/* References behind one another; more is a circle. */
#define DOCUMENT_REFERENCES	32
/* Bytes that cost as much as a member. */
#define DOCUMENT_BYTES	256
/* More than anybody reads. */
#define DOCUMENT_GAPS	2000

OpenapiNode
openapi_root(Jsonb *json)
{
	OpenapiNode root = {.type = jbvBinary};

	root.val.binary.data = &json->root;
	root.val.binary.len = VARSIZE(json) - VARHDRSZ;
	return root;
}

bool
openapi_is_object(const OpenapiNode *node)
{
	return node->type == jbvBinary && JsonContainerIsObject(node->val.binary.data);
}

bool
openapi_is_array(const OpenapiNode *node)
{
	return node->type == jbvBinary && JsonContainerIsArray(node->val.binary.data) &&
		!JsonContainerIsScalar(node->val.binary.data);
}

OpenapiNode
openapi_get(const OpenapiNode *from, const char *name)
{
	OpenapiNode value = {.type = jbvNull};

	if (openapi_is_object(from))
		(void) getKeyJsonValueFromContainer(from->val.binary.data, name, strlen(name), &value);
	return value;
}

char *
openapi_scalar(const OpenapiNode *node)
{
	return node->type == jbvBinary || node->type == jbvNull ? NULL : template_scalar_text(node);
}

char *
openapi_text(const OpenapiNode *from, const char *name)
{
	OpenapiNode value = openapi_get(from, name);

	return value.type == jbvString ? template_scalar_text(&value) : NULL;
}

bool
openapi_true(const OpenapiNode *from, const char *name)
{
	OpenapiNode value = openapi_get(from, name);

	return value.type == jbvBool && value.val.boolean;
}

int
openapi_int(const OpenapiNode *from, const char *name)
{
	OpenapiNode value = openapi_get(from, name);
	double		number;

	if (value.type != jbvNumeric)
		return 0;
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
	return number >= 1 && number <= 1000000000 ? (int) number : 0;
}

static int
document_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = pg_tolower((unsigned char) c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next step of a JSON pointer in a URI's fragment, in place; *rest: what is behind it, NULL: nothing. */
static char *
document_step(char *pointer, char **rest)
{
	char	   *to = pointer;
	char	   *from = pointer;

	for (; *from != '\0' && *from != '/'; from++)
	{
		if (*from == '%' && document_hex(from[1]) >= 0 && document_hex(from[2]) >= 0)
		{
			*to++ = (char) (document_hex(from[1]) * 16 + document_hex(from[2]));
			from += 2;
		}
		else
			*to++ = *from;
	}
	*rest = *from == '/' ? from + 1 : NULL;
	*to = '\0';
	/* "~1" and "~0" after the URI's own escapes */
	for (to = from = pointer; *from != '\0'; from++)
	{
		if (*from == '~' && (from[1] == '0' || from[1] == '1'))
			*to++ = *++from == '1' ? '/' : '~';
		else
			*to++ = *from;
	}
	*to = '\0';
	return pointer;
}

/* Only within the document: nothing is fetched from elsewhere. */
static OpenapiNode
document_point(OpenapiDocument *document, const char *reference)
{
	OpenapiNode node = document->root;
	char	   *rest;

	if (reference[0] != '#' || (reference[1] != '\0' && reference[1] != '/'))
		return (OpenapiNode) {.type = jbvNull};
	rest = reference[1] == '/' ? pstrdup(reference + 2) : NULL;
	while (rest != NULL && node.type != jbvNull)
	{
		char	   *step = document_step(rest, &rest);

		if (openapi_is_array(&node))
		{
			JsonbValue *element = strspn(step, "0123456789") == strlen(step) && strlen(step) < 7 && *step != '\0' ?
				getIthJsonbValueFromContainer(node.val.binary.data, (uint32) atoi(step)) : NULL;

			node = element ? *element : (OpenapiNode) {.type = jbvNull};
		}
		else
			node = openapi_get(&node, step);
	}
	return node;
}

void
openapi_spend_more(OpenapiDocument *document, int64 much)
{
	document->work = (int) Max(document->work - much, 0);
}

/* Who follows a reference looks at what it leads to, however often. */
OpenapiNode
openapi_resolve(OpenapiDocument *document, OpenapiNode node)
{
	for (int i = 0; i < DOCUMENT_REFERENCES; i++)
	{
		char	   *reference = openapi_text(&node, "$ref");

		if (reference == NULL)
			return node;
		node = document_point(document, reference);
		openapi_spend_more(document, (strlen(reference) + (node.type == jbvBinary ? node.val.binary.len / 4 : 0)) / DOCUMENT_BYTES);
		pfree(reference);
	}
	return (OpenapiNode) {.type = jbvNull};
}

bool
openapi_spend(OpenapiDocument *document)
{
	CHECK_FOR_INTERRUPTS();
	if (document->work <= 0)
		return false;
	document->work--;
	return true;
}

DefinitionMember *
openapi_members(OpenapiDocument *document, const OpenapiNode *node, int *n)
{
	CHECK_FOR_INTERRUPTS();
	*n = 0;
	if (node->type != jbvBinary)
		return NULL;
	openapi_spend_more(document, JsonContainerSize(node->val.binary.data) + node->val.binary.len / DOCUMENT_BYTES);
	return document->work > 0 ? definition_members(node, n) : NULL;
}

/* NULL: there are too many. */
OpenapiGap *
openapi_gap(OpenapiDocument *document, const char *at, const char *example, const char *format,...)
{
	MemoryContext old;
	OpenapiGap *gap;
	StringInfoData text;

	if (list_length(document->gaps) >= DOCUMENT_GAPS)
		return NULL;
	old = MemoryContextSwitchTo(document->context);
	initStringInfo(&text);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&text, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	gap = palloc0(sizeof(OpenapiGap));
	gap->at = pstrdup(at);
	gap->gap = text.data;
	gap->example = example ? pstrdup(example) : NULL;
	document->gaps = lappend(document->gaps, gap);
	MemoryContextSwitchTo(old);
	return gap;
}

char *
openapi_plain(const char *name)
{
	char	   *plain = pstrdup(name);
	char	   *to = plain;

	for (; *name != '\0'; name++)
	{
		if (isalnum((unsigned char) *name) && !IS_HIGHBIT_SET(*name))
			*to++ = pg_ascii_tolower((unsigned char) *name);
	}
	*to = '\0';
	return plain;
}

bool
openapi_one_of(const char *name, const char *const *names)
{
	for (; *names != NULL; names++)
	{
		if (strcmp(name, *names) == 0)
			return true;
	}
	return false;
}

/* A text within quotes of JSON that is an example only: what would need escapes is left out. */
char *
openapi_json_plain(const char *text)
{
	char	   *plain = pstrdup(text);
	char	   *to = plain;

	for (; *text != '\0'; text++)
	{
		if ((unsigned char) *text >= ' ' && *text != '"' && *text != '\\')
			*to++ = *text;
	}
	*to = '\0';
	return plain;
}

/* A member's name as a path, quoted only where it must be. */
char *
openapi_step(const char *name)
{
	size_t		letters = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-0123456789");

	if (letters > 0 && name[letters] == '\0' && name[strspn(name, "-0123456789")] != '\0')
		return pstrdup(name);
	return template_path_step(name);
}
