/*
 * expect.c
 *	  activate_expect(), activate_expect_drop(): expectations of relations, as
 *	  the caller, checked when they are declared.
 *
 * What is kept is the tree of SELECT condition FROM relation (of unique and
 * fresh_within: of their columns): renames are followed, as in a sync's query.
 * It is evaluated as the owner of the expectation; or, where rows are judged as
 * they pass, as the owner of the sync, if the other has his rights or no code
 * but PostgreSQL's own is run: may_run() in gate.c.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "core/identity.h"
#include "core/own.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_oper.h"
#include "quality/expect.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/typcache.h"

static char *text_argument(FunctionCallInfo fcinfo, int argument, const char *name);
static bool is_mine(const char *owner);
static Oid	find_relation(const char *text);
static void check_on_fail(const char *on_fail, const char *kind);
static Query *analyse(SyncSource *source, const char *text, const ExpectationText *parsed);
static Oid	owner_of(Oid relation, const char *name, int64 *id);
static int64 store(Oid relation, const char *name, const char *text, const char *on_fail, Jsonb *options, Oid owner,
				   const ExpectationText *parsed, Query *query);

ACTIVATE_FUNCTION(activate_expect);
ACTIVATE_FUNCTION(activate_expect_drop);
ACTIVATE_FUNCTION(activate_check_now);

Datum
activate_expect(PG_FUNCTION_ARGS)
{
	char	   *relation = text_argument(fcinfo, 0, "relation");
	char	   *name = text_argument(fcinfo, 1, "name");
	char	   *text = text_argument(fcinfo, 2, "expectation");
	char	   *on_fail = text_argument(fcinfo, 3, "on_fail");
	Jsonb	   *options = PG_ARGISNULL(4) ? DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
		PG_GETARG_JSONB_P(4);
	Oid			oid = find_relation(relation);
	Oid			owner;
	SyncSource *source;
	ExpectationText *parsed;
	Query	   *query;
	int64		id;

	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of an expectation may not be empty")));
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options of an expectation must be a JSON object"),
				 errhint("For example '{\"column\": \"email\", \"pattern\": \"@\"}'.")));
	owner = owner_of(oid, name, &id);
	source = sync_source_open(relation);
	parsed = expectation_parse(get_rel_name(oid), text, options);
	check_on_fail(on_fail, parsed->kind);
	query = analyse(source, text, parsed);
	id = store(oid, name, text, on_fail, options, OidIsValid(owner) ? owner : GetUserId(), parsed, query);
	gates_follow(oid);
	/* what is judged row by row is judged otherwise from now on */
	shared_announce_at_commit();
	PG_RETURN_INT64(id);
}

Datum
activate_expect_drop(PG_FUNCTION_ARGS)
{
	char	   *relation = text_argument(fcinfo, 0, "relation");
	char	   *name = text_argument(fcinfo, 1, "name");
	Oid			oid = find_relation(relation);
	Oid			type = INT8OID;
	Datum		value;
	int64		id;

	if (!OidIsValid(owner_of(oid, name, &id)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no expectation \"%s\" of \"%s\"", name, relation),
				 errhint("The relation activate.expectation lists them.")));
	value = Int64GetDatum(id);
	(void) own_value("SELECT activate._expect_drop($1)", 1, &type, &value, NULL, NULL);
	gates_follow(oid);
	shared_announce_at_commit();
	PG_RETURN_VOID();
}

Datum
activate_check_now(PG_FUNCTION_ARGS)
{
	char	   *what = text_argument(fcinfo, 0, "relation");
	char	   *only = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid			relation = find_relation(what);
	List	   *wanted = NIL;
	ListCell   *cell;

	if (strcmp(own_text("SELECT activate._installation()", 0, NULL, NULL), "copy") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is a copy of the one that declared its expectations"),
				 errhint("If it is the real one now, a superuser says so by activate_adopt().")));
	foreach(cell, expectations_of(0, list_make1_oid(relation)))
	{
		Expectation *it = lfirst(cell);

		if ((only == NULL || strcmp(only, it->name) == 0) && is_mine(it->owner_name))
			wanted = lappend(wanted, it);
	}
	if (wanted == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 only ? errmsg("there is no expectation \"%s\" of \"%s\"", only, what) : errmsg("nothing is expected of \"%s\"", what),
				 errhint("The relation activate.expectation lists what is expected; activate_expect() declares it.")));
	if (expectations_check(wanted, 0))
		gates_follow(relation);
	PG_RETURN_VOID();
}

/* May the caller see it? */
static bool
is_mine(const char *owner)
{
	Oid			role = get_role_oid(owner, true);
	Oid			admin = get_role_oid("activate_admin", true);

	return (OidIsValid(role) && has_privs_of_role(GetUserId(), role)) || (OidIsValid(admin) && has_privs_of_role(GetUserId(), admin));
}

static char *
text_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" may not be NULL", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

static Oid
find_relation(const char *text)
{
	Oid			relation = RangeVarGetRelid(makeRangeVarFromNameList(compat_qualified_name(text)), AccessShareLock, true);

	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s\" does not exist", text),
				 errhint("Expected is something of a table, view, materialized view or foreign table.")));
	return relation;
}

static void
check_on_fail(const char *on_fail, const char *kind)
{
	if (strcmp(on_fail, "warn") != 0 && strcmp(on_fail, "quarantine") != 0 && strcmp(on_fail, "hold") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown on_fail \"%s\" of an expectation", on_fail),
				 errhint("Valid are: warn, quarantine, hold.")));
	if (strcmp(on_fail, "quarantine") == 0 && strcmp(kind, "row") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no single row fails this expectation, so none can be quarantined"),
				 errhint("unique, fresh_within and row_count_between look at all rows together: use on_fail \"hold\" or \"warn\".")));
}

/* Whose it is, if there is one that the caller may change; InvalidOid: there is none. */
static Oid
owner_of(Oid relation, const char *name, int64 *id)
{
	Oid			types[2] = {OIDOID, TEXTOID};
	Datum		values[2] = {ObjectIdGetDatum(relation), CStringGetTextDatum(name)};
	char	   *owner = own_text("SELECT e.owner::text FROM activate._expectation e WHERE e.relation = $1 AND e.name = $2", 2, types, values);
	Oid			role;

	*id = 0;
	if (owner == NULL)
		return InvalidOid;
	*id = own_int64("SELECT e.id FROM activate._expectation e WHERE e.relation = $1 AND e.name = $2", 2, types, values);
	role = get_role_oid(owner, true);
	if (OidIsValid(role) && has_privs_of_role(GetUserId(), role))
		return role;
	/* an administrator's code is not run as somebody else: it becomes the administrator's */
	if (OidIsValid(get_role_oid("activate_admin", true)) && has_privs_of_role(GetUserId(), get_role_oid("activate_admin", true)))
		return GetUserId();
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("expectation \"%s\" of \"%s\" belongs to \"%s\"", name, get_rel_name(relation), owner),
			 errhint("Only members of that role and of activate_admin may change it; give yours another name.")));
}

static Query *
analyse(SyncSource *source, const char *text, const ExpectationText *parsed)
{
	List	   *targets = NIL;
	ListCell   *cell;
	bool		condition = strcmp(parsed->kind, "row") == 0;

	foreach(cell, parsed->columns)
	{
		Node	   *node = condition ? sync_source_condition_of(source, lfirst(cell), text, "expectation") :
			sync_source_expression_of(source, lfirst(cell), text, "expectation");
		int			n = list_length(targets) + 1;

		if (strcmp(parsed->kind, "unique") == 0 &&
			!OidIsValid(lookup_type_cache(exprType(node), TYPECACHE_LT_OPR)->lt_opr))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("values of type %s cannot be told apart by \"unique\"", format_type_be(exprType(node))),
					 errhint("Use columns of a type that can be sorted, or a cast: unique((document::text)).")));
		targets = lappend(targets, makeTargetEntry((Expr *) node, n, psprintf("e1_%d", n), false));
	}
	return sync_source_query(source, targets, NULL);
}

static int64
store(Oid relation, const char *name, const char *text, const char *on_fail, Jsonb *options, Oid owner,
	  const ExpectationText *parsed, Query *query)
{
	Oid			types[12] = {OIDOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, NAMEOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, INT4OID, BOOLOID};
	Datum		values[12];
	char		nulls[13] = "            ";

	values[0] = ObjectIdGetDatum(relation);
	values[1] = CStringGetTextDatum(name);
	values[2] = CStringGetTextDatum(text);
	values[3] = CStringGetTextDatum(on_fail);
	values[4] = JsonbPGetDatum(options);
	values[5] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(owner, false)));
	values[6] = CStringGetTextDatum(parsed->kind);
	values[7] = parsed->bounds ? JsonbPGetDatum(parsed->bounds) : (Datum) 0;
	if (parsed->bounds == NULL)
		nulls[7] = 'n';
	values[8] = CStringGetTextDatum(sync_kept_search_path());
	values[9] = CStringGetTextDatum(nodeToString(query));
	values[10] = Int32GetDatum(SYNC_TREE_MAJOR);
	values[11] = BoolGetDatum(expectation_is_harmless(query));
	return DatumGetInt64(own_value("SELECT activate._expect_store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
								   12, types, values, nulls, NULL));
}

/* One that is declared anew. */
typedef struct Anew
{
	int64		id;
	char	   *owner;
	char	   *search_path;
} Anew;

static void
declare_anew(void *arg)
{
	const Anew *it = arg;
	IdentityScope scope;
	Oid			types[1] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(it->id)};

	identity_enter_owner(&scope, get_role_oid(it->owner, false), it->search_path);
	SPI_connect();
	SPI_execute_with_args(psprintf("SELECT %s.activate_expect(relation::pg_catalog.text, name, expectation, on_fail, options)"
								   " FROM activate._expectation WHERE id = $1",
								   quote_identifier(identity_extension_schema())), 1, types, values, NULL, false, 0);
	SPI_finish();
	identity_leave_owner(&scope);
}

void
quality_adopt(void)
{
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	List	   *all = NIL;
	ListCell   *cell;

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute("SELECT id, owner, search_path FROM activate._expect_adopt()", false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(context);
		Anew	   *it = palloc0(sizeof(Anew));
		bool		isnull;

		it->id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		it->owner = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		it->search_path = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3);
		all = lappend(all, it);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);

	foreach(cell, all)
	{
		ErrorData  *error = attempt(declare_anew, lfirst(cell));

		if (error && attempt_was_cancelled(error))
			ReThrowError(error);
		if (error)
			ereport(WARNING,
					(errmsg("an expectation of \"%s\" could not be declared anew: %s", ((Anew *) lfirst(cell))->owner, error->message)));
	}
}
