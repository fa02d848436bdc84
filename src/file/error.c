/*
 * error.c
 *	  What went wrong with a file: the message begins with file, line and
 *	  column, because a run keeps nothing but that.
 */
#include "postgres.h"

#include "file/reader.h"
#include "utils/memutils.h"

/* Is it about the session or the server, not about what was read? */
static bool
is_no_matter_of_files(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) ||
		error->sqlerrcode == ERRCODE_INTERNAL_ERROR ||
		strncmp(error->message, "could not read file", strlen("could not read file")) == 0;
}

static char *
place_of(const FileSpot *spot)
{
	StringInfoData place;

	initStringInfo(&place);
	appendStringInfo(&place, "could not read file \"%s\"", pnstrdup(spot->name, strcspn(spot->name, "?#")));
	if (spot->line > 0)
		appendStringInfo(&place, ", line " INT64_FORMAT, spot->line);
	if (spot->column != NULL)
		appendStringInfo(&place, ", column \"%s\"", spot->column);
	return place.data;
}

void
file_rethrow(FileRows *rows, MemoryContext context)
{
	ErrorData  *error;
	const FileSpot *spot = &rows->spot;
	char	   *what;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (is_no_matter_of_files(error))
		PG_RE_THROW();
	FlushErrorState();
	if (rows->explain != NULL)
		rows->explain(rows, error->sqlerrcode);
	if (spot->opened > 0)
		what = psprintf("a quote that opened in line " INT64_FORMAT " is never closed", spot->opened);
	else if (spot->offset > 0)
		what = psprintf("%s at byte " INT64_FORMAT, error->message, spot->offset);
	else
		what = error->message;
	ereport(ERROR,
			(errcode(error->sqlerrcode),
			 errmsg("%s: %s", place_of(spot), what),
			 error->detail ? errdetail("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) :
			 spot->offset > 0 ? errhint("The option \"encoding\" says in which encoding the files are.") : 0));
}
