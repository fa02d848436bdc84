/*
 * target.c
 *	  activate_target(): a web API declared in one call.
 *
 * Server, user mapping, schema and foreign tables are what a DBA would make by
 * hand, made with the caller's rights.  Server and mapping are made by direct
 * calls of the DDL functions: a statement's text is seen by too many (logs,
 * pg_stat_statements, event triggers) to hold a secret.
 *
 * Called again for the same name, options that are given replace those of
 * before, null removes one, objects are added; what a sync uses stays.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "core/compat.h"
#include "core/shared.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "receive/receive.h"
#include "parser/parse_func.h"
#include "rest/rest.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"

typedef struct Target
{
	char	   *name;
	char	   *connector;
	Jsonb	   *options;
	Jsonb	   *secret;			/* NULL: none given */
	char	   *mapping_for;	/* NULL: the caller */
	bool		files;			/* no API: of the room "file", to the right of this one */
	Oid			server;
	List	   *present;		/* options of the server before this call */
} Target;

ACTIVATE_FUNCTION(activate_target);

static bool target_receives(const Target *target);
static char *target_option(List *options, const char *name);
static void target_arguments(FunctionCallInfo fcinfo, Target *target);
static void target_check_right(void);
static void target_check_name(const char *name);
static void target_server(Target *target);
static List *target_options(const Target *target);
static void target_file_tables(const Target *target);
static void target_mapping(const Target *target);

Datum
activate_target(PG_FUNCTION_ARGS)
{
	Target		target = {0};
	char	   *before;

	PreventCommandIfReadOnly("activate_target()");
	target_check_right();
	target_arguments(fcinfo, &target);
	target_server(&target);
	target_mapping(&target);
	before = target_option(target.present, "objects");
	if (target_receives(&target))
		receive_declare(target.name);
	else if (target.files)
		target_file_tables(&target);
	else
		rest_target_tables(target.name, target.server, target.options, target.present != NIL,
						   before == NULL ? NULL : DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(before))));
	shared_announce_at_commit();
	PG_RETURN_TEXT_P(cstring_to_text(target.name));
}

static bool
target_receives(const Target *target)
{
	return strcmp(target->connector, "receive") == 0;
}

/* Objects of files are kept as their tables alone. */
static void
target_file_tables(const Target *target)
{
	Oid			types[2] = {TEXTOID, JSONBOID};
	JsonbValue	objects;

	if (getKeyJsonValueFromContainer(&target->options->root, "objects", strlen("objects"), &objects) == NULL)
		objects = (JsonbValue) {.type = jbvNull};
	(void) OidFunctionCall2(LookupFuncName(list_make2(makeString("activate"), makeString("_file_tables")), 2, types, false),
							CStringGetTextDatum(target->name),
							JsonbPGetDatum(objects.type == jbvNull ? DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
										   JsonbValueToJsonb(&objects)));
}

/* NULL: not given */
static char *
target_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

static void
target_check_right(void)
{
	if (compat_wrapper_aclcheck(get_foreign_data_wrapper_oid(CONNECTOR_WRAPPER, false),
								GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to declare a target"),
				 errhint("A target is declared by members of the role activate_admin, or of a role with USAGE on FOREIGN DATA WRAPPER activate.")));
}

static void
target_arguments(FunctionCallInfo fcinfo, Target *target)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name, connector and options of a target cannot be null"),
				 errhint("For example: activate_target('hook', 'webhook', '{\"url\": \"https://example.com/hook\"}').")));
	target->name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	target->connector = text_to_cstring(PG_GETARG_TEXT_PP(1));
	target->options = PG_GETARG_JSONB_P(2);
	target->secret = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);

	target_check_name(target->name);
	target->files = strcmp(target->connector, CONNECTOR_OF_FILES) == 0;
	(void) connector_definition(target->connector);
	if (!JB_ROOT_IS_OBJECT(target->options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options of target \"%s\" are no JSON object", target->name),
				 errhint("For example: '{\"base_url\": \"https://api.example.com\"}'.")));
	if (template_member_text(target->options, "connector") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"connector\" is no option of target \"%s\"", target->name),
				 errhint("The connector is the second argument of activate_target().")));
	if (target->secret != NULL)
		connector_check_secret(target->secret,
							   has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES));
	target->mapping_for = template_member_text(target->options, "mapping_for");
}

static void
target_check_name(const char *name)
{
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("name of a target cannot be empty"),
				 errhint("The name becomes the name of a foreign server and of a schema.")));
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("name of target \"%s\" is too long", name),
				 errhint("At most %d bytes are allowed.", NAMEDATALEN - 1)));
}

/* Does the option of the server say otherwise than what is asked for?  Never changed silently. */
static void
target_check_server(const Target *target, const ForeignServer *server)
{
	char	   *connector = target_option(server->options, "connector");
	char	   *wrapper = GetForeignDataWrapper(server->fdwid)->fdwname;

	if (strcmp(wrapper, CONNECTOR_WRAPPER) != 0 && strcmp(wrapper, CONNECTOR_FILE_WRAPPER) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("foreign server \"%s\" exists and is no target of activate", target->name),
				 errhint("Choose another name for the target.")));
	if (connector == NULL || strcmp(connector, target->connector) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("target \"%s\" exists with connector \"%s\"", target->name,
						connector ? connector : ""),
				 errhint("Choose another name, or remove it first: DROP SERVER %s CASCADE.",
						 quote_identifier(target->name))));
}

static void
target_server(Target *target)
{
	ForeignServer *server = GetForeignServerByName(target->name, true);
	char	   *proxy;
	char	   *url;

	if (server != NULL)
	{
		AlterForeignServerStmt *statement = makeNode(AlterForeignServerStmt);

		target_check_server(target, server);
		target->server = server->serverid;
		target->present = server->options;
		statement->servername = target->name;
		statement->options = target_options(target);
		if (statement->options != NIL)
			AlterForeignServer(statement);
	}
	else
	{
		CreateForeignServerStmt *statement = makeNode(CreateForeignServerStmt);

		statement->servername = target->name;
		statement->fdwname = target->files ? CONNECTOR_FILE_WRAPPER : CONNECTOR_WRAPPER;
		statement->options = lcons(makeDefElem("connector", (Node *) makeString(target->connector), -1),
								   target_options(target));
		target->server = CreateForeignServer(statement).objectId;
	}
	CommandCounterIncrement();

	if (target->files)
		return;

	/* By hand a server may name any host, for a dump to be restored; here it is told at once. */
	server = GetForeignServer(target->server);
	proxy = target_option(server->options, "proxy");
	if ((url = target_option(server->options, "base_url")) != NULL)
		http_check_url(url, proxy);
	if ((url = target_option(server->options, "url")) != NULL)
		http_check_url(url, proxy);
}

/* Objects are added to those of before, one by one. */
static char *
target_merge_objects(const Target *target, char *given)
{
	char	   *before = target_option(target->present, "objects");
	Datum		merged;

	if (before == NULL)
		return given;
	merged = DirectFunctionCall2(jsonb_concat,
								 DirectFunctionCall1(jsonb_in, CStringGetDatum(before)),
								 DirectFunctionCall1(jsonb_in, CStringGetDatum(given)));
	return JsonbToCString(NULL, &DatumGetJsonbP(merged)->root, 0);
}

/* The given options as DDL knows them: ADD, SET or DROP against those of before. */
static List *
target_options(const Target *target)
{
	List	   *options = NIL;
	JsonbIterator *iterator = JsonbIteratorInit(&target->options->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		bool		present;
		char	   *text;

		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE || strcmp(name, "mapping_for") == 0 || (target->files && strcmp(name, "objects") == 0))
			continue;
		present = target_option(target->present, name) != NULL;
		text = template_scalar_text(&value);
		if (text != NULL)
		{
			if (strcmp(name, "objects") == 0 && value.type == jbvBinary)
				text = target_merge_objects(target, text);
			options = lappend(options,
							  makeDefElemExtended(NULL, name, (Node *) makeString(text),
												  target->present == NIL ? DEFELEM_UNSPEC :
												  present ? DEFELEM_SET : DEFELEM_ADD, -1));
		}
		else if (present)
			options = lappend(options,
							  makeDefElemExtended(NULL, name, NULL, DEFELEM_DROP, -1));
	}
	return options;
}

/* The mapping of exactly this role (InvalidOid: public); false if there is none. */
static bool
target_read_mapping(Oid server, Oid userid, List **options)
{
	HeapTuple	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid),
										ObjectIdGetDatum(server));
	Datum		value;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return false;
	value = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	*options = isnull ? NIL : untransformRelOptions(value);
	ReleaseSysCache(tuple);
	return true;
}

/*
 * What verifies events is the owner's to say (or public): whoever may hand them
 * over could make a mapping of their own, with a secret of their own.
 */
static RoleSpec *
target_role_inbound(const Target *target, RoleSpec *role, Oid *userid)
{
	Oid			owner = GetForeignServer(target->server)->owner;
	char	   *name = GetUserNameFromId(owner, false);
	List	   *options;

	if (target->mapping_for == NULL)
	{
		if (!target_read_mapping(target->server, owner, &options) &&
			target_read_mapping(target->server, InvalidOid, &options))
			return role;
	}
	else if (strcmp(target->mapping_for, "public") == 0)
		return role;
	else if (strcmp(target->mapping_for, name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the secret of target \"%s\" is not read from a mapping of role \"%s\"", target->name, target->mapping_for),
				 errhint("Events are verified by the mapping of the target's owner, \"%s\", or of \"public\".", name)));
	*userid = owner;
	role->roletype = ROLESPEC_CSTRING;
	role->rolename = name;
	return role;
}

/* Whose mapping: the one named, else the one that the caller would use. */
static RoleSpec *
target_role(const Target *target, Oid *userid)
{
	RoleSpec   *role = makeNode(RoleSpec);
	List	   *options;

	role->location = -1;
	*userid = InvalidOid;
	role->roletype = ROLESPEC_PUBLIC;
	if (target_receives(target))
		return target_role_inbound(target, role, userid);
	if (target->mapping_for != NULL)
	{
		if (strcmp(target->mapping_for, "public") == 0)
			return role;
		*userid = get_role_oid(target->mapping_for, true);
		if (!OidIsValid(*userid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("role \"%s\" of option \"mapping_for\" does not exist",
							target->mapping_for),
					 errhint("Valid values are \"public\" and the name of a role.")));
		role->roletype = ROLESPEC_CSTRING;
		role->rolename = target->mapping_for;
		return role;
	}
	if (!target_read_mapping(target->server, GetUserId(), &options) &&
		target_read_mapping(target->server, InvalidOid, &options))
		return role;
	*userid = GetUserId();
	role->roletype = ROLESPEC_CURRENT_USER;
	return role;
}

static void
target_mapping(const Target *target)
{
	Oid			userid;
	RoleSpec   *role = target_role(target, &userid);
	List	   *before;
	List	   *options = NIL;
	char	   *secret = target->secret == NULL ? NULL :
		JsonbToCString(NULL, &target->secret->root, VARSIZE(target->secret));

	if (!target_read_mapping(target->server, userid, &before))
	{
		CreateUserMappingStmt *statement = makeNode(CreateUserMappingStmt);

		if (secret != NULL)
			options = list_make1(makeDefElem("secret", (Node *) makeString(secret), -1));
		statement->user = role;
		statement->servername = target->name;
		statement->options = options;
		CreateUserMapping(statement);
	}
	else if (secret != NULL)
	{
		AlterUserMappingStmt *statement = makeNode(AlterUserMappingStmt);

		statement->user = role;
		statement->servername = target->name;
		statement->options =
			list_make1(makeDefElemExtended(NULL, "secret", (Node *) makeString(secret),
										   target_option(before, "secret") ? DEFELEM_SET : DEFELEM_ADD,
										   -1));
		AlterUserMapping(statement);
	}
	CommandCounterIncrement();
	/* without one now, it may be given later by hand */
	if (secret != NULL && !target->files)
		connector_check_auth(target->server, userid);
}
