/*
 * csv.c
 *	  Cells of CSV as RFC 4180 has them.
 */
#include "postgres.h"

#include "template/template.h"

void
template_append_cell(StringInfo out, const char *value)
{
	if (value == NULL)
		return;
	/* blanks at the ends are part of a cell, but some readers cut them */
	if (*value != '\0' && strpbrk(value, ",\"\r\n") == NULL && *value != ' ' && value[strlen(value) - 1] != ' ')
	{
		appendStringInfoString(out, value);
		return;
	}
	appendStringInfoChar(out, '"');
	for (; *value; value++)
	{
		if (*value == '"')
			appendStringInfoChar(out, '"');
		appendStringInfoChar(out, *value);
	}
	appendStringInfoChar(out, '"');
}
