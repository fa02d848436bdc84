/*
 * application.c
 *	  All that an application holds, read through its foreign table.
 *
 * Compared is what is both mapped and readable, and comes back as it was sent:
 * a column that the definition sends in another form (a digest, a telephone
 * number) is left out, because to report what nobody has changed is worse than
 * to miss something.
 *
 * The application is read first, into memory that spills to disk, and only then
 * what was sent: so a message that was delivered meanwhile is known to be one,
 * by its time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compare/compare.h"
#include "core/own.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "quality/quality.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

static void check_sync(const Sync *sync, const char *verb);
static void check_rights(const Sync *sync, const char *verb);
static void find_columns(Comparing *it);
static const TemplateColumn *column_named(const Connector *connector, const char *name);
static bool comes_back(const TemplateColumn *column, const char *type);
static bool finds_by_key(const Comparing *it);
static bool finds_by_id(const Comparing *it);
static Datum text_array(char **texts, int n);

void
compare_prepare(Comparing *it, const Sync *sync, const char *verb)
{
	memset(it, 0, sizeof(*it));
	it->sync = sync;
	check_sync(sync, verb);
	it->connector = connector_load(sync->target_rel, CurrentMemoryContext);
	if (!it->connector->read.possible)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s sync \"%s\": its target \"%s\" cannot be read", verb, sync->name, sync->target),
				 errhint("Only an object whose definition has \"read\" can be compared with what was sent.")));
	check_rights(sync, verb);
	find_columns(it);
	it->by_key = finds_by_key(it);
	if (!it->by_key && !finds_by_id(it))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s sync \"%s\": nothing tells which record of \"%s\" is whose", verb, sync->name, sync->target),
				 errhint("Map each column of the key as it is to a column of the target, or let the object's key be the id that the API answers with.")));
}

static void
check_sync(const Sync *sync, const char *verb)
{
	if (sync->kind != SYNC_TO_API)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s sync \"%s\": its target \"%s\" is no table of a web API", verb, sync->name, sync->target),
				 errhint("A table is compared by each run; look at it with SQL.")));
	if (sync->implicit || sync->mode == SYNC_APPEND || sync->nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s sync \"%s\"", verb, sync->name),
				 errdetail("What it sends are events, of which the target need not keep anything."),
				 errhint("Syncs to web APIs that have a key and another mode than \"append\" can be compared.")));
	if (!OidIsValid(sync->target_rel))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot %s sync \"%s\": its target \"%s\" is gone", verb, sync->name, sync->target)));
}

/* Else the error would come from a statement that nobody wrote. */
static void
check_rights(const Sync *sync, const char *verb)
{
	if (!OidIsValid(sync->owner) || pg_class_aclcheck(sync->target_rel, sync->owner, ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck_all(sync->target_rel, sync->owner, ACL_SELECT, ACLMASK_ANY) == ACLCHECK_OK)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("cannot %s sync \"%s\": its owner may not read target \"%s\"", verb, sync->name, sync->target),
			 errhint("Grant SELECT on it to role \"%s\".", sync->owner_name)));
}

static void
find_columns(Comparing *it)
{
	const Sync *sync = it->sync;

	it->columns = palloc(sizeof(char *) * Max(sync->ncolumns, 1));
	it->types = palloc(sizeof(char *) * Max(sync->ncolumns, 1));
	it->policies = palloc(sizeof(char *) * Max(sync->ncolumns, 1));
	it->silent = palloc(sizeof(bool) * Max(sync->ncolumns, 1));
	for (int i = 0; i < sync->ncolumns; i++)
	{
		const TemplateColumn *column = column_named(it->connector, sync->columns[i]);
		const char *policy = sync_conflict_policy(sync->options, sync->columns[i]);

		if (column == NULL || !comes_back(column, sync->column_types[i]) || strcmp(policy, "ignore") == 0)
			continue;
		it->columns[it->n] = sync->columns[i];
		it->policies[it->n] = unconstify(char *, policy);
		it->types[it->n] = sync->column_types[i];
		it->silent[it->n] = column->change != NULL && column->change->null != NULL_SEND;
		it->n++;
	}
}

/* Of the foreign table as it is now. */
static const TemplateColumn *
column_named(const Connector *connector, const char *name)
{
	if (get_attnum(connector->table, name) == InvalidAttrNumber)
		return NULL;
	for (int i = 0; i < connector->ncolumns; i++)
		if (strcmp(connector->columns[i].name, name) == 0)
			return &connector->columns[i];
	return NULL;
}

/* Does a reader find what was sent?  What reading undoes is in docs/connectors.md, "Values". */
static bool
comes_back(const TemplateColumn *column, const char *type)
{
	const TemplateChange *change = column->change;

	if (column->skip)
		return false;
	if (change == NULL)
		return true;
	if (change->nsteps > 0 || change->as == AS_ARRAY || change->as == AS_JSON)
		return false;
	switch (change->date)
	{
		case DATE_AS_IT_IS:
		case DATE_ISO:
			return true;
		case DATE_DAY:
			return strcmp(type, "date") == 0;
		case DATE_UNIX:
		case DATE_UNIX_MS:
			return strcmp(type, "date") == 0 || strcmp(type, "timestamp with time zone") == 0 ||
				strcmp(type, "timestamp without time zone") == 0;
		default:
			return false;
	}
}

bool
compare_can(const Connector *connector, const char *name, const char *type)
{
	const TemplateColumn *column = column_named(connector, name);

	return column != NULL && comes_back(column, type);
}

static bool
is_compared(const Comparing *it, const char *name)
{
	for (int i = 0; i < it->n; i++)
		if (strcmp(it->columns[i], name) == 0)
			return true;
	return false;
}

static bool
finds_by_key(const Comparing *it)
{
	for (int i = 0; i < it->sync->nkeys; i++)
		if (it->sync->target_key[i] == NULL || !is_compared(it, it->sync->target_key[i]))
			return false;
	return true;
}

static bool
finds_by_id(const Comparing *it)
{
	return it->connector->nkeys == 1 && column_named(it->connector, it->connector->key[0]) != NULL;
}

static Datum
text_array(char **texts, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(texts[i]);
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

void
compare_arguments(const Comparing *it, Oid *types, Datum *values)
{
	Datum	   *flags = palloc(sizeof(Datum) * Max(it->n, 1));

	for (int i = 0; i < it->n; i++)
		flags[i] = BoolGetDatum(it->silent[i]);
	types[0] = types[1] = TEXTARRAYOID;
	types[2] = get_array_type(BOOLOID);
	types[3] = TEXTARRAYOID;
	values[0] = text_array(it->columns, it->n);
	values[1] = text_array(it->types, it->n);
	values[2] = PointerGetDatum(construct_array(flags, it->n, BOOLOID, 1, true, TYPALIGN_CHAR));
	values[3] = text_array(it->policies, it->n);
	types[4] = BOOLOID;
	values[4] = BoolGetDatum(it->connector->read.style != PAGE_NUMBER && it->connector->read.style != PAGE_OFFSET);
}

char *
compare_statement(const Comparing *it, const char *function)
{
	Oid			types[4] = {INT8OID, TEXTOID, BOOLOID, TIMESTAMPTZOID};
	Datum		values[4];

	values[0] = Int64GetDatum(it->sync->id);
	values[1] = CStringGetTextDatum(quality_fitting_query(it->sync));
	values[2] = BoolGetDatum(it->by_key);
	values[3] = TimestampTzGetDatum(it->since);
	return own_text(psprintf("SELECT activate.%s($1, $2, $3, $4)", function), 4, types, values);
}

/* What reads it: its key columns that are there tell a stranger's record. */
static char *
application_sql(const Comparing *it)
{
	Oid			types[6] = {OIDOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID, TEXTOID};
	Datum		values[6];
	char	   *newest = sync_conflict_newest(it->sync->options, "application");
	char	  **identity = palloc(sizeof(char *) * Max(it->connector->nkeys, 1));
	int			n = 0;

	for (int i = 0; i < it->connector->nkeys; i++)
		if (column_named(it->connector, it->connector->key[i]) != NULL)
			identity[n++] = it->connector->key[i];
	values[0] = ObjectIdGetDatum(it->sync->target_rel);
	values[1] = it->by_key ? text_array(it->sync->target_key, it->sync->nkeys) : text_array(it->connector->key, 1);
	values[2] = text_array(identity, n);
	values[3] = text_array(it->columns, it->n);
	values[4] = BoolGetDatum(it->by_key);
	/* no argument is NULL */
	values[5] = CStringGetTextDatum(newest ? newest : "");
	return own_text("SELECT activate._application_sql($1, $2, $3, $4, $5, nullif($6, ''))", 6, types, values);
}

void
compare_read(Comparing *it)
{
	MemoryContext context = CurrentMemoryContext;
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));
	char	   *sql = application_sql(it);
	SPIExecuteOptions options = {.read_only = true};
	int			result;

	it->since = GetCurrentTimestamp();
	it->desc = CreateTemplateTupleDesc(4);
	TupleDescInitEntry(it->desc, 1, "place", JSONBOID, -1, 0);
	TupleDescInitEntry(it->desc, 2, "identity", JSONBOID, -1, 0);
	TupleDescInitEntry(it->desc, 3, "content", JSONBOID, -1, 0);
	TupleDescInitEntry(it->desc, 4, "changed_at", TIMESTAMPTZOID, -1, 0);
	it->records = tuplestore_begin_heap(false, false, work_mem);
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, it->records, context, true, NULL, NULL);
	if ((result = SPI_execute_extended(sql, &options)) < 0)
		elog(ERROR, "could not read the target of sync \"%s\": %s", it->sync->name, SPI_result_code_string(result));
	it->nrecords = tuplestore_tuple_count(it->records);

	relation->md.name = pstrdup("_application");
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = it->desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) it->nrecords;
	relation->reldata = it->records;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register what an application holds");

	/* tempting where there are no statistics; a plan that cannot do without one is no dearer for it */
	identity_set_local("enable_nestloop", "off");
	identity_set_local("jit", "off");
}

/* By a snapshot that is younger than what was read. */
void
compare_execute(const char *sql, const Oid *types, const Datum *values, Tuplestorestate *result)
{
	SPIExecuteOptions options = {.read_only = false};
	SPIPlanPtr	plan = SPI_prepare(sql, COMPARE_ARGUMENTS, unconstify(Oid *, types));
	int			code;

	if (plan == NULL)
		elog(ERROR, "could not prepare a comparison: %s", SPI_result_code_string(SPI_result));
	options.params = makeParamList(COMPARE_ARGUMENTS);
	for (int i = 0; i < COMPARE_ARGUMENTS; i++)
		options.params->params[i] = (ParamExternData) {.value = values[i], .isnull = false, .pflags = PARAM_FLAG_CONST, .ptype = types[i]};
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, result, CurrentMemoryContext, true, NULL, NULL);
	if ((code = SPI_execute_plan_extended(plan, &options)) < 0)
		elog(ERROR, "could not compare: %s", SPI_result_code_string(code));
}
