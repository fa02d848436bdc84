/*
 * sheet.c
 *	  CSV (RFC 4180, with a header line) to an array of JSON objects, so that one
 *	  reader reads both.  The bytes are a stranger's: nothing here throws on
 *	  their account but for lack of memory; a line that is short has fewer members.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "lib/stringinfo.h"

/* More is no document that is read (reader.c): to go on would only take memory. */
#define MOST_BYTES		(8 * 1024 * 1024)
#define MOST_COLUMNS	10000

typedef struct Sheet
{
	const char *at;
	const char *end;
	char		delimiter;
	bool		line_ended;		/* by the field read last */
	StringInfoData field;
} Sheet;

/* The next field, unquoted, into sheet->field; false: there is none. */
static bool
next_field(Sheet *sheet)
{
	bool		quoted = sheet->at < sheet->end && *sheet->at == '"';
	const char *p = sheet->at;

	if (p >= sheet->end)
		return false;
	resetStringInfo(&sheet->field);
	if (quoted)
		p++;
	for (;; p++)
	{
		if (quoted && p < sheet->end && *p == '"')
		{
			if (p + 1 < sheet->end && p[1] == '"')
				p++;
			else
			{
				quoted = false;
				continue;
			}
		}
		else if (!quoted && (p >= sheet->end || *p == sheet->delimiter || *p == '\n'))
			break;
		else if (p >= sheet->end)
			break;
		if (*p != '\0')
			appendStringInfoCharMacro(&sheet->field, *p);
	}
	sheet->line_ended = p >= sheet->end || *p == '\n';
	if (sheet->line_ended && sheet->field.len > 0 && sheet->field.data[sheet->field.len - 1] == '\r')
		sheet->field.data[--sheet->field.len] = '\0';
	sheet->at = Min(p + 1, sheet->end);
	return true;
}

static bool
names(const char *path, const char *name)
{
	return path != NULL && *name != '\0' && strstr(path, name) != NULL;
}

static bool
is_wanted(const SheetColumns *columns, const char *name)
{
	for (int i = 0; i < columns->n; i++)
		if (names(columns->wanted[i], name))
			return true;
	return columns->n == 0;
}

static bool
is_integer(const char *text)
{
	return *text != '\0' && strlen(text) < 10 && text[strspn(text, "0123456789")] == '\0';
}

static void
append_value(StringInfo out, const Sheet *sheet, const SheetColumns *columns, const char *name)
{
	const char *text = sheet->field.data;

	if (names(columns->boolean, name) && (pg_strcasecmp(text, "true") == 0 || pg_strcasecmp(text, "false") == 0))
		appendStringInfoString(out, pg_strcasecmp(text, "true") == 0 ? "true" : "false");
	else if ((names(columns->number[0], name) || names(columns->number[1], name)) && is_integer(text))
		appendStringInfo(out, "%d", atoi(text));
	else
		template_append_string(out, text);
}

/* A comma, or what else stands more often in the header line. */
static char
delimiter_of(const char *text, size_t len)
{
	static const char candidates[] = ",;\t|";
	int			counts[4] = {0};
	int			best = 0;

	for (size_t i = 0; i < len && text[i] != '\n'; i++)
		for (int c = 0; c < 4; c++)
			counts[c] += text[i] == candidates[c];
	for (int c = 1; c < 4; c++)
		if (counts[c] > counts[best])
			best = c;
	return candidates[best];
}

char *
sheet_to_json(const char *text, size_t len, const SheetColumns *columns, size_t *json_len)
{
	Sheet		sheet = {.at = text, .end = text + len};
	List	   *header = NIL;
	StringInfoData out;
	bool		first = true;

	/* a byte order mark */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		sheet.at += 3;
	sheet.delimiter = delimiter_of(sheet.at, sheet.end - sheet.at);
	initStringInfo(&sheet.field);
	initStringInfo(&out);
	while (next_field(&sheet))
	{
		header = lappend(header, is_wanted(columns, sheet.field.data) ? pstrdup(sheet.field.data) : NULL);
		if (sheet.line_ended || list_length(header) > MOST_COLUMNS)
			break;
	}
	appendStringInfoChar(&out, '[');
	while (sheet.at < sheet.end && out.len <= MOST_BYTES && list_length(header) <= MOST_COLUMNS)
	{
		bool		any = false;

		appendStringInfoString(&out, first ? "{" : ", {");
		first = false;
		for (int i = 0; next_field(&sheet); i++)
		{
			const char *name = i < list_length(header) ? list_nth(header, i) : NULL;

			if (name != NULL)
			{
				appendStringInfoString(&out, any ? ", " : "");
				template_append_string(&out, name);
				appendStringInfoString(&out, ": ");
				append_value(&out, &sheet, columns, name);
				any = true;
			}
			if (sheet.line_ended)
				break;
		}
		appendStringInfoChar(&out, '}');
	}
	/* cut off, it is none */
	if (sheet.at >= sheet.end)
		appendStringInfoChar(&out, ']');
	*json_len = out.len;
	return out.data;
}
