/*
 * receive.c
 *	  activate_receive(): an event that somebody pushes, into the table of its target.
 *
 * The caller is a gateway that knows nothing: it hands over headers and body,
 * and has no right but USAGE on the target.  Whether the event is genuine the
 * secret of the target's owner says, and it is written with the rights of the
 * table's owner: who could insert into the table could pass by the signature.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/compat.h"
#include "core/table.h"
#include "commands/defrem.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "receive/receive.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

/* An index holds it. */
#define ID_MAX_BYTES	500

ACTIVATE_FUNCTION(activate_receive);
ACTIVATE_FUNCTION(activate_receive_bytes);

static bool receive(const char *name, Jsonb *payload, ReceivedCall *call);
static const ForeignServer *find_target(const char *name);
static bool is_paused(const char *name);
static Jsonb *read_body(const ReceivedCall *call);
static char *event_id(const ReceivedCall *call, Jsonb *payload);
static Jsonb *kept_headers(const ReceivedCall *call);

static ReceivedCall
call_arguments(FunctionCallInfo fcinfo)
{
	ReceivedCall call = {0};

	if (PG_ARGISNULL(0) || (PG_ARGISNULL(1) && PG_ARGISNULL(3)))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the name of a target, and payload or body of an event, cannot be null"),
				 errhint("For example: activate_receive('stripe_events', headers => '{\"Stripe-Signature\": \"...\"}', body => '...').")));
	call.headers = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2);
	if (call.headers != NULL && !JB_ROOT_IS_OBJECT(call.headers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers of an event are no JSON object"),
				 errhint("For example: '{\"X-Hub-Signature-256\": \"sha256=...\"}'.")));
	return call;
}

Datum
activate_receive(PG_FUNCTION_ARGS)
{
	ReceivedCall call = call_arguments(fcinfo);

	if (!PG_ARGISNULL(3))
	{
		text	   *body = PG_GETARG_TEXT_PP(3);
		char	   *text = text_to_cstring(body);

		/* as it was on the way */
		call.body = (char *) pg_do_encoding_conversion((unsigned char *) text, VARSIZE_ANY_EXHDR(body), GetDatabaseEncoding(), PG_UTF8);
		call.length = call.body == text ? VARSIZE_ANY_EXHDR(body) : strlen(call.body);
	}
	PG_RETURN_BOOL(receive(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1), &call));
}

Datum
activate_receive_bytes(PG_FUNCTION_ARGS)
{
	ReceivedCall call = call_arguments(fcinfo);

	if (!PG_ARGISNULL(3))
	{
		bytea	   *body = PG_GETARG_BYTEA_PP(3);

		call.body = VARDATA_ANY(body);
		call.length = VARSIZE_ANY_EXHDR(body);
	}
	PG_RETURN_BOOL(receive(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1), &call));
}

static bool
receive(const char *name, Jsonb *payload, ReceivedCall *call)
{
	PreventCommandIfReadOnly("activate_receive()");
	call->server = find_target(name);
	call->inbound = connector_inbound(call->server->options);
	if (call->inbound->form != SIGNATURE_NONE)
		receive_verify(call, connector_auth(call->server->serverid, call->server->owner, CurrentMemoryContext)->signing);
	/* only now: before, nobody knew whose it is */
	if (is_paused(name))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("target \"%s\" is paused and takes no events", name),
				 errhint("Senders try again later.  activate_resume('target:%s') lets it take them.", name)));
	if (call->body != NULL)
		payload = read_body(call);

	/* who is told that it was taken will not send it again */
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	return receive_store(call, event_id(call, payload), payload, kept_headers(call));
}

static const ForeignServer *
find_target(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL || strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, "activate") != 0 ||
		!connector_is_inbound(server->options))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no target \"%s\" that receives events", name),
				 errhint("Declare it: activate_target('%s', 'receive', options, secret).", name)));
	if (compat_server_aclcheck(server->serverid, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to hand over events to target \"%s\"", name),
				 errhint("GRANT USAGE ON FOREIGN SERVER %s TO the role of the gateway.", quote_identifier(name))));
	return server;
}

static bool
is_paused(const char *name)
{
	OwnTable	table;
	ScanKeyData key;
	NameData	server;
	bool		found;

	namestrcpy(&server, name);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&server));
	own_table_open(&table, "_paused_target", "_paused_target_pkey", 0, AccessShareLock);
	found = own_table_find(&table, &key, 1);
	own_table_close(&table);
	return found;
}

char *
receive_header(const ReceivedCall *call, const char *name)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		is_it = false;

	if (call->headers == NULL || name == NULL)
		return NULL;
	it = JsonbIteratorInit(&call->headers->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			is_it = value.val.string.len == strlen(name) &&
				pg_strncasecmp(value.val.string.val, name, value.val.string.len) == 0;
		if (token != WJB_VALUE || !is_it)
			continue;
		/* some gateways make a list of each */
		if (value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data) && JsonContainerSize(value.val.binary.data) == 1)
			value = *getIthJsonbValueFromContainer(value.val.binary.data, 0);
		return value.type == jbvString || value.type == jbvNumeric ? template_scalar_text(&value) : NULL;
	}
	return NULL;
}

/* JSON, or what is none as a JSON text. */
static Jsonb *
read_body(const ReceivedCall *call)
{
	char	   *text = pg_any_to_server(call->body, call->length, PG_UTF8);

	if (text == call->body)
		text = pnstrdup(call->body, call->length);
	if (call->inbound->text)
	{
		JsonbValue	value = {.type = jbvString, .val.string = {.len = strlen(text), .val = text}};

		return JsonbValueToJsonb(&value);
	}
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

static char *
event_id(const ReceivedCall *call, Jsonb *payload)
{
	const ConnectorInbound *inbound = call->inbound;
	JsonbValue	value;
	char	   *id = NULL;

	if (inbound->id != NULL)
	{
		if (template_path(payload, inbound->id, &value) != NULL && (value.type == jbvString || value.type == jbvNumeric))
			id = template_scalar_text(&value);
	}
	else if (inbound->id_header != NULL)
		id = receive_header(call, inbound->id_header);
	else
	{
		const char *bytes = call->body ? call->body : JsonbToCString(NULL, &payload->root, VARSIZE(payload));
		size_t		length = call->body ? call->length : strlen(bytes);
		Datum		digest = DirectFunctionCall1(sha256_bytea, PointerGetDatum(cstring_to_text_with_len(bytes, length)));

		digest = DirectFunctionCall2(binary_encode, digest, CStringGetTextDatum("hex"));
		return TextDatumGetCString(digest);
	}
	if (id == NULL || *id == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event for target \"%s\" has no id", call->server->servername),
				 inbound->id ? errdetail("There is no text and no number at \"%s\" in its body.", inbound->id)
				 : errdetail("There is no header \"%s\".", inbound->id_header),
				 errhint("Say where it stands in option \"id\" or \"id_header\" of the target.")));
	if (strlen(id) > ID_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the id of an event for target \"%s\" is longer than %d bytes", call->server->servername, ID_MAX_BYTES)));
	return id;
}

static bool
is_kept(const ReceivedCall *call, const char *name)
{
	const ConnectorInbound *inbound = call->inbound;
	ListCell   *lc;

	/* what verifies it is nobody's business afterwards; of style "token" it is the secret */
	if (connector_header_is_secret(name) || (inbound->header != NULL && pg_strcasecmp(name, inbound->header) == 0))
		return false;
	foreach(lc, inbound->headers)
		if (pg_strcasecmp(lfirst(lc), name) == 0)
			return true;
	return inbound->all_headers;
}

/* Under names in lower case; NULL where none were handed over. */
static Jsonb *
kept_headers(const ReceivedCall *call)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		kept = false;

	if (call->headers == NULL)
		return NULL;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	it = JsonbIteratorInit(&call->headers->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			char	   *name = pnstrdup(value.val.string.val, value.val.string.len);

			for (char *p = name; *p; p++)
				*p = pg_ascii_tolower((unsigned char) *p);
			kept = is_kept(call, name);
			value.val.string.val = name;
		}
		if (kept && (token == WJB_KEY || token == WJB_VALUE))
			(void) pushJsonbValue(&state, token, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
