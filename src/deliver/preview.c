/*
 * preview.c
 *	  activate_preview(): the requests that would be sent, without sending.
 *
 * The same rendering, deciding and building as for delivery, in the caller's
 * transaction.  The secret is not added: only the names of its headers and
 * query parameters are shown.  Of rows that are not enqueued yet, id and seq
 * are stand-ins, because both come from the intent.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/identity.h"
#include "core/own.h"
#include "deliver/engine.h"
#include "deliver/merge.h"
#include "deliver/owner.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "quality/quality.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define MOST_ROWS 10000
#define REDACTED "***"

/* What may become a message. */
typedef struct PreviewRow
{
	Jsonb	   *key;
	Jsonb	   *body;			/* not NULL: an event */
	OutboxOp	op;
	DeliverMerge merge;			/* of DML on a foreign table */
	const OutboxIntent *undo;	/* not NULL: an event, too */
	int64		run;			/* of the newest intent */
	bool		forced;
	int64		seq;
	uint64		nonce;
	Rendered	rendered;
} PreviewRow;

typedef struct Preview
{
	DeliverDeclaration declaration;
	int			limit;
	int			n;
	PreviewRow *rows;
	ReturnSetInfo *result;		/* NULL: calls are counted only */
	int64		sent_rows;
	int64		sent_bytes;
} Preview;

ACTIVATE_FUNCTION(activate_preview);

static void preview_sync(Preview *preview, Sync *sync);
static void preview_pending(Preview *preview);
static void preview_first_rows(void *arg);
static void preview_render(Preview *preview);
static int	preview_decide(Preview *preview, ConnectorRow *rows);
static void preview_calls(Preview *preview, ConnectorRow *rows, int n);
static int	preview_call(Preview *preview, ConnectorRow *rows, int n);

Datum
activate_preview(PG_FUNCTION_ARGS)
{
	Preview		preview = {.n = 0};
	Sync	   *sync;

	InitMaterializedSRF(fcinfo, 0);
	preview.result = (ReturnSetInfo *) fcinfo->resultinfo;
	preview.limit = PG_GETARG_INT32(1);
	if (preview.limit < 1 || preview.limit > MOST_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot preview %d rows", preview.limit),
				 errhint("Valid values of \"rows\" are 1 to %d.", MOST_ROWS)));
	sync = sync_require(text_to_cstring(PG_GETARG_TEXT_PP(0)), CurrentMemoryContext);
	if (sync->kind != SYNC_TO_API || !OidIsValid(sync->target_rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot preview sync \"%s\": its target \"%s\" is no table of a web API",
						sync->name, sync->target),
				 errhint("Only syncs whose target belongs to a server of the wrapper activate send requests.")));
	preview.declaration.auth = connector_auth(sync->server, sync->owner, CurrentMemoryContext);
	preview_sync(&preview, sync);
	return (Datum) 0;
}

int64
deliver_sample(const Sync *sync, int limit, int64 *bytes)
{
	Preview		preview = {.limit = limit};

	preview_sync(&preview, unconstify(Sync *, sync));
	*bytes = preview.sent_bytes;
	return preview.sent_rows;
}

static void
preview_sync(Preview *preview, Sync *sync)
{
	DeliverError error;
	ConnectorRow *rows;

	preview->declaration.sync = sync;
	preview->declaration.batch = sync_option_int(sync, "batch", 0);
	preview->declaration.connector = connector_load(sync->target_rel, CurrentMemoryContext);
	preview->rows = palloc0(sizeof(PreviewRow) * preview->limit);

	preview_pending(preview);
	if (preview->n > 0)
		preview_render(preview);
	else if (!sync->implicit && !deliver_subtransaction(preview_first_rows, preview, &error))
		ereport(ERROR,
				(errcode(error.sqlstate),
				 errmsg("could not read the source of sync \"%s\": %s", sync->name, error.message)));
	rows = palloc0(sizeof(ConnectorRow) * Max(preview->n, 1));
	preview_calls(preview, rows, preview_decide(preview, rows));
}

/* The row that the intent becomes part of: the last one of its key, if that can be. */
static PreviewRow *
find_coalescing(Preview *preview, const OutboxIntent *intent)
{
	bool		implicit = preview->declaration.sync->implicit;

	for (int i = preview->n - 1; (implicit ? JB_ROOT_COUNT(intent->key) > 0 : intent->undo != UNDO_NONE || intent->body == NULL) && i >= 0; i--)
	{
		PreviewRow *row = &preview->rows[i];

		if (compareJsonbContainers(&row->key->root, &intent->key->root) != 0)
			continue;
		if (row->undo != NULL)
			return NULL;
		if (implicit)
			return deliver_merge_add(&row->merge, intent) ? row : NULL;
		if (intent->undo != UNDO_NONE)
			return row->body == NULL && row->run == intent->run && intent->undo != UNDO_AGAIN ? row : NULL;
		if (row->body == NULL)
			return row;
	}
	return NULL;
}

static void
preview_pending(Preview *preview)
{
	List	   *intents = outbox_pending(preview->declaration.sync->id, MOST_ROWS, CurrentMemoryContext);
	ListCell   *cell;

	foreach(cell, intents)
	{
		OutboxIntent *intent = lfirst(cell);
		PreviewRow *row = find_coalescing(preview, intent);

		/* what is to be deleted for it will be held */
		if (intent->op == OUTBOX_TRUNCATE)
			continue;
		if (row == NULL && preview->n == preview->limit)
			continue;
		if (row == NULL)
		{
			row = &preview->rows[preview->n++];
			row->key = intent->key;
			row->body = intent->body;
			row->op = intent->op;
			deliver_merge_begin(&row->merge, intent, false);
		}
		else if (preview->declaration.sync->implicit)
		{
			row->body = row->merge.body;
			row->op = row->merge.op;
		}
		if (intent->undo != UNDO_NONE)
		{
			row->undo = intent;
			row->body = intent->body;
			row->op = intent->op;
		}
		row->run = intent->run;
		row->forced |= intent->forced;
		if (intent->id > row->seq)
		{
			row->seq = intent->id;
			row->nonce = intent->nonce;
		}
	}
}

static void
preview_render(Preview *preview)
{
	const Sync *sync = preview->declaration.sync;
	Jsonb	  **keys = palloc(sizeof(Jsonb *) * preview->n);
	int		   *places = palloc(sizeof(int) * preview->n);
	Rendered   *out = palloc0(sizeof(Rendered) * preview->n);
	char	   *reason;
	int			n = 0;

	for (int i = 0; i < preview->n; i++)
		if (preview->rows[i].body == NULL && preview->rows[i].undo == NULL && !sync->implicit)
		{
			places[n] = i;
			keys[n++] = preview->rows[i].key;
		}
	if (n == 0)
		return;
	if (!deliver_render(sync, keys, n, out, &reason, CurrentMemoryContext))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not render rows of sync \"%s\": %s", sync->name, reason)));
	for (int i = 0; i < n; i++)
		preview->rows[places[i]].rendered = out[i];
}

static char *
first_rows_sql(const Sync *sync, const char *query, bool judged)
{
	Oid			types[4] = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID};
	Datum		values[4];

	values[0] = CStringGetTextDatum(query);
	values[1] = deliver_text_array(sync->key, sync->nkeys);
	values[2] = deliver_text_array(sync->columns, sync->ncolumns);
	values[3] = BoolGetDatum(judged);
	return own_text("SELECT activate._preview_sql($1, $2, $3, $4)", 4, types, values);
}

static void
take_first_row(Preview *preview, HeapTuple tuple, TupleDesc desc)
{
	PreviewRow *row = &preview->rows[preview->n++];
	bool		isnull;

	row->key = DatumGetJsonbPCopy(SPI_getbinval(tuple, desc, 1, &isnull));
	row->rendered.found = true;
	row->rendered.row = DatumGetJsonbPCopy(SPI_getbinval(tuple, desc, 2, &isnull));
	row->rendered.hash = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
	row->op = OUTBOX_CHANGE;
	row->forced = true;			/* as a full run would */
}

/* The first rows of the source, as its owner sees them; in a subtransaction, which makes it read only. */
static void
preview_first_rows(void *arg)
{
	Preview    *preview = arg;
	const Sync *sync = preview->declaration.sync;
	MemoryContext caller = CurrentMemoryContext;
	DeliverOwner owner;
	Oid			type = INT4OID;
	Datum		value = Int32GetDatum(preview->limit);
	char	   *reason;
	bool		judged;
	char	   *query = quality_query(sync, &judged, &reason);
	char	   *sql;

	if (query == NULL || !OidIsValid(sync->owner))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s", query ? "its owner does not exist" : reason)));
	sql = first_rows_sql(sync, query, judged);
	deliver_owner_enter(&owner, sync, 0);
	SPI_connect();
	SPI_execute_with_args(sql, 1, &type, &value, NULL, true, preview->limit);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(caller);

		take_first_row(preview, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	deliver_owner_leave(&owner);
}

/* Which of the rows would be sent, and as what. */
static int
preview_decide(Preview *preview, ConnectorRow *rows)
{
	Sync	   *sync = preview->declaration.sync;
	Jsonb	  **keys = palloc(sizeof(Jsonb *) * Max(preview->n, 1));
	DeliverKnown *known = palloc0(sizeof(DeliverKnown) * Max(preview->n, 1));
	int			n = 0;

	for (int i = 0; i < preview->n; i++)
		keys[i] = preview->rows[i].key;
	if (preview->n > 0)
		deliver_known(sync->id, keys, preview->n, known, CurrentMemoryContext);
	for (int i = 0; i < preview->n; i++)
	{
		PreviewRow *from = &preview->rows[i];
		ConnectorRow *to = &rows[n];
		uint8		id[DELIVER_ID_LEN];
		DeliverText text;
		bool		event = from->body != NULL || from->undo != NULL || sync->implicit;

		deliver_kept_apply(sync, &known[i], &from->rendered, 1);
		if (from->merge.nothing || (from->undo && !deliver_undo_stands(from->undo, &known[i], false)))
			continue;
		if (event)
			to->op = from->op == OUTBOX_CHANGE ? outbox_mode_op(sync->mode) : from->op;
		else if (from->rendered.error || from->rendered.duplicate || from->rendered.flaw ||
				 deliver_decide(sync, from->rendered.found, from->rendered.hash, from->forced, false,
								&known[i], &to->op) != DECIDED_SEND ||
				 deliver_kept_refuses(to->op, &from->rendered, from->forced, false))
			continue;
		to->row = event ? deliver_kept_body(sync, &known[i], from->body) : to->op == OUTBOX_DELETE ? NULL : from->rendered.row;
		text = deliver_text(from->key, to->row);
		deliver_message_id(id, from->nonce, sync->id, to->op, &text);
		to->id = deliver_id_text(id, palloc(DELIVER_ID_TEXT));
		to->seq = from->seq;
		to->sync = sync->name;
		to->key = from->key;
		to->target_key = deliver_target_key(sync, from->key);
		to->remote_id = known[i].remote_id;
		n++;
	}
	return n;
}

/* A call of the first of n rows, as many as keep within its "max_bytes"; what is left moves to the front. */
static int
preview_some(Preview *preview, ConnectorRow *rows, int n)
{
	int			done = preview_call(preview, rows, n);

	memmove(rows, rows + done, sizeof(ConnectorRow) * (n - done));
	return n - done;
}

/* Calls as they would be formed: by operation where a call holds only one. */
static void
preview_calls(Preview *preview, ConnectorRow *rows, int n)
{
	DeliverSync view = {0};
	ConnectorRow *group = palloc(sizeof(ConnectorRow) * Max(n, 1));

	view.declaration = &preview->declaration;
	for (int list = 0; list < DELIVER_OPERATIONS; list++)
	{
		int			count = 0;

		for (int i = 0; i < n; i++)
		{
			if (deliver_operation(&view, rows[i].op) != list)
				continue;
			group[count++] = rows[i];
			if (count == deliver_sync_batch(&view, rows[i].op))
				count = preview_some(preview, group, count);
		}
		while (count > 0)
			count = preview_some(preview, group, count);
	}
}

static void
push_text_pair(JsonbParseState **state, const char *name, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static Jsonb *
preview_headers(const HttpRequest *request, const ConnectorAuth *auth)
{
	JsonbParseState *state = NULL;
	const char *header;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; (header = http_request_header_at(request, i)) != NULL; i++)
	{
		size_t		name = strcspn(header, ":;");
		const char *value = header + name + 1;

		while (*value == ' ')
			value++;
		/* set so that libcurl does not send one of its own */
		if (*value == '\0')
			continue;
		push_text_pair(&state, pnstrdup(header, name), value);
	}
	for (int i = 0; (header = connector_auth_header(auth, i)) != NULL; i++)
		push_text_pair(&state, header, REDACTED);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* As on the wire, but for the secret and what HTTP itself adds. */
static int64
preview_bytes(const HttpRequest *request)
{
	int64		bytes = strlen(request->method) + strlen(request->url) + request->body_len;
	const char *header;

	for (int i = 0; (header = http_request_header_at(request, i)) != NULL; i++)
		bytes += strlen(header) + 2;
	return bytes;
}

/* One of the requests of a call, as a row of the result; n: rows in it. */
static void
preview_request(Preview *preview, HttpRequest *request, int n)
{
	const Connector *connector = preview->declaration.connector;
	const ConnectorAuth *auth = preview->declaration.auth;
	StringInfoData url;
	Datum		values[5];
	bool		nulls[5] = {false};

	preview->sent_bytes += preview_bytes(request);
	if (preview->result == NULL)
	{
		http_request_free(request);
		return;
	}
	initStringInfo(&url);
	appendStringInfoString(&url, request->url);
	for (int i = 0; i < auth->nquery; i++)
	{
		template_append_query(&url, auth->query_names[i], "");
		appendStringInfoString(&url, REDACTED);
	}
	values[0] = CStringGetTextDatum(request->method);
	values[1] = PointerGetDatum(cstring_to_text_with_len(url.data, url.len));
	nulls[3] = request->body == NULL;
	values[3] = nulls[3] ? (Datum) 0 :
		CStringGetTextDatum(pg_any_to_server(request->body, request->body_len, PG_UTF8));
	/* for its header; people read the body as it is */
	if (connector->compress)
		http_request_compress(request);
	values[2] = JsonbPGetDatum(preview_headers(request, auth));
	values[4] = Int32GetDatum(n);
	tuplestore_putvalues(preview->result->setResult, preview->result->setDesc, values, nulls);
	http_request_free(request);
}

/* Of a job what makes it and fills it; of what is looked for first, the search.  How many of the rows it holds. */
static int
preview_call(Preview *preview, ConnectorRow *rows, int n)
{
	const Connector *connector = preview->declaration.connector;
	const ConnectorWrite *write = connector_write(connector, rows[0].op);
	const ConnectorJob *job = write ? write->job : NULL;
	char		key[DELIVER_ID_TEXT] = "";
	HttpRequest *request;
	int			fitting;
	size_t		bytes;

	if (write)
		deliver_call_key(rows, n, write, key);
	request = connector_first_request(connector, rows, n, key, CurrentMemoryContext);
	if ((fitting = connector_fitting(connector, request, rows, n, &bytes)) < n)
	{
		http_request_free(request);
		return preview_call(preview, rows, fitting);
	}
	preview->sent_rows += n;
	preview_request(preview, request, job != NULL && job->body != NULL ? 0 : n);
	for (int i = 0; job != NULL && i < job->nsteps; i++)
		preview_request(preview, connector_job_request(connector, write, i, "job_id", NULL, rows, n, key, CurrentMemoryContext),
						job->steps[i].rows ? n : 0);
	return n;
}
