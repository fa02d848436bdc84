/*
 * body_table.c
 *	  Rows by columns: CSV, and rows that are arrays.
 *
 * Columns come in their order, then what "fixed_row" and "trace" add.  Where
 * names are told, only those columns are there that some row of the call has;
 * where positions count, all.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "template/path.h"

typedef struct BodyColumn
{
	const char *name;			/* in the row; NULL: not of the row */
	const char *label;			/* for the API */
	const JsonbValue *constant; /* NULL and no name: the message's id */
} BodyColumn;

struct BodyTable
{
	int			ncolumns;
	BodyColumn *columns;
	int			nrows;
	const ConnectorRow *rows;
	Jsonb	  **values;
};

static bool
table_cell_of(Jsonb *values, const char *name, JsonbValue *cell)
{
	return values != NULL && getKeyJsonValueFromContainer(&values->root, name, strlen(name), cell) != NULL;
}

static bool
table_some(const BodyTable *table, const char *name)
{
	JsonbValue	ignored;

	for (int i = 0; i < table->nrows; i++)
	{
		if (table_cell_of(table->values[i], name, &ignored))
			return true;
	}
	return false;
}

/* A path as a name: its steps, with dots between. */
static char *
table_label(const char *path)
{
	StringInfoData label;
	PathStep	step;

	initStringInfo(&label);
	while (path_next(&path, &step) == PATH_STEP)
		appendStringInfo(&label, "%s%s", label.len > 0 ? "." : "", step.name);
	return label.data;
}

BodyTable *
body_table(const ConnectorWrite *write, const ConnectorRow *rows, Jsonb **values, int n, bool all)
{
	const TemplateShape *shape = &write->shape;
	BodyTable  *table = palloc0(sizeof(BodyTable));
	BodyColumn *next;

	table->rows = rows;
	table->nrows = n;
	table->values = values;
	next = table->columns = palloc0(sizeof(BodyColumn) * (shape->ncolumns + shape->nconstants + 1));
	for (int i = 0; i < shape->ncolumns; i++)
	{
		const TemplateColumn *column = &shape->columns[i];

		if (column->skip || !(all || table_some(table, column->name)))
			continue;
		next->name = column->name;
		next++->label = column->path ? table_label(column->path) : column->name;
	}
	for (int i = 0; i < shape->nconstants; i++)
	{
		next->constant = &shape->constants[i].value;
		next++->label = table_label(shape->constants[i].path);
	}
	if (shape->trace != NULL)
		next++->label = table_label(shape->trace);
	table->ncolumns = next - table->columns;
	return table;
}

/* Null where the row has nothing. */
static void
table_cell(const BodyTable *table, int row, const BodyColumn *column, JsonbValue *cell)
{
	cell->type = jbvNull;
	if (column->name != NULL)
		(void) table_cell_of(table->values[row], column->name, cell);
	else if (column->constant != NULL)
		*cell = *column->constant;
	else
	{
		cell->type = jbvString;
		cell->val.string.val = unconstify(char *, table->rows[row].id);
		cell->val.string.len = strlen(table->rows[row].id);
	}
}

void
body_table_names(StringInfo out, const BodyTable *table)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < table->ncolumns; i++)
	{
		appendStringInfoString(out, i > 0 ? ", " : "");
		template_append_string(out, table->columns[i].label);
	}
	appendStringInfoChar(out, ']');
}

void
body_table_row(StringInfo out, const BodyTable *table, int row)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < table->ncolumns; i++)
	{
		JsonbValue	cell;

		table_cell(table, row, &table->columns[i], &cell);
		appendStringInfoString(out, i > 0 ? ", " : "");
		template_append_value(out, &cell);
	}
	appendStringInfoChar(out, ']');
}

/* With a line of names; every line ends in CRLF. */
void
body_table_csv(StringInfo out, const BodyTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		appendStringInfoString(out, i > 0 ? "," : "");
		template_append_cell(out, table->columns[i].label);
	}
	appendStringInfoString(out, "\r\n");
	for (int row = 0; row < table->nrows; row++)
	{
		for (int i = 0; i < table->ncolumns; i++)
		{
			JsonbValue	cell;

			table_cell(table, row, &table->columns[i], &cell);
			appendStringInfoString(out, i > 0 ? "," : "");
			template_append_cell(out, template_scalar_text(&cell));
		}
		appendStringInfoString(out, "\r\n");
	}
}
