/*
 * conflict.c
 *	  options.conflict and options.newest of a declaration: who wins where an
 *	  application has changed what we sent.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compare/compare.h"
#include "core/own.h"
#include "sync/declare.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define NEWEST_HINT "Name the column that tells when a row was changed, on both sides: \"newest\": \"updated_at\", or {\"warehouse\": \"updated_at\", \"application\": \"modified\"}."

static void check_needs(const Declaration *declaration);
static void check_columns(const Declaration *declaration, JsonbContainer *policies);
static bool is_moment(Oid type);
static bool differs(const Sync *old, const Sync *new, const char *option);

static bool
says(const JsonbValue *value, const char *text)
{
	return value->type == jbvString && value->val.string.len == strlen(text) &&
		memcmp(value->val.string.val, text, value->val.string.len) == 0;
}

/* A value of "conflict", or of one column in it. */
static bool
is_policy(const JsonbValue *value, bool column)
{
	return says(value, "warehouse") || says(value, "application") || says(value, "newest") || (column && says(value, "ignore"));
}

bool
declare_is_conflict(const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	member;

	if (value->type != jbvBinary)
		return is_policy(value, false);
	if (!JsonContainerIsObject(value->val.binary.data))
		return false;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &member, true)) != WJB_DONE)
		if (token == WJB_VALUE && !is_policy(&member, true))
			return false;
	return true;
}

bool
declare_is_newest(const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	member;
	int			found = 0;

	if (value->type == jbvString)
		return value->val.string.len > 0;
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return false;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &member, true)) != WJB_DONE)
	{
		if (token == WJB_KEY && (says(&member, "warehouse") || says(&member, "application")))
			found++;
		else if (token == WJB_KEY || (token == WJB_VALUE && (member.type != jbvString || member.val.string.len == 0)))
			return false;
	}
	return found == 2;
}

/* Does a column say so? */
static bool
any_newest(const Declaration *declaration)
{
	JsonbValue	value;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	member;

	if (getKeyJsonValueFromContainer(&declaration->options->root, "conflict", strlen("conflict"), &value) == NULL)
		return false;
	if (value.type == jbvString)
		return says(&value, "newest");
	iterator = JsonbIteratorInit(value.val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &member, true)) != WJB_DONE)
		if (token == WJB_VALUE && says(&member, "newest"))
			return true;
	return false;
}

/* Once columns and key are known. */
void
declare_check_conflict(const Declaration *declaration)
{
	bool		newest = any_newest(declaration);
	JsonbValue	value;

	if (newest != (sync_conflict_newest(declaration->options, "warehouse") != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 newest ? errmsg("option \"conflict\" of a sync says \"newest\", but not by which column") :
				 errmsg("option \"newest\" of a sync means nothing without \"newest\" in option \"conflict\""),
				 errhint(NEWEST_HINT)));
	if (getKeyJsonValueFromContainer(&declaration->options->root, "conflict", strlen("conflict"), &value) == NULL ||
		says(&value, "warehouse"))
		return;
	check_needs(declaration);
	if (value.type == jbvBinary)
		check_columns(declaration, value.val.binary.data);
}

static void
check_needs(const Declaration *declaration)
{
	Sync		sync = {.options = declaration->options};

	if (declaration->kind != SYNC_TO_API || !declaration->connector->read.possible)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"conflict\" of a sync needs a web API that can be read, and target \"%s\" is none",
						declaration->target),
				 errhint("Give its object \"read\" in the definition, or leave the option out.")));
	if (declaration->mode == SYNC_APPEND || declaration->mode == SYNC_INSERT || declaration->keys == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"conflict\" means nothing in mode \"%s\", which overwrites nothing", declaration->mode_text),
				 errhint("Modes that do are upsert, update, mirror and replace, with a key.")));
	if (declaration->capture == CAPTURE_CURSOR)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"conflict\" needs runs that compare all rows, and capture \"cursor\" reads new ones only"),
				 errhint("Use capture \"diff\", \"trigger\" or \"full\".")));
	if (!sync_option_bool(&sync, "image", true))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"conflict\" of a sync needs images of what was sent"),
				 errhint("There are none where option \"image\" is false.")));
}

static void
check_columns(const Declaration *declaration, JsonbContainer *policies)
{
	JsonbIterator *iterator = JsonbIteratorInit(policies);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		const DeclaredColumn *column = NULL;
		ListCell   *cell;

		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE || strcmp(name, "*") == 0)
			continue;
		foreach(cell, declaration->columns)
			if (strcmp(((DeclaredColumn *) lfirst(cell))->name, name) == 0)
				column = lfirst(cell);
		if (column == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("option \"conflict\" names a column \"%s\" that is not sent", name),
					 errhint("Columns are those of the map; \"*\" stands for all others.")));
		if (says(&value, "warehouse") || says(&value, "ignore") ||
			compare_can(declaration->connector, name, format_type_be(column->type)))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of target \"%s\" cannot be compared: it is not read as it was sent", name, declaration->target),
				 errhint("Its policy in option \"conflict\" can be \"warehouse\" or \"ignore\".")));
	}
}

static bool
is_moment(Oid type)
{
	type = getBaseType(type);
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

/* The source's column by which the newest side is found; also looks at the application's.  NULL: none is declared. */
Var *
declare_newest(const Declaration *declaration)
{
	char	   *ours = sync_conflict_newest(declaration->options, "warehouse");
	char	   *theirs = sync_conflict_newest(declaration->options, "application");
	Var		   *column;
	AttrNumber	number;

	if (ours == NULL)
		return NULL;
	column = sync_source_column(declaration->source, ours);
	if (column == NULL || !is_moment(column->vartype))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the source has no column \"%s\" of a date or timestamp for option \"newest\"", ours),
				 errhint(NEWEST_HINT)));
	number = get_attnum(declaration->target_rel, theirs);
	if (number <= 0 || !is_moment(get_atttype(declaration->target_rel, number)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("target \"%s\" has no column \"%s\" of a date or timestamp for option \"newest\"", declaration->target, theirs),
				 errhint(NEWEST_HINT)));
	return column;
}

/* What was withheld under other rules is to be looked at anew. */
void
declare_conflict_changed(const Sync *old, const Sync *new)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(new->id);

	if (differs(old, new, "conflict") || differs(old, new, "newest"))
		(void) own_value("SELECT activate._conflict_forget($1)", 1, &type, &id, NULL, NULL);
}

static bool
differs(const Sync *old, const Sync *new, const char *option)
{
	JsonbValue	before;
	JsonbValue	now;
	bool		was = getKeyJsonValueFromContainer(&old->options->root, option, strlen(option), &before) != NULL;
	bool		is = getKeyJsonValueFromContainer(&new->options->root, option, strlen(option), &now) != NULL;

	if (!was || !is)
		return was || is;
	return compareJsonbContainers(&JsonbValueToJsonb(&before)->root, &JsonbValueToJsonb(&now)->root) != 0;
}
