/*
 * store.c
 *	  A changed declaration is written, and what is known of differences.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/own.h"
#include "core/shared.h"
#include "drift/change.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

static Datum changes(const DriftEdit *edit, bool compiled);

static Datum
text_array(const List *texts)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(list_length(texts), 1));
	ListCell   *cell;

	foreach(cell, texts)
		values[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(construct_array(values, list_length(texts), TEXTOID, -1, false, TYPALIGN_INT));
}

/* The fields of activate.sync that become others, as a document. */
static Datum
changes(const DriftEdit *edit, bool compiled)
{
	Oid			types[11] = {INT8OID, TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[11];
	char		nulls[12] = "           ";

	values[0] = Int64GetDatum(edit->sync->id);
	values[1] = edit->source ? CStringGetTextDatum(edit->source) : (Datum) 0;
	nulls[1] = edit->source ? ' ' : 'n';
	values[2] = edit->key ? CStringGetTextDatum(edit->key) : (Datum) 0;
	nulls[2] = edit->key ? ' ' : 'n';
	values[3] = text_array(edit->map_names);
	values[4] = text_array(edit->map_texts);
	values[5] = text_array(edit->option_names);
	values[6] = text_array(edit->option_values);
	values[7] = compiled ? CStringGetTextDatum(nodeToString(edit->query)) : (Datum) 0;
	nulls[7] = compiled ? ' ' : 'n';
	values[8] = text_array(edit->columns);
	values[9] = text_array(edit->column_types);
	values[10] = text_array(edit->key_types);
	return own_value("SELECT activate._drift_changes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", 11, types, values, nulls, NULL);
}

Datum
drift_proposal(const DriftEdit *edit)
{
	return changes(edit, false);
}

void
drift_apply(const DriftEdit *edit)
{
	Oid			types[2] = {INT8OID, JSONBOID};
	Datum		values[2] = {Int64GetDatum(edit->sync->id), changes(edit, true)};

	(void) own_value("SELECT activate._drift_apply($1, $2)", 2, types, values, NULL, NULL);
	drift_changed();
}

int64
drift_note(const Sync *sync, const Drift *drift, const DriftEdit *edit, const char *state, const char *reason, bool remote)
{
	Oid			types[12] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, FLOAT4OID, TEXTOID, TEXTOID, BOOLOID};
	Datum		values[12];
	char		nulls[13] = "            ";
	bool		isnull;
	Datum		id;

	values[0] = Int64GetDatum(sync->id);
	values[1] = CStringGetTextDatum(drift_kind_name(drift->kind));
	values[2] = CStringGetTextDatum(drift_relation_name(drift->relation));
	values[3] = CStringGetTextDatum(drift->name);
	values[4] = drift->was ? CStringGetTextDatum(drift->was) : (Datum) 0;
	nulls[4] = drift->was ? ' ' : 'n';
	values[5] = drift->became ? CStringGetTextDatum(drift->became) : (Datum) 0;
	nulls[5] = drift->became ? ' ' : 'n';
	values[6] = CStringGetTextDatum(drift_words(drift));
	values[7] = drift_proposal(edit);
	values[8] = Float4GetDatum(drift->confidence);
	values[9] = CStringGetTextDatum(state);
	values[10] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	nulls[10] = reason ? ' ' : 'n';
	values[11] = BoolGetDatum(remote);
	id = own_value("SELECT activate._drift_note($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", 12, types, values, nulls, &isnull);
	return isnull ? 0 : DatumGetInt64(id);
}

void
drift_forget(int64 id)
{
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(id);

	(void) own_value("DELETE FROM activate.drift WHERE id = $1", 1, &type, &value, NULL, NULL);
}

/* Tells every session and worker, at commit. */
void
drift_changed(void)
{
	CacheInvalidateRelcacheByRelid(get_relname_relid("sync", get_namespace_oid("activate", false)));
	shared_announce_at_commit();
}
