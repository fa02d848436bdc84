/*
 * body_multipart.c
 *	  multipart/form-data (RFC 7578): fields, and rows as a file.
 *
 * The boundary is made of the message's id, so that a repeat of the call is the
 * same to the byte, and made anew until it does not occur in what is sent.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "core/digest.h"
#include "sign/sign.h"

/* A name or filename in quotes, as browsers write them. */
static void
multipart_append_name(StringInfo out, const char *parameter, const char *name)
{
	appendStringInfo(out, "; %s=\"", parameter);
	for (; *name; name++)
	{
		if (*name == '"')
			appendStringInfoString(out, "%22");
		else if (*name == '\r')
			appendStringInfoString(out, "%0D");
		else if (*name == '\n')
			appendStringInfoString(out, "%0A");
		else
			appendStringInfoChar(out, *name);
	}
	appendStringInfoChar(out, '"');
}

/* parts: a list of texts */
static void
multipart_field(void *parts, const char *name, const char *value)
{
	StringInfoData part;

	initStringInfo(&part);
	appendStringInfoString(&part, "Content-Disposition: form-data");
	multipart_append_name(&part, "name", name);
	appendStringInfo(&part, "\r\n\r\n%s", value);
	*(List **) parts = lappend(*(List **) parts, part.data);
}

static char *
multipart_file(const ConnectorPart *file, const char *content)
{
	StringInfoData part;

	initStringInfo(&part);
	appendStringInfoString(&part, "Content-Disposition: form-data");
	multipart_append_name(&part, "name", file->name);
	multipart_append_name(&part, "filename", file->filename);
	appendStringInfo(&part, "\r\nContent-Type: %s\r\n\r\n", file->content_type);
	appendStringInfoString(&part, content);
	return part.data;
}

static char *
multipart_boundary(List *parts, const char *id)
{
	for (int try = 0;; try++)
	{
		char	   *seed = psprintf("%s %d", id, try);
		char	   *boundary;
		uint8		digest[DIGEST_MOST];
		size_t		len = digest_plain(DIGEST_MD5, seed, strlen(seed), digest);
		bool		occurs = false;
		ListCell   *lc;

		boundary = psprintf("activate-%s", sign_encode(CODE_HEX, digest, (int) len));
		foreach(lc, parts)
			occurs = occurs || strstr(lfirst(lc), boundary) != NULL;
		if (!occurs)
			return boundary;
	}
}

char *
body_multipart(StringInfo out, const ConnectorWrite *write, const ConnectorRow *row, Jsonb *values, const char *content)
{
	const TemplateShape beside = {.constants = write->fixed, .nconstants = write->nfixed};
	List	   *parts = NIL;
	char	   *boundary;
	ListCell   *lc;

	template_form(NULL, &beside, NULL, "", multipart_field, &parts);
	if (write->part.name != NULL)
		parts = lappend(parts, multipart_file(&write->part, content));
	else
		template_form(values, &write->shape, row->id, template_form_name("", write->envelope), multipart_field, &parts);
	boundary = multipart_boundary(parts, row->id);
	foreach(lc, parts)
	{
		appendStringInfo(out, "--%s\r\n", boundary);
		appendStringInfoString(out, lfirst(lc));
		appendStringInfoString(out, "\r\n");
	}
	appendStringInfo(out, "--%s--\r\n", boundary);
	return boundary;
}
