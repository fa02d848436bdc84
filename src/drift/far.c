/*
 * far.c
 *	  What is done about differences on the servers of foreign tables.
 *
 * A column is put right in the foreign table, by the owner of the sync: its
 * option column_name, its type.  Then nothing of the declaration changes, or
 * what is local goes its way (look.c).  Until that is healed a renamed column is left out.
 */
#include "postgres.h"

#include "core/attempt.h"
#include "core/own.h"
#include "catalog/pg_type.h"
#include "drift/remote.h"
#include "file/file.h"
#include "template/template.h"
#include "foreign/foreign.h"
#include "commands/defrem.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

/* From there on "evolve" takes a column for the one that is gone. */
#define SURE 0.75

typedef struct Far
{
	const Sync *sync;
	RemoteTable *table;
	DriftPolicy policy;
	List	   *candidates;		/* RemoteColumn: new, and nothing of ours yet */
	bool		changed;
	char	   *frozen;
} Far;

static void look_at_table(Far *far);
static bool has_changed(const RemoteTable *table);
static List *new_columns(const RemoteTable *table);
static void find_gone(Far *far);
static void settle_gone(Far *far, AttrNumber attnum, RemoteColumn *became, double confidence);
static void leave_out(Far *far, const Drift *drift, const char *state, const char *reason);
static void find_types(Far *far);
static void find_new(Far *far);
static void freeze(Far *far, const Drift *drift, const DriftEdit *edit, const char *why);
static Drift *far_drift(const Far *far, DriftKind kind, AttrNumber attnum, const char *name, const char *became, const char *was);
static void reload(Far *far);
static bool has_option(const Drift *drift, const char *name);
static char *file_options(const Drift *drift, const char *path, const char *former, bool back);

bool
drift_look_far(const Sync *sync, char **frozen)
{
	Far			far = {.sync = sync, .policy = drift_policy(sync)};
	Query	   *query = sync->query_tree ? sync_tree(sync) : NULL;
	ListCell   *cell;

	*frozen = NULL;
	/* it costs questions and a sample: for who has said what is to be done then */
	if (sync_option_text(sync, "on_drift") == NULL || query == NULL || !OidIsValid(sync->owner) || !OidIsValid(sync->target_rel))
		return false;
	foreach(cell, drift_remote_tables(sync, query))
	{
		far.table = lfirst(cell);
		if (drift_remote_ask(far.table))
			look_at_table(&far);
	}
	*frozen = far.frozen;
	return far.changed;
}

static void
look_at_table(Far *far)
{
	RemoteTable *table = far->table;
	bool		first;

	drift_recall(far->sync, table);
	first = table->before == NIL;
	if (!first)
		drift_met_keep(table);
	if (!first && !has_changed(table) && (table->kind == REMOTE_SERVER || !table->stale))
		return;
	if (table->kind != REMOTE_SERVER)
		drift_met_print(table);
	if (!first)
	{
		far->candidates = new_columns(table);
		find_gone(far);
		find_types(far);
		find_new(far);
	}
	/* as long as it is frozen it is found again */
	if (far->frozen == NULL)
		drift_remember(far->sync, table);
}

/*
 * Rows are sampled when the run has read its own: what the sample has locked there must not be
 * in the way of a COPY, which has a connection of its own.
 */
void
drift_ran(const Sync *sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	Query	   *query = sync->query_tree ? sync_tree(sync) : NULL;
	ListCell   *cell;

	if (sync_option_text(sync, "on_drift") == NULL || query == NULL || own_int64("SELECT activate._drift_unprinted($1)", 1, &type, &id) == 0)
		return;
	foreach(cell, drift_remote_tables(sync, query))
	{
		RemoteTable *table = lfirst(cell);

		if (table->kind != REMOTE_SERVER)
			continue;
		drift_recall(sync, table);
		table->columns = table->before;
		drift_print_known(sync, table);
		drift_remember(sync, table);
	}
}

static bool
has_changed(const RemoteTable *table)
{
	ListCell   *now;
	ListCell   *then;

	if (list_length(table->columns) != list_length(table->before))
		return true;
	forboth(now, table->columns, then, table->before)
	{
		const RemoteColumn *a = lfirst(now);
		const RemoteColumn *b = lfirst(then);

		if (strcmp(a->name, b->name) != 0 || strcmp(a->type, b->type) != 0)
			return true;
	}
	return false;
}

static List *
new_columns(const RemoteTable *table)
{
	List	   *result = NIL;
	char	  **names = drift_remote_names(table->relation);
	ListCell   *cell;

	foreach(cell, table->columns)
	{
		RemoteColumn *column = lfirst(cell);
		bool		ours = drift_remote_column(table->before, column->name) != NULL;

		for (int i = drift_natts(table->relation); !ours && i-- > 0;)
			ours = names[i] && strcmp(names[i], column->name) == 0;
		if (!ours)
			result = lappend(result, column);
	}
	return result;
}

/* The best guess first: it takes its column from those that are left. */
static void
find_gone(Far *far)
{
	RemoteTable *table = far->table;
	char	  **names = drift_remote_names(table->relation);
	Bitmapset  *gone = NULL;
	int			attnum = -1;

	while ((attnum = bms_next_member(table->used, attnum)) >= 0)
	{
		char	   *name = names[attnum - 1];

		/* what a file never had it has not lost */
		if (name && drift_remote_column(table->columns, name) == NULL &&
			(table->kind == REMOTE_SERVER || drift_remote_column(table->before, name)))
			gone = bms_add_member(gone, attnum);
	}
	if (gone && far->candidates && table->kind == REMOTE_SERVER)
	{
		/* the run must not wait on another connection for what this one has locked there */
		(void) set_config_option("activate.copy", "off", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
		drift_print_new(far->sync, table, far->candidates);
	}
	while (!bms_is_empty(gone))
	{
		AttrNumber	best = 0;
		RemoteColumn *became = NULL;
		double		confidence = 0;

		attnum = -1;
		while ((attnum = bms_next_member(gone, attnum)) >= 0)
		{
			double		guess;
			RemoteColumn *column = drift_guess(table, names[attnum - 1], far->candidates, &guess);

			if (best != 0 && (column == NULL || guess <= confidence))
				continue;
			best = attnum;
			became = column;
			confidence = column ? guess : 0;
		}
		far->candidates = list_delete_ptr(far->candidates, became);
		settle_gone(far, best, became, confidence);
		gone = bms_del_member(gone, best);
	}
}

static void
settle_gone(Far *far, AttrNumber attnum, RemoteColumn *became, double confidence)
{
	Oid			relation = far->table->relation;
	char	   *name = drift_remote_name(relation, attnum);
	Drift	   *drift = far_drift(far, became ? DRIFT_RENAME : DRIFT_DROP, attnum, name, became ? became->name : NULL, NULL);
	ErrorData  *error;
	char	   *reason = NULL;

	drift->confidence = became ? confidence : 1;
	if (far->policy == DRIFT_FREEZE)
	{
		freeze(far, drift, drift_edit(far->sync), NULL);
		return;
	}
	if (became == NULL)
	{
		leave_out(far, drift, "healed", NULL);
		return;
	}
	if (far->policy == DRIFT_EVOLVE && confidence >= SURE)
	{
		int64		id = drift_note(far->sync, drift, drift_edit(far->sync), "healed", NULL, true);

		if (id == 0)
			return;
		error = drift_by_owner(far->sync, drift_rename_sql(drift));
		if (error == NULL)
		{
			reload(far);
			return;
		}
		drift_forget(id);
		reason = error->message;
	}
	leave_out(far, drift, "proposed", reason);
}

static void
leave_out(Far *far, const Drift *drift, const char *state, const char *reason)
{
	DriftEdit  *edit = drift_edit(far->sync);
	Drift		ours = *drift;

	ours.name = drift_column_name(drift->relation, drift->attnum);
	edit->needs_map = true;
	drift_leave_out(edit, &ours);
	if (edit->refusal)
	{
		freeze(far, drift, drift_edit(far->sync), edit->refusal);
		return;
	}
	drift_rewrite(edit, false);
	if (drift_note(far->sync, drift, edit, state, reason, true) == 0)
		return;
	drift_apply(edit);
	reload(far);
}

/* The foreign table takes the type; what that means for the sync is seen as of any table. */
static void
find_types(Far *far)
{
	RemoteTable *table = far->table;
	int			attnum = -1;

	while ((attnum = bms_next_member(table->used, attnum)) >= 0)
	{
		char	   *name = drift_remote_name(table->relation, attnum);
		RemoteColumn *now = name ? drift_remote_column(table->columns, name) : NULL;
		RemoteColumn *then = name ? drift_remote_column(table->before, name) : NULL;
		Drift	   *drift;
		ErrorData  *error;
		Oid			type;
		int32		typmod;

		if (now == NULL || then == NULL || strcmp(now->type, then->type) == 0)
			continue;
		drift = far_drift(far, DRIFT_TYPE, attnum, name, now->type, then->type);
		get_atttypetypmodcoll(table->relation, attnum, &type, &typmod, &(Oid){0});
		if (strcmp(format_type_with_typemod(type, typmod), now->type) == 0)
			continue;
		if (far->policy == DRIFT_FREEZE)
		{
			freeze(far, drift, drift_edit(far->sync), NULL);
			continue;
		}
		error = drift_by_owner(far->sync, drift_type_sql(drift));
		if (error)
			(void) drift_note(far->sync, drift, drift_edit(far->sync), "proposed", error->message, true);
		else
			reload(far);
	}
}

static void
find_new(Far *far)
{
	ListCell   *cell;

	foreach(cell, far->candidates)
	{
		RemoteColumn *column = lfirst(cell);
		Drift	   *drift = far_drift(far, DRIFT_ADD, 0, column->name, column->type, NULL);
		bool		open = drift_is_open_map(far->sync);
		Drift		here = *drift;
		ErrorData  *error = NULL;

		here.name = drift_new_name(drift);
		if (!drift_might_take(far->sync, &here))
			continue;
		if (far->policy == DRIFT_FREEZE)
		{
			if (open)
				freeze(far, drift, drift_edit(far->sync), NULL);
			continue;
		}
		/* it is a column of a table of ours then, and its command tells of it */
		if (far->policy == DRIFT_EVOLVE && open && (error = drift_by_owner(far->sync, drift_add_sql(drift))) == NULL)
			reload(far);
		else
			(void) drift_note(far->sync, drift, drift_edit(far->sync), far->policy == DRIFT_DISCARD ? "discarded" : "proposed",
							  error ? error->message : NULL, true);
	}
}

static void
freeze(Far *far, const Drift *drift, const DriftEdit *edit, const char *why)
{
	char	   *reason = why ? psprintf("%s, and %s", drift_words(drift), why) :
		psprintf("on_drift is \"freeze\": %s", drift_words(drift));

	if (drift_note(far->sync, drift, edit, "frozen", reason, true) != 0 && far->frozen == NULL)
		far->frozen = reason;
}

static Drift *
far_drift(const Far *far, DriftKind kind, AttrNumber attnum, const char *name, const char *became, const char *was)
{
	Drift	   *drift = palloc0(sizeof(Drift));

	drift->kind = kind;
	drift->relation = far->table->relation;
	drift->attnum = attnum;
	drift->name = pstrdup(name);
	drift->became = became ? pstrdup(became) : NULL;
	drift->was = was ? pstrdup(was) : NULL;
	drift->confidence = 1;
	return drift;
}

static void
reload(Far *far)
{
	far->changed = true;
	far->sync = sync_load(far->sync->id, CurrentMemoryContext);
}

static char *
alter(const Drift *drift)
{
	return psprintf("ALTER FOREIGN TABLE %s", drift_relation_name(drift->relation));
}

static char *
local_name(const Drift *drift)
{
	return pstrdup(quote_identifier(drift_column_name(drift->relation, drift->attnum)));
}

char *
drift_rename_sql(const Drift *drift)
{
	RemoteKind	kind = drift_remote_kind(drift->relation);

	if (kind == REMOTE_FILE)
		return psprintf("%s ALTER COLUMN %s %s", alter(drift), local_name(drift), file_options(drift, drift->became, drift->name, false));
	/* from the top of the record, wherever paths begin */
	if (kind == REMOTE_API)
		return psprintf("%s ALTER COLUMN %s OPTIONS (%s path %s)", alter(drift), local_name(drift), has_option(drift, "path") ? "SET" : "ADD",
						quote_literal_cstr(psprintf("$.%s", drift->became)));
	if (!drift_remote_knows_names(drift->relation))
		return psprintf("%s RENAME COLUMN %s TO %s", alter(drift), local_name(drift), quote_identifier(drift->became));
	return psprintf("%s ALTER COLUMN %s OPTIONS (%s column_name %s)", alter(drift), local_name(drift),
					has_option(drift, "column_name") ? "SET" : "ADD", quote_literal_cstr(drift->became));
}

char *
drift_rename_back_sql(const Drift *drift)
{
	Drift		back = *drift;

	if (drift_remote_kind(drift->relation) == REMOTE_FILE)
		return psprintf("%s ALTER COLUMN %s %s", alter(drift), local_name(drift), file_options(drift, drift->name, drift->name, true));
	back.became = drift->name;
	return drift_rename_sql(&back);
}

static bool
has_option(const Drift *drift, const char *name)
{
	ListCell   *cell;

	foreach(cell, GetForeignColumnOptions(drift->relation, drift->attnum))
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			return true;
	return false;
}

/* Older files go on having the column under its former name. */
static char *
file_options(const Drift *drift, const char *path, const char *former, bool back)
{
	Oid			types[3] = {TEXTOID, TEXTOID, BOOLOID};
	Datum		values[3] = {(Datum) 0, CStringGetTextDatum(former), BoolGetDatum(back)};
	char	   *formerly;

	(void) file_column_place(drift->relation, drift->attnum, &formerly);
	values[0] = CStringGetTextDatum(formerly ? formerly : "[]");
	return psprintf("OPTIONS (%s path %s, %s formerly %s)", has_option(drift, "path") ? "SET" : "ADD", quote_literal_cstr(path),
					formerly ? "SET" : "ADD",
					quote_literal_cstr(own_text("SELECT CASE WHEN $3 THEN $1::jsonb - $2 ELSE to_jsonb(array[$2]) || ($1::jsonb - $2) END::text",
												3, types, values)));
}

char *
drift_type_sql(const Drift *drift)
{
	return psprintf("%s ALTER COLUMN %s TYPE %s", alter(drift), local_name(drift), drift->became);
}

/* Files of before do not have it. */
char *
drift_add_sql(const Drift *drift)
{
	char	   *name = drift_new_name(drift);
	RemoteKind	kind = drift_remote_kind(drift->relation);
	char	   *options = "";

	if (kind == REMOTE_FILE)
		options = psprintf(" OPTIONS (path %s, optional 'true')", quote_literal_cstr(drift->name));
	else if (kind == REMOTE_API)
		options = psprintf(" OPTIONS (path %s)", quote_literal_cstr(psprintf("$.%s", drift->name)));
	return psprintf("%s ADD COLUMN %s %s%s", alter(drift), quote_identifier(name), drift->became, options);
}

/* Of a path its last step. */
char *
drift_new_name(const Drift *drift)
{
	char	   *name = pstrdup(drift->name);

	if (drift_remote_kind(drift->relation) != REMOTE_SERVER)
		name = drift_remote_kind(drift->relation) == REMOTE_API ? template_path_last(name) : file_short_name(drift->relation, name);
	truncate_identifier(name, strlen(name), false);
	return name;
}
