/*
 * url.c
 *	  Templates of URLs and headers, and query strings.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "template/path.h"
#include "template/template.h"

/* URLs are UTF-8 whatever the database's encoding is. */
static void
url_append_encoded(StringInfo out, const char *value)
{
	char	   *utf8 = pg_server_to_any(value, strlen(value), PG_UTF8);

	enlargeStringInfo(out, 3 * strlen(utf8));
	out->len += (int) escape_url(utf8, out->data + out->len);
	if (utf8 != value)
		pfree(utf8);
}

static void
template_malformed(const char *template)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("malformed template \"%s\"", template),
			 errhint("A template names columns in braces, as in \"/contacts/{id}\"; a brace itself is doubled.")));
}

/* After expansion: no segment of the path may walk. */
static void
url_check_segments(const char *url, const char *template)
{
	size_t		len;
	const char *segment = escape_walking_segment(url, &len);

	if (segment != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the URL path made from \"%s\" has a segment \"%.*s\"",
						template, (int) len, segment),
				 errhint("A value in a URL path can be neither empty nor \".\" nor \"..\".")));
}

typedef enum ExpandUse
{
	EXPAND_URL, EXPAND_HEADER, EXPAND_TEXT
} ExpandUse;

static char *
expand(const char *template, Jsonb *values, ExpandUse use)
{
	bool		url = use == EXPAND_URL;
	StringInfoData out;
	TemplatePiece piece;
	PathResult	result;
	const char *p = template;

	initStringInfo(&out);
	while ((result = template_next(&p, &piece)) == PATH_STEP)
	{
		char	   *name;
		char	   *value;

		if (!piece.is_name)
		{
			appendBinaryStringInfo(&out, piece.start, piece.len);
			continue;
		}
		name = pnstrdup(piece.start, piece.len);
		value = values ? template_member_text(values, name) : NULL;
		if (value == NULL || (url && *value == '\0' && strchr(out.data, '?') == NULL))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the row has no value for \"%s\" in \"%s\"", name, template),
					 errhint("What a template names must be neither absent nor null%s.",
							 url ? " nor, in a URL path, empty" : "")));
		if (url)
			url_append_encoded(&out, value);
		else if (use == EXPAND_HEADER && strpbrk(value, "\r\n") != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the value of \"%s\" cannot stand in a header: it contains a line break", name)));
		else
			appendStringInfoString(&out, value);
		pfree(name);
		pfree(value);
	}
	if (result == PATH_MALFORMED)
		template_malformed(template);
	if (url)
		url_check_segments(out.data, template);
	return out.data;
}

char *
template_expand(const char *template, Jsonb *values, bool url)
{
	return expand(template, values, url ? EXPAND_URL : EXPAND_HEADER);
}

char *
template_expand_text(const char *template, Jsonb *values)
{
	return expand(template, values, EXPAND_TEXT);
}

List *
template_names(const char *template)
{
	List	   *names = NIL;
	TemplatePiece piece;
	PathResult	result;
	const char *p = template;

	while ((result = template_next(&p, &piece)) == PATH_STEP)
	{
		if (piece.is_name)
			names = lappend(names, pnstrdup(piece.start, piece.len));
	}
	if (result == PATH_MALFORMED)
		template_malformed(template);
	return names;
}

void
template_append_query(StringInfo url, const char *name, const char *value)
{
	char	   *fragment = strchr(url->data, '#');

	/* a fragment is never sent, and a query behind it would be part of it */
	if (fragment != NULL)
	{
		url->len = fragment - url->data;
		url->data[url->len] = '\0';
	}
	if (strchr(url->data, '?') == NULL)
		appendStringInfoChar(url, '?');
	else if (url->data[url->len - 1] != '?' && url->data[url->len - 1] != '&')
		appendStringInfoChar(url, '&');
	url_append_encoded(url, name);
	appendStringInfoChar(url, '=');
	url_append_encoded(url, value);
}
