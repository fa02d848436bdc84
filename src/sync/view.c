/*
 * view.c
 *	  options.materialized: a model that is a view.
 *
 * The view is the query of the sync (Q, see catalog/sync.h) without its keys.  It
 * belongs to the sync's owner, as a table that a sync creates does, so it reads with
 * the owner's rights, as a run would.  Nothing is kept of it but the declaration: runs
 * have nothing to do.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/own.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "sync/declare.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"

static char *view_query(const Declaration *declaration);
static char *view_options(Oid view);
static char *view_definition(Oid view);
static void execute(const char *sql);

bool
declare_is_view(const Declaration *declaration)
{
	Sync		sync = {.options = declaration->options};

	return sync_is_view(&sync);
}

static void
refuse(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s means nothing for a model that is a view", what),
			 errhint("%s", hint)));
}

/* What a view cannot do. */
void
declare_check_materialized(const Declaration *declaration)
{
	static const char *const options[] = {"after", "cursor", "history", "sweep"};
	char	   *materialized = declare_option(declaration, "materialized");

	if (materialized && strcmp(materialized, "incremental") == 0 &&
		findJsonbValueFromContainer(&declaration->options->root, JB_FOBJECT,
									&(JsonbValue) {.type = jbvString, .val.string = {.val = "watch", .len = 5}}) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a model that is kept incrementally needs to know what to watch"),
				 errhint("Name the tables whose changes matter, each with the column that holds the model's key: "
						 "options => '{\"materialized\": \"incremental\", \"watch\": {\"sales.orders\": \"customer_id\"}}'.")));
	if (!declare_is_view(declaration))
		return;
	if (declaration->mode != SYNC_UPSERT && declaration->mode != SYNC_MIRROR && declaration->mode != SYNC_REPLACE)
		refuse(psprintf("mode \"%s\"", declaration->mode_text),
			   "A view shows the rows of its source as they are: leave the mode out.");
	if (declaration->capture != CAPTURE_DIFF)
		refuse(psprintf("capture \"%s\"", declaration->capture_text),
			   "A view shows the rows of its source as they are at each look: leave the capture out.");
	if (declaration->schedule)
		refuse("a schedule", "A view has no runs: leave the schedule out, or materialize the model as \"table\".");
	for (int i = 0; i < lengthof(options); i++)
		if (declare_option(declaration, options[i]))
			refuse(psprintf("option \"%s\"", options[i]), "Leave it out, or materialize the model as \"table\".");
}

/* The target is there: it must be a view, which is replaced. */
void
declare_open_view(Declaration *declaration)
{
	if (get_rel_relkind(declaration->target_rel) != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target \"%s\" of a model that is to be a view is there already, and is no view", declaration->target),
				 errhint("Drop or rename it, or choose another name.")));
	if (get_rel_persistence(declaration->target_rel) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the target of a sync may not be a temporary view"),
				 errhint("A sync outlives the session: use another name.")));
	declaration->kind = SYNC_TO_LOCAL;
}

/*
 * As the caller, who must own a view that is replaced.  A view that somebody
 * has made by hand is not overwritten, unless it is the same: then nothing is lost.
 */
void
declare_create_view(Declaration *declaration)
{
	RangeVar   *name = makeRangeVarFromNameList(compat_qualified_name(declaration->target));
	bool		there = OidIsValid(declaration->target_rel);
	bool		ours = there && declaration->old && declaration->old->target_rel == declaration->target_rel;
	Oid			schema = there ? get_rel_namespace(declaration->target_rel) : RangeVarGetCreationNamespace(name);
	char	   *qualified = quote_qualified_identifier(get_namespace_name(schema), name->relname);
	char	   *before = there && !ours ? view_definition(declaration->target_rel) : NULL;

	/* without a view to replace none is: somebody may have made one meanwhile */
	execute(psprintf("CREATE %sVIEW %s%s AS %s", there ? "OR REPLACE " : "", qualified,
					 there ? view_options(declaration->target_rel) : "", view_query(declaration)));
	if (before && strcmp(before, view_definition(declaration->target_rel)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("view \"%s\" is there already, and is not what sync \"%s\" would make of it",
						declaration->target, declaration->name),
				 errhint("Drop or rename it, or choose another name.")));
	if (there)
		return;
	if (GetUserId() != declaration->owner)
		execute(psprintf("ALTER VIEW %s OWNER TO %s", qualified,
						 quote_identifier(GetUserNameFromId(declaration->owner, false))));
	declaration->target_rel = RangeVarGetRelid(name, AccessShareLock, false);
	ereport(NOTICE, (errmsg("view %s was created", qualified)));
}

/* Q without keys, its columns under their names. */
static char *
view_query(const Declaration *declaration)
{
	Query	   *query = copyObject(declaration->query);
	IdentityScope scope;
	ListCell   *target;
	ListCell   *column;
	char	   *text;
	int			n = 0;

	query->targetList = list_copy_tail(query->targetList, list_length(declaration->keys));
	forboth(target, query->targetList, column, declaration->columns)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, target);

		entry->resno = ++n;
		entry->resname = ((DeclaredColumn *) lfirst(column))->name;
	}

	/* nothing but pg_catalog is visible: every other name comes out qualified */
	identity_enter_rendering(&scope);
	identity_set_local("search_path", "pg_catalog, pg_temp");
	text = pg_get_querydef(query, false);
	identity_leave(&scope);
	return text;
}

/* WITH (...), as the view has been set up: security_barrier, ... would go when it is replaced. */
static char *
view_options(Oid view)
{
	Oid			type = OIDOID;
	Datum		value = ObjectIdGetDatum(view);
	char	   *options = own_text("SELECT activate._view_options($1)", 1, &type, &value);

	return options ? options : "";
}

/* As it is at this moment, in the middle of our command. */
static char *
view_definition(Oid view)
{
	char	   *definition;

	PushCopiedSnapshot(GetActiveSnapshot());
	UpdateActiveSnapshotCommandId();
	definition = TextDatumGetCString(DirectFunctionCall1(pg_get_viewdef, ObjectIdGetDatum(view)));
	PopActiveSnapshot();
	return definition;
}

static void
execute(const char *sql)
{
	SPI_connect();
	SPI_execute(sql, false, 0);
	SPI_finish();
	CommandCounterIncrement();
}
