/*
 * watch.c
 *	  options.watch of a declaration: the tables whose changes make keys of the
 *	  sync due, and the columns in which these keys are.
 *
 *		{"sales.orders": "customer_id", "sales.transfer": ["payer", "payee"]}
 *
 * Columns stand in the order of the sync's key.  Capture "trigger" is what it
 * means, so it need not be said.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/own.h"
#include "miscadmin.h"
#include "sync/declare.h"
#include "sync/verbs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

static void watch_table(Declaration *declaration, const char *name, const JsonbValue *columns);
static Oid	watched_relation(const Declaration *declaration, const char *name);
static void watch_columns(Declaration *declaration, Oid relation, const char *name, const char *columns);
static void check_column_type(const char *table, Oid relation, const DeclaredKey *key, const char *column, AttrNumber attno);
static void check_partitions(const Declaration *declaration);

bool
declare_watches(const Declaration *declaration)
{
	return capture_watches(declaration->options);
}

void
declare_watch_implies(Declaration *declaration)
{
	if (!declare_watches(declaration))
		return;
	if (strcmp(declaration->capture_text, "diff") == 0)
		declaration->capture_text = pstrdup("trigger");
	if (strcmp(declaration->capture_text, "trigger") != 0 || strcmp(declaration->mode_text, "append") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"watch\" goes with capture \"trigger\" and with rows that have a key"),
				 errhint("Leave the capture out, or say \"trigger\"; modes are upsert, insert, update, mirror, replace.")));
}

/* A source that is made of what is watched need not have triggers itself. */
bool
declare_has_no_triggers(const Declaration *declaration)
{
	Oid			source = declaration->source->relation;
	char		relkind = OidIsValid(source) ? get_rel_relkind(source) : '\0';

	return relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE;
}

void
declare_watch(Declaration *declaration)
{
	JsonbValue	buffer;
	JsonbValue *watch;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	if (!declare_watches(declaration))
		return;
	if (declaration->kind != SYNC_TO_LOCAL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"watch\" needs a local table as target, and \"%s\" is none", declaration->target),
				 errhint("Keep the rows in a table by a sync with \"watch\", and sync that table with capture \"trigger\".")));
	watch = getKeyJsonValueFromContainer(&declaration->options->root, "watch", 5, &buffer);
	iterator = JsonbIteratorInit(watch->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			watch_table(declaration, name, &value);
	}
	check_partitions(declaration);
}

static void
watch_table(Declaration *declaration, const char *name, const JsonbValue *columns)
{
	Oid			relation = watched_relation(declaration, name);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (columns->type == jbvString)
	{
		watch_columns(declaration, relation, name, pnstrdup(columns->val.string.val, columns->val.string.len));
		return;
	}
	if (columns->type == jbvBinary && JsonContainerIsArray(columns->val.binary.data) &&
		JsonContainerSize(columns->val.binary.data) > 0)
	{
		iterator = JsonbIteratorInit(columns->val.binary.data);
		while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		{
			if (token != WJB_ELEM)
				continue;
			if (value.type != jbvString)
				break;
			watch_columns(declaration, relation, name, pnstrdup(value.val.string.val, value.val.string.len));
		}
		if (token == WJB_DONE)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"watch\" does not say which columns of table \"%s\" hold the key", name),
			 errhint("Write their names in the order of the key, \"tenant, customer_id\"; or a list of such texts, each of which is a key.")));
}

static Oid
watched_relation(const Declaration *declaration, const char *name)
{
	RangeVar   *range = makeRangeVarFromNameList(compat_qualified_name(name));
	Oid			relation = RangeVarGetRelid(range, AccessShareLock, true);
	char		relkind;

	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" of option \"watch\" does not exist", name),
				 errhint("Name the tables that the source is made of, for example {\"sales.orders\": \"customer_id\"}.")));
	relkind = get_rel_relkind(relation);
	if ((relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE) ||
		get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" cannot be watched: it is no table that stays", name),
				 errhint("Views, materialized views and foreign tables have no row triggers: name the tables that they are made of.")));
	if (relation == declaration->target_rel)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a sync cannot watch its own target \"%s\"", name),
				 errhint("Each row that it writes would make that row due again.")));
	if (pg_class_aclcheck(relation, GetUserId(), ACL_TRIGGER) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to put a trigger on \"%s\"", name),
				 errhint("Option \"watch\" needs the privilege TRIGGER on each table that it names.")));
	return relation;
}

static void
watch_columns(Declaration *declaration, Oid relation, const char *name, const char *columns)
{
	DeclaredWatch *watch = palloc0(sizeof(DeclaredWatch));
	List	   *names;
	List	   *keys = NIL;
	ListCell   *cell;
	ListCell   *key;

	foreach(key, declaration->keys)
		keys = lappend(keys, makeString(((DeclaredKey *) lfirst(key))->name));
	watch->relation = relation;
	if (!SplitIdentifierString(pstrdup(columns), ',', &names) || list_length(names) != list_length(keys))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" of table \"%s\" in option \"watch\" does not stand for the key of the sync", columns, name),
				 errhint("Write a column name for each column of the key, in its order: %s.", name_list(keys))));
	forboth(cell, names, key, declaration->keys)
	{
		char	   *column = lfirst(cell);
		AttrNumber	attno = get_attnum(relation, column);

		if (attno <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("table \"%s\" of option \"watch\" has no column \"%s\"", name, column),
					 errhint("Name its columns that hold the key: %s.", name_list(keys))));
		check_column_type(name, relation, lfirst(key), column, attno);
		watch->names = lappend(watch->names, column);
		watch->attributes = lappend_int(watch->attributes, attno);
	}
	foreach(cell, declaration->watched)
	{
		DeclaredWatch *other = lfirst(cell);

		if (other->relation == relation && equal(other->attributes, watch->attributes))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("\"%s\" of table \"%s\" is named twice in option \"watch\"", columns, name)));
	}
	declaration->watched = lappend(declaration->watched, watch);
}

/*
 * The key is queued as JSON of the column's type and read as that of the key's:
 * of these types every value of the one is the same value of the other.
 */
static bool
stands_for(Oid type, Oid key)
{
	type = getBaseType(type);
	key = getBaseType(key);
	if (type == key)
		return true;
	switch (key)
	{
		case INT4OID:
			return type == INT2OID;
		case INT8OID:
			return type == INT2OID || type == INT4OID;
		case NUMERICOID:
			return type == INT2OID || type == INT4OID || type == INT8OID;
		case TEXTOID:
		case VARCHAROID:
			return type == TEXTOID || type == VARCHAROID;
		default:
			return false;
	}
}

static void
check_column_type(const char *table, Oid relation, const DeclaredKey *key, const char *column, AttrNumber attno)
{
	Oid			type = get_atttype(relation, attno);

	if (!stands_for(type, key->column->vartype))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of the watched table \"%s\" is of type %s, the key's column \"%s\" of type %s", column, table,
						format_type_be(type), key->name, format_type_be(key->column->vartype)),
				 errhint("Cast the key in the source: CAST(... AS %s) AS %s.", format_type_be(type), quote_identifier(key->name))));
}

static bool
is_partition_of(Oid relation, Oid top)
{
	return OidIsValid(relation) && get_rel_relispartition(relation) && list_member_oid(get_partition_ancestors(relation), top);
}

/* A partition has the trigger of its table: it cannot have another of that name. */
static void
check_partitions(const Declaration *declaration)
{
	List	   *relations = list_make1_oid(declaration->source->relation);
	ListCell   *cell;
	ListCell   *other;

	foreach(cell, declaration->watched)
		relations = lappend_oid(relations, ((DeclaredWatch *) lfirst(cell))->relation);
	foreach(cell, relations)
		foreach(other, relations)
			if (is_partition_of(lfirst_oid(cell), lfirst_oid(other)))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("table \"%s\" is a partition of \"%s\": one sync cannot watch both",
								get_rel_name(lfirst_oid(cell)), get_rel_name(lfirst_oid(other))),
						 errhint("Watch the partitioned table: changes of all of its partitions are seen.")));
}

void
declare_store_watch(const Declaration *declaration, int64 id)
{
	Oid			types[4] = {INT8OID, REGCLASSOID, TEXTARRAYOID, INT2ARRAYOID};
	ListCell   *cell;

	if (declaration->old)
		verb_count("DELETE FROM activate._watch WHERE sync = $1", id, NULL);
	foreach(cell, declaration->watched)
	{
		DeclaredWatch *watch = lfirst(cell);
		int			n = list_length(watch->names);
		Datum	   *names = palloc(sizeof(Datum) * n);
		Datum	   *attributes = palloc(sizeof(Datum) * n);
		Datum		values[4];

		for (int i = 0; i < n; i++)
		{
			names[i] = CStringGetTextDatum(list_nth(watch->names, i));
			attributes[i] = Int16GetDatum(list_nth_int(watch->attributes, i));
		}
		values[0] = Int64GetDatum(id);
		values[1] = ObjectIdGetDatum(watch->relation);
		values[2] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
		values[3] = PointerGetDatum(construct_array(attributes, n, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
		(void) own_value("SELECT activate._store_watch($1, $2, $3, $4)", 4, types, values, NULL, NULL);
	}
}
