/*
 * store.c
 *	  A checked declaration becomes a row of activate.sync; what a former
 *	  declaration of that name left behind is put right (SEMANTICS 16).
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "core/own.h"
#include "drift/drift.h"
#include "file/file.h"
#include "core/shared.h"
#include "miscadmin.h"
#include "model/model.h"
#include "nodes/nodeFuncs.h"
#include "sync/declare.h"
#include "sync/verbs.h"
#include "utils/builtins.h"

static Jsonb *as_json(const Declaration *declaration);
static bool moved(const Declaration *declaration);
static void forget(const Sync *old);
static bool reads_anew(const Sync *old, const Sync *new);
static bool reads_files_anew(const Sync *old, const Sync *new);
static bool queries_differ(const Sync *old, const Sync *new);

int64
declare_store(const Declaration *declaration)
{
	Oid			type = JSONBOID;
	Datum		json = JsonbPGetDatum(as_json(declaration));
	bool		isnull;
	int64		id;
	Sync	   *stored;
	char	   *table = NULL;

	if (declaration->old)
	{
		capture_remove(declaration->old);
		if (moved(declaration))
			forget(declaration->old);
	}

	id = DatumGetInt64(own_value("SELECT activate._store($1)", 1, &type, &json, NULL, &isnull));
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not declare sync \"%s\": another transaction has declared one of that name meanwhile",
						declaration->name),
				 errhint("Look at that one, then try again.")));

	declare_store_watch(declaration, id);

	/* read again: capture sees what every later reader will see */
	stored = sync_load(id, CurrentMemoryContext);
	if (stored->kind == SYNC_TO_LOCAL)
		model_refuse_cycle(id, stored->name);
	capture_install(stored);
	drift_declared(stored);
	if (!capture_by_key(stored, &table))
		ereport(NOTICE,
				(errmsg("a change of table \"%s\", which sync \"%s\" watches, may change rows of other keys: each will compare everything", table, stored->name),
				 errhint("Where the source reads it, the watched columns must be equal to the key: joined by \"=\", grouped by it, without LIMIT or a window over all rows.")));
	if (declaration->old && reads_anew(declaration->old, stored))
		verb_count("UPDATE activate._watermark SET value = NULL WHERE sync = $1", id, NULL);
	if (declaration->old)
		declare_conflict_changed(declaration->old, stored);
	if (declaration->old && reads_files_anew(declaration->old, stored))
		verb_count("DELETE FROM activate.file WHERE sync = $1", id, NULL);
	sync_changed();
	return id;
}

static void
push_key(JsonbParseState **state, const char *name)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value;

	value.type = jbvNull;
	if (text)
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, text);
		value.val.string.len = strlen(text);
	}
	pushJsonbValue(state, token, &value);
}

static void
push_field(JsonbParseState **state, const char *name, const char *text)
{
	push_key(state, name);
	push_text(state, WJB_VALUE, text);
}

static void
push_document(JsonbParseState **state, const char *name, Jsonb *document)
{
	JsonbValue	value;

	push_key(state, name);
	value.type = jbvNull;
	if (document)
	{
		/* keys must stay objects: a binary value is unpacked by the builder */
		value.type = jbvBinary;
		value.val.binary.data = &document->root;
		value.val.binary.len = VARSIZE_ANY_EXHDR(document);
	}
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_list(JsonbParseState **state, const char *name, const List *texts)
{
	ListCell   *cell;

	push_key(state, name);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, texts)
		push_text(state, WJB_ELEM, lfirst(cell));
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_reads(JsonbParseState **state, const Declaration *declaration)
{
	List	   *oids = NIL;
	ListCell   *cell;

	foreach(cell, model_reads(declaration->query))
		oids = lappend(oids, psprintf("%u", lfirst_oid(cell)));
	push_list(state, "reads", oids);
}

static void
push_columns(JsonbParseState **state, const Declaration *declaration)
{
	List	   *names = NIL;
	List	   *types = NIL;
	List	   *targets = NIL;
	ListCell   *cell;

	foreach(cell, declaration->keys)
	{
		DeclaredKey *key = lfirst(cell);

		names = lappend(names, key->name);
		types = lappend(types, format_type_with_typemod(key->column->vartype, key->column->vartypmod));
		targets = lappend(targets, key->target);
	}
	push_list(state, "key_columns", names);
	push_list(state, "key_types", types);
	push_list(state, "target_key", targets);

	names = types = NIL;
	foreach(cell, declaration->columns)
	{
		DeclaredColumn *column = lfirst(cell);
		Oid			type = OidIsValid(column->type) ? column->type : exprType(column->expression);

		names = lappend(names, column->name);
		types = lappend(types, format_type_with_typemod(type == UNKNOWNOID ? TEXTOID : type, column->typmod));
	}
	push_list(state, "columns", names);
	push_list(state, "column_types", types);
}

/* The fields are the columns of activate.sync; activate._store() takes it from there. */
static Jsonb *
as_json(const Declaration *declaration)
{
	static const char *const kinds[] = {"api", "local", "foreign"};
	JsonbParseState *state = NULL;
	Oid			source = declaration->source->relation;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_field(&state, "id", declaration->old ? psprintf(INT64_FORMAT, declaration->old->id) : NULL);
	push_field(&state, "name", declaration->name);
	push_field(&state, "source", declaration->source_text);
	push_field(&state, "target", declaration->target);
	push_field(&state, "key", declaration->key_text);
	push_document(&state, "map", declaration->map);
	push_field(&state, "mode", declaration->mode_text);
	push_field(&state, "capture", declaration->capture_text);
	push_field(&state, "schedule", declaration->schedule);
	push_field(&state, "owner", GetUserNameFromId(declaration->owner, false));
	push_document(&state, "options", declaration->options);
	push_field(&state, "kind", kinds[declaration->kind == SYNC_TO_API ? 0 : declaration->kind == SYNC_TO_LOCAL ? 1 : 2]);
	push_field(&state, "source_rel", OidIsValid(source) ? psprintf("%u", source) : NULL);
	push_field(&state, "target_rel", psprintf("%u", declaration->target_rel));
	push_field(&state, "search_path", sync_kept_search_path());
	push_columns(&state, declaration);
	push_field(&state, "cursor_type", declaration->cursor ?
			   format_type_with_typemod(declaration->cursor->vartype, declaration->cursor->vartypmod) : NULL);
	push_field(&state, "query_tree", nodeToString(declaration->query));
	push_field(&state, "tree_major", psprintf("%d", SYNC_TREE_MAJOR));
	push_reads(&state, declaration);
	push_field(&state, "epoch", psprintf("%d", declaration->old ? declaration->old->epoch + moved(declaration) : 0));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Do the kept keys mean something else from now on? */
static bool
moved(const Declaration *declaration)
{
	const Sync *old = declaration->old;
	ListCell   *cell;
	int			i = 0;

	if (old->kind != declaration->kind || old->target_rel != declaration->target_rel ||
		old->nkeys != list_length(declaration->keys))
		return true;
	foreach(cell, declaration->keys)
	{
		DeclaredKey *key = lfirst(cell);

		if (strcmp(old->key[i], key->name) != 0 ||
			strcmp(old->key_types[i], format_type_with_typemod(key->column->vartype, key->column->vartypmod)) != 0)
			return true;
		i++;
	}
	return false;
}

static void
forget(const Sync *old)
{
	int64		pending = sync_forget(old->id);

	if (pending > 0)
		ereport(NOTICE,
				(errmsg("target or key of sync \"%s\" changed: %lld pending intents were discarded",
						old->name, (long long) pending)));
}

/*
 * A cursor that has passed rows begins anew if they may be others now (map,
 * options.where): the next run sends what differs.  Rows without a key, and
 * events, cannot be told from what was sent; they begin anew only with
 * another cursor, of which the old watermark says nothing.
 */
static bool
reads_anew(const Sync *old, const Sync *new)
{
	if (old->capture != CAPTURE_CURSOR || new->capture != CAPTURE_CURSOR)
		return false;
	if (strcmp(old->cursor_type, new->cursor_type) != 0 ||
		strcmp(sync_option_text(old, "cursor"), sync_option_text(new, "cursor")) != 0)
		return true;
	if (new->mode == SYNC_APPEND || new->nkeys == 0)
		return false;
	return queries_differ(old, new);
}

/* The same of files that are loaded. */
static bool
reads_files_anew(const Sync *old, const Sync *new)
{
	return new->mode != SYNC_APPEND && new->nkeys > 0 && file_by_ledger(new) && queries_differ(old, new);
}

static bool
queries_differ(const Sync *old, const Sync *new)
{
	char	   *reason;
	char	   *before = sync_query(old, &reason);
	char	   *now = sync_query(new, &reason);

	return before == NULL || now == NULL || strcmp(before, now) != 0;
}
