/*
 * copy_column.c
 *	  In which form each column comes from the other server.
 *
 * In its binary form only if the types are the same on both sides, built in,
 * and of a binary form that means the same in every version.  Anything else
 * comes as the text that postgres_fdw would get, made there by the type's
 * output function and read here by the input function of ours.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "load/copy.h"
#include "utils/lsyscache.h"

/* 17: intervals can be infinite, in bits that are finite before */
#define INFINITE_INTERVALS	170000

static bool is_portable(Oid type, int version);
static bool is_text(Oid type);
static CopyForm binary_form(const CopyColumn *column);
static char *copy_statement(const char *query, int n, const bool *wrapped);

void
copy_choose_forms(CopySource *source, const char *query)
{
	PGresult   *described = copy_remote_describe(source->remote, query);
	int			version = copy_remote_version(source->remote);
	bool	   *wrapped;

	source->nfields = Max(source->ncolumns, 1);
	if (PQnfields(described) != source->nfields)
		elog(ERROR, "server \"%s\" returns %d columns instead of %d",
			 source->remote->name, PQnfields(described), source->nfields);
	wrapped = palloc0(source->nfields * sizeof(bool));
	for (int i = 0; i < source->ncolumns; i++)
	{
		CopyColumn *column = &source->columns[i];
		Oid			theirs = PQftype(described, i);
		Oid			function;

		if (theirs == getBaseType(column->type) && is_portable(theirs, version))
			column->form = binary_form(column);
		else
		{
			column->form = COPY_INPUT;
			wrapped[i] = !is_text(theirs);
		}
		if (column->form == COPY_INPUT)
			getTypeInputInfo(column->type, &function, &column->ioparam);
		else if (column->form == COPY_RECEIVE)
			getTypeBinaryInputInfo(column->type, &function, &column->ioparam);
		else
			continue;
		fmgr_info(function, &column->function);
	}
	source->sql = copy_statement(query, source->nfields, wrapped);
}

static bool
is_portable(Oid type, int version)
{
	Oid			part;

	/* what is built in has the same oid everywhere */
	if (type >= FirstGenbkiObjectId)
		return false;
	if (OidIsValid(part = get_element_type(type)) || OidIsValid(part = get_range_subtype(type)) ||
		OidIsValid(part = get_multirange_range(type)))
		return is_portable(part, version);
	switch (type)
	{
		case INTERVALOID:
			return (version >= INFINITE_INTERVALS) == (PG_VERSION_NUM >= INFINITE_INTERVALS);
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case OIDOID:
		case NAMEOID:
		case CHAROID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BYTEAOID:
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
		case BITOID:
		case VARBITOID:
		case POINTOID:
		case LINEOID:
		case LSEGOID:
		case BOXOID:
		case PATHOID:
		case POLYGONOID:
		case CIRCLEOID:
			return true;
		default:
			return false;
	}
}

/* Is its binary form the text itself? */
static bool
is_text(Oid type)
{
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID || type == NAMEOID || type == JSONOID;
}

/* Without a function where there is nothing to check; a domain, and what has a typmod, has. */
static CopyForm
binary_form(const CopyColumn *column)
{
	if (column->typmod >= 0)
		return COPY_RECEIVE;
	switch (column->type)
	{
		case BOOLOID:
			return COPY_BOOL;
		case INT2OID:
			return COPY_INT2;
		case INT4OID:
		case OIDOID:
			return COPY_INT4;
		case INT8OID:
			return COPY_INT8;
		case FLOAT4OID:
			return COPY_FLOAT4;
		case FLOAT8OID:
			return COPY_FLOAT8;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return COPY_TIMESTAMP;
		case DATEOID:
			return COPY_DATE;
		case UUIDOID:
			return COPY_UUID;
		case TEXTOID:
		case VARCHAROID:
			return COPY_TEXT;
		default:
			return COPY_RECEIVE;
	}
}

/*
 * format() calls the output function; a cast to text is something else for
 * some types.  It makes NULL an empty text, and IS NULL is true of a row of
 * NULLs.  What the query is ordered by stays its order.
 */
static char *
copy_statement(const char *query, int n, const bool *wrapped)
{
	StringInfoData list;
	StringInfoData names;
	bool		any = false;

	initStringInfo(&list);
	initStringInfo(&names);
	for (int i = 0; i < n; i++)
	{
		const char *comma = i > 0 ? ", " : "";

		any |= wrapped[i];
		appendStringInfo(&names, "%sc%d", comma, i);
		appendStringInfo(&list, wrapped[i] ?
						 "%sCASE WHEN pg_catalog.num_nulls(c%d) = 0 THEN pg_catalog.format('%%s', c%d) END" : "%sc%d",
						 comma, i, i);
	}
	return any ?
		psprintf("COPY (SELECT %s FROM (%s) AS q (%s)) TO STDOUT (FORMAT binary)", list.data, query, names.data) :
		psprintf("COPY (%s) TO STDOUT (FORMAT binary)", query);
}
