/*
 * sql.c
 *	  The room's functions of SQL: activate_connector(), and two private ones
 *	  that show what a definition makes of rows and of answers.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "connector/definition.h"
#include "core/compat.h"
#include "core/own.h"
#include "core/shared.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

ACTIVATE_FUNCTION(activate_connector);
ACTIVATE_FUNCTION(connector_sql_request);
ACTIVATE_FUNCTION(connector_sql_answer);

static void
connector_check_admin(void)
{
	Oid			admin = get_role_oid("activate_admin", true);

	if (!superuser() && !(OidIsValid(admin) && has_privs_of_role(GetUserId(), admin)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to define a connector"),
				 errhint("Only superusers and members of activate_admin may define connectors.")));
}

static void
connector_check_name(const char *name)
{
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the definition of the connector has no name"),
				 errhint("Add the member \"name\", as in {\"name\": \"crm\", ...}.")));
	if (*name == '\0' || strlen(name) >= NAMEDATALEN ||
		name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a connector: \"%s\"", name),
				 errhint("Use at most %d lower case letters, digits, \"_\" and \"-\".", NAMEDATALEN - 1)));
}

void
connector_check_definer(const char *name)
{
	connector_check_admin();
	connector_check_name(name);
}

Jsonb *
connector_patched(Jsonb *definition, Jsonb *patch)
{
	return definition_merge(definition, patch);
}

char *
connector_define(Jsonb *definition)
{
	JsonbValue	root = definition_root(definition);
	char	   *name = definition_text(&root, "name");
	Oid			types[] = {TEXTOID, JSONBOID};
	Datum		values[2];

	connector_check_admin();
	connector_check_definition(definition);
	connector_check_name(name);
	values[0] = CStringGetTextDatum(name);
	values[1] = JsonbPGetDatum(definition);

	if (!DatumGetBool(own_value("SELECT activate._connector_store($1, $2)", 2, types, values, NULL, NULL)))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("connector \"%s\" is part of activate and cannot be replaced", name),
				 errhint("Give your connector another name.")));
	shared_announce_at_commit();
	return name;
}

Datum
activate_connector(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(connector_define(PG_GETARG_JSONB_P(0))));
}

static OutboxOp
sql_op(const char *name)
{
	static const OutboxOp ops[] = {OUTBOX_INSERT, OUTBOX_UPDATE, OUTBOX_UPSERT, OUTBOX_DELETE};

	for (int i = 0; name != NULL && i < lengthof(ops); i++)
	{
		if (strcmp(outbox_op_name(ops[i]), name) == 0)
			return ops[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid operation \"%s\" of a row", name ? name : ""),
			 errhint("Valid operations are: insert, update, upsert, delete.")));
}

static Jsonb *
sql_object(const JsonbValue *from, const char *name)
{
	JsonbValue	value;

	if (!definition_get_in(from, name, &value) || value.type != jbvBinary)
		return NULL;
	return JsonbValueToJsonb(&value);
}

/* [{"op", "id", "seq", "sync", "key", "target_key", "row", "remote_id"}, ...] */
static ConnectorRow *
sql_rows(Jsonb *json, int *n)
{
	JsonbValue	root = definition_root(json);
	DefinitionMember *elements = definition_members(&root, n);
	ConnectorRow *rows = palloc0(sizeof(ConnectorRow) * (*n + 1));

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json) || *n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows must be a JSON array of at least one row"),
				 errhint("Write [{\"op\": \"upsert\", \"key\": {...}, \"row\": {...}}, ...].")));
	for (int i = 0; i < *n; i++)
	{
		const JsonbValue *from = &elements[i].value;
		const char *id = definition_text(from, "id");
		const char *sync = definition_text(from, "sync");

		rows[i].op = sql_op(definition_text(from, "op"));
		rows[i].id = id ? id : "00000000-0000-0000-0000-000000000000";
		rows[i].sync = sync ? sync : "";
		rows[i].seq = definition_int(from, "seq", 0);
		rows[i].key = sql_object(from, "key");
		rows[i].target_key = sql_object(from, "target_key");
		rows[i].row = sql_object(from, "row");
		rows[i].remote_id = definition_text(from, "remote_id");
	}
	return rows;
}

static void
sql_append(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, "%s\"%s\": ", out->data[out->len - 1] == '{' ? "" : ", ", name);
	if (value != NULL)
		template_append_string(out, value);
	else
		appendStringInfoString(out, "null");
}

static char *
sql_type(const HttpRequest *request)
{
	const char *header;

	for (int i = 0; (header = http_request_header_at(request, i)) != NULL; i++)
	{
		if (pg_strncasecmp(header, "Content-Type:", 13) == 0)
			return pstrdup(header + 13 + strspn(header + 13, " "));
	}
	return NULL;
}

Datum
connector_sql_request(PG_FUNCTION_ARGS)
{
	Connector  *connector = connector_load(PG_GETARG_OID(0), CurrentMemoryContext);
	char	   *call_key = text_to_cstring(PG_GETARG_TEXT_PP(2));
	StringInfoData out;
	HttpRequest *request;
	int			n;
	ConnectorRow *rows = sql_rows(PG_GETARG_JSONB_P(1), &n);

	request = connector_first_request(connector, rows, n, call_key, CurrentMemoryContext);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	sql_append(&out, "method", request->method);
	sql_append(&out, "url", request->url);
	sql_append(&out, "body", request->body ?
			   pg_any_to_server(request->body, request->body_len, PG_UTF8) : NULL);
	sql_append(&out, "type", sql_type(request));
	appendStringInfoChar(&out, '}');
	http_request_free(request);
	PG_RETURN_JSONB_P(definition_parse(out.data, "request", true));
}

static const char *
sql_class(AnswerClass class)
{
	static const char *const names[] = {
		[ANSWER_OK] = "ok",
		[ANSWER_WARNED] = "warned",
		[ANSWER_REJECTED] = "rejected",
		[ANSWER_RETRY] = "retry",
		[ANSWER_THROTTLED] = "throttled",
		[ANSWER_AUTH] = "auth",
		[ANSWER_CONFIG] = "config",
		[ANSWER_LOCKED] = "locked",
		[ANSWER_OUTAGE] = "outage",
		[ANSWER_AMBIGUOUS] = "ambiguous",
		[ANSWER_SPLIT] = "split"
	};

	return names[class];
}

/* A request that came back, without there having been one. */
static HttpRequest
sql_answered(int status, char *headers, bytea *body)
{
	HttpRequest request = {0};

	/* 0: none came */
	request.outcome = status == 0 ? HTTP_TIMED_OUT : HTTP_ANSWERED;
	request.status = status;
	request.sent = true;
	request.headers = headers;
	request.answer_len = VARSIZE_ANY_EXHDR(body);
	request.answer = pnstrdup(VARDATA_ANY(body), request.answer_len);
	return request;
}

Datum
connector_sql_answer(PG_FUNCTION_ARGS)
{
	Connector  *connector = connector_load(PG_GETARG_OID(0), CurrentMemoryContext);
	int			n;
	ConnectorRow *rows = sql_rows(PG_GETARG_JSONB_P(1), &n);
	HttpRequest request = sql_answered(PG_GETARG_INT32(2), text_to_cstring(PG_GETARG_TEXT_PP(4)),
									   PG_GETARG_BYTEA_PP(3));
	RowAnswer  *answers = palloc0(sizeof(RowAnswer) * n);
	StringInfoData out;
	int64		retry_after_ms;
	AnswerClass class;

	class = connector_answer(connector, NULL, &request, rows, n, answers, &retry_after_ms);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	sql_append(&out, "class", sql_class(class));
	appendStringInfo(&out, ", \"retry_after_ms\": " INT64_FORMAT ", \"rows\": [", retry_after_ms);
	for (int i = 0; i < n; i++)
	{
		appendStringInfo(&out, "%s{\"code\": %d", i > 0 ? ", " : "", answers[i].code);
		sql_append(&out, "class", sql_class(answers[i].class));
		sql_append(&out, "reason", answers[i].reason);
		sql_append(&out, "remote_id", answers[i].remote_id);
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoString(&out, "]}");
	PG_RETURN_JSONB_P(definition_parse(out.data, "answer", true));
}
