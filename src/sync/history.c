/*
 * history.c
 *	  options.history of a declaration: where versions of rows can be kept.
 *
 * The statement is load/history.sql's.  A table that exists must be fit for it
 * already: what would have to be changed, and might be data, is left to its owner.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/own.h"
#include "sync/declare.h"
#include "utils/array.h"
#include "utils/builtins.h"

bool
declare_keeps_history(const Declaration *declaration)
{
	Sync		sync = {.options = declaration->options};

	return sync_option_bool(&sync, "history", false);
}

/* Filled by runs, not by the map. */
bool
declare_is_version_column(const Declaration *declaration, const char *name)
{
	return declare_keeps_history(declaration) && (strcmp(name, "valid_from") == 0 || strcmp(name, "valid_to") == 0);
}

static void
refuse_table(const Declaration *declaration)
{
	Oid			types[2] = {REGCLASSOID, TEXTARRAYOID};
	Datum		values[2] = {ObjectIdGetDatum(declaration->target_rel)};
	Datum	   *key = palloc(sizeof(Datum) * list_length(declaration->keys));
	ListCell   *cell;
	char	   *wrong;

	foreach(cell, declaration->keys)
		key[foreach_current_index(cell)] = CStringGetTextDatum(((DeclaredKey *) lfirst(cell))->target);
	values[1] = PointerGetDatum(construct_array(key, list_length(declaration->keys), TEXTOID, -1, false, TYPALIGN_INT));
	wrong = own_text("SELECT activate._history_wrong($1, $2)", 2, types, values);
	if (wrong)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s\" cannot keep versions as it is", declaration->target),
				 errhint("What is missing: %s.", wrong)));
}

void
declare_check_history(const Declaration *declaration)
{
	ListCell   *cell;

	if (!declare_keeps_history(declaration))
		return;
	if (declaration->kind != SYNC_TO_LOCAL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"history\" of a sync needs a local table as target"),
				 errhint("Versions of what was sent elsewhere can be kept by another sync, of the same source into a table.")));
	if (declaration->mode != SYNC_UPSERT && declaration->mode != SYNC_MIRROR && declaration->mode != SYNC_REPLACE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode \"%s\" keeps no versions", declaration->mode_text),
				 errhint("Option \"history\" goes with the modes: upsert, mirror, replace.")));
	if (declaration->keys == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"history\" of a sync needs a key, and neither source nor target has one"),
				 errhint("Name the columns that identify a row: key => 'column, ...'.")));
	foreach(cell, declaration->columns)
	{
		const char *name = ((DeclaredColumn *) lfirst(cell))->name;

		if (declare_is_version_column(declaration, name))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" of the source has the name of a column of versions", name),
					 errhint("Give it another one in a map: '{\"source_%s\": \"%s\", ...}'.", name, name)));
	}
	if (OidIsValid(declaration->target_rel))
		refuse_table(declaration);
}
