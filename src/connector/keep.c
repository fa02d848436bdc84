/*
 * keep.c
 *	  A refresh token that replaces the one in the user mapping: written there,
 *	  and on disk before the access token that came with it is used.
 *
 * By the same calls as DDL, so that no statement holds it.  A mapping that was
 * changed meanwhile is left as it is: whoever changed it knows better.  A file is
 * not ours to write.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "connector/definition.h"
#include "connector/form.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/syscache.h"

static RoleSpec *
role_of(Oid userid)
{
	RoleSpec   *role = makeNode(RoleSpec);

	role->location = -1;
	role->roletype = OidIsValid(userid) ? ROLESPEC_CSTRING : ROLESPEC_PUBLIC;
	if (OidIsValid(userid))
		role->rolename = GetUserNameFromId(userid, false);
	return role;
}

static Jsonb *
with_renewal(Jsonb *secret, const char *renewal)
{
	StringInfoData patch;

	initStringInfo(&patch);
	appendStringInfoString(&patch, "{\"oauth2\": {\"refresh_token\": ");
	template_append_string(&patch, renewal);
	appendStringInfoString(&patch, "}}");
	return definition_merge(secret, definition_parse(patch.data, "secret", true));
}

/* False: it stands in a file. */
bool
connector_token_keep(ConnectorAuth *auth, const char *renewal)
{
	Oid			found;
	const char *text = definition_option(mapping_options(auth->token->account.server, auth->userid, &found), "secret");
	Jsonb	   *secret = text ? definition_parse(text, "secret", true) : NULL;
	AlterUserMappingStmt *statement;
	JsonbValue	oauth2;
	JsonbValue	value;
	char	   *now;

	if (secret == NULL || found != auth->userid || !definition_get(secret, "oauth2", &oauth2) ||
		!definition_get_in(&oauth2, "refresh_token", &value))
		return true;
	if (value.type != jbvString)
		return false;
	now = template_scalar_text(&value);
	if (strcmp(now, auth->refresh_token) != 0)
		return true;
	secret = with_renewal(secret, renewal);
	statement = makeNode(AlterUserMappingStmt);
	statement->user = role_of(auth->userid);
	statement->servername = GetForeignServer(auth->token->account.server)->servername;
	statement->options = list_make1(makeDefElemExtended(NULL, "secret",
														(Node *) makeString(JsonbToCString(NULL, &secret->root, VARSIZE(secret))),
														DEFELEM_SET, -1));
	AlterUserMapping(statement);
	CommandCounterIncrement();
	return true;
}

/* It is kept: from now on these are the credentials. */
void
connector_token_renewed(ConnectorAuth *auth, const char *renewal)
{
	auth->refresh_token = pstrdup(renewal);
	auth->secrets = lappend(auth->secrets, auth->refresh_token);
	oauth_digest(auth, &auth->token->digest);
}
