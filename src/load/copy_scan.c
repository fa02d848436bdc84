/*
 * copy_scan.c
 *	  The scan that reads a COPY of another server.
 *
 * A row is a message (the protocol promises that); its values are made in the
 * memory of the present tuple, as those of any scan.  What receive functions
 * read they convert from the client's encoding, which is another server's
 * here and the same as ours: so that is what the client's is, for as long as
 * a row takes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "load/copy.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define SIGNATURE "PGCOPY\n\377\r\n\0"
#define SIGNATURE_LENGTH 11

typedef struct CopyScanState
{
	CustomScanState css;
	CopySource *source;
	CopyConnection *connection; /* NULL: nothing was asked for so far */
	bool		headed;			/* what comes before the first row was read */
	CopyColumn *column;			/* what is being read, for messages; NULL: none */
	StringInfoData message;
} CopyScanState;

static Node *create_state(CustomScan *scan);
static void begin_scan(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *exec_scan(CustomScanState *node);
static void end_scan(CustomScanState *node);
static void rescan(CustomScanState *node);
static TupleTableSlot *next_row(ScanState *node);
static void fetch_row(CopyScanState *state, TupleTableSlot *slot);
static bool recheck_row(ScanState *node, TupleTableSlot *slot);
static bool next_message(CopyScanState *state);
static void read_header(CopyScanState *state);
static void read_values(CopyScanState *state, TupleTableSlot *slot);
static void read_row(CopyScanState *state, TupleTableSlot *slot);
static Datum read_value(CopyScanState *state, CopyColumn *column, bool *isnull);
static Datum fixed_value(CopyColumn *column, char *data, int length);
static Datum function_value(CopyColumn *column, char *data, int length);
static Datum call_function(CopyColumn *column, char *data, int length);
static void say_column(void *arg);
pg_noreturn static void complain(CopySource *source);

static const CustomScanMethods scan_methods = {
	.CustomName = "activate copy",
	.CreateCustomScanState = create_state,
};

static const CustomExecMethods exec_methods = {
	.CustomName = "activate copy",
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = exec_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = rescan,
};

/* In the place of a scan of postgres_fdw; both address their columns in the same way. */
CustomScan *
copy_scan_make(ForeignScan *foreign, CopySource *source)
{
	CustomScan *scan = makeNode(CustomScan);

	scan->scan = foreign->scan;
	scan->scan.plan.type = T_CustomScan;
	scan->scan.plan.lefttree = NULL;	/* of a join that is checked again, which a scan of ours is not */
	scan->custom_scan_tlist = foreign->fdw_scan_tlist;
	scan->custom_relids = foreign->fs_relids;
	scan->custom_private = list_make1(makeConst(INTERNALOID, -1, InvalidOid, sizeof(Datum),
												PointerGetDatum(source), false, true));
	scan->methods = &scan_methods;
	return scan;
}

static Node *
create_state(CustomScan *scan)
{
	CopyScanState *state = (CopyScanState *) newNode(sizeof(CopyScanState), T_CustomScanState);

	state->css.methods = &exec_methods;
	state->source = (CopySource *) DatumGetPointer(linitial_node(Const, scan->custom_private)->constvalue);
	return (Node *) state;
}

static void
begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	/* the COPY starts with the first row that is asked for */
}

static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	return ExecScan(&node->ss, next_row, recheck_row);
}

static void
end_scan(CustomScanState *node)
{
	/* the connection ends with the statement, see copy_remote.c */
}

/* From the beginning again, in the same snapshot: what is left of it must be read for that. */
static void
rescan(CustomScanState *node)
{
	CopyScanState *state = (CopyScanState *) node;
	int			length;

	if (state->connection == NULL)
		return;
	while (copy_remote_next(state->connection, &length) != NULL)
		CHECK_FOR_INTERRUPTS();
	state->connection = NULL;
}

static bool
recheck_row(ScanState *node, TupleTableSlot *slot)
{
	return true;
}

static TupleTableSlot *
next_row(ScanState *node)
{
	TupleTableSlot *slot = node->ss_ScanTupleSlot;
	MemoryContext previous = MemoryContextSwitchTo(node->ps.ps_ExprContext->ecxt_per_tuple_memory);

	ExecClearTuple(slot);
	fetch_row((CopyScanState *) node, slot);
	MemoryContextSwitchTo(previous);
	return slot;
}

/* Leaves the slot empty at the end. */
static void
fetch_row(CopyScanState *state, TupleTableSlot *slot)
{
	if (state->connection == NULL)
	{
		state->connection = copy_remote_start(state->source->remote, state->source->sql);
		state->headed = false;
	}
	if (!next_message(state))
		return;
	if (!state->headed)
	{
		read_header(state);
		state->headed = true;
		if (state->message.cursor == state->message.len && !next_message(state))
			complain(state->source);
	}
	read_row(state, slot);
}

static bool
next_message(CopyScanState *state)
{
	StringInfo	message = &state->message;

	message->data = copy_remote_next(state->connection, &message->len);
	message->maxlen = message->len;
	message->cursor = 0;
	return message->data != NULL;
}

static const char *
take(CopyScanState *state, int length)
{
	StringInfo	message = &state->message;

	if (length < 0 || length > message->len - message->cursor)
		complain(state->source);
	message->cursor += length;
	return message->data + message->cursor - length;
}

static int16
take_int16(CopyScanState *state)
{
	uint16		value;

	memcpy(&value, take(state, sizeof(value)), sizeof(value));
	return (int16) pg_ntoh16(value);
}

static int32
take_int32(CopyScanState *state)
{
	uint32		value;

	memcpy(&value, take(state, sizeof(value)), sizeof(value));
	return (int32) pg_ntoh32(value);
}

static void
read_header(CopyScanState *state)
{
	if (memcmp(take(state, SIGNATURE_LENGTH), SIGNATURE, SIGNATURE_LENGTH) != 0)
		complain(state->source);
	/* flags of which we must know, and what an extension may have to say */
	if ((take_int32(state) >> 16) != 0)
		complain(state->source);
	(void) take(state, take_int32(state));
}

static void
read_row(CopyScanState *state, TupleTableSlot *slot)
{
	int			nfields = take_int16(state);
	int			client = pg_get_client_encoding();
	int			length;

	if (nfields == -1)
	{
		if (copy_remote_next(state->connection, &length) != NULL)
			complain(state->source);
		return;
	}
	if (nfields != state->source->nfields)
		complain(state->source);
	if (client == GetDatabaseEncoding())
	{
		read_values(state, slot);
		return;
	}

	PG_TRY();
	{
		(void) SetClientEncoding(GetDatabaseEncoding());
		read_values(state, slot);
	}
	PG_FINALLY();
	{
		(void) SetClientEncoding(client);
	}
	PG_END_TRY();
}

static void
read_values(CopyScanState *state, TupleTableSlot *slot)
{
	CopySource *source = state->source;
	ErrorContextCallback callback = {.callback = say_column, .arg = state, .previous = error_context_stack};

	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	error_context_stack = &callback;
	for (int i = 0; i < source->ncolumns; i++)
	{
		CopyColumn *column = &source->columns[i];

		state->column = column;
		slot->tts_values[column->position] = read_value(state, column, &slot->tts_isnull[column->position]);
	}
	error_context_stack = callback.previous;
	ExecStoreVirtualTuple(slot);
}

static Datum
read_value(CopyScanState *state, CopyColumn *column, bool *isnull)
{
	int			length = take_int32(state);
	char	   *data;

	*isnull = length == -1;
	if (*isnull)
	{
		/* a domain may refuse it */
		if (column->form >= COPY_RECEIVE && !column->function.fn_strict)
			(void) call_function(column, NULL, 0);
		return (Datum) 0;
	}
	data = unconstify(char *, take(state, length));
	if (column->form < COPY_RECEIVE)
		return fixed_value(column, data, length);
	return function_value(column, data, length);
}

pg_noreturn static void
bad_value(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("incorrect binary data format")));
}

static uint64
integer_of(const char *data, int length, int wanted)
{
	uint64		value = 0;

	if (length != wanted)
		bad_value();
	for (int i = 0; i < wanted; i++)
		value = value << 8 | (unsigned char) data[i];
	return value;
}

static Datum
timestamp_value(Timestamp value)
{
	if (!TIMESTAMP_NOT_FINITE(value) && !IS_VALID_TIMESTAMP(value))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return TimestampGetDatum(value);
}

static Datum
date_value(DateADT value)
{
	if (!DATE_NOT_FINITE(value) && !IS_VALID_DATE(value))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("date out of range")));
	return DateADTGetDatum(value);
}

static Datum
float8_value(uint64 bits)
{
	float8		value;

	memcpy(&value, &bits, sizeof(value));
	return Float8GetDatum(value);
}

static Datum
float4_value(uint32 bits)
{
	float4		value;

	memcpy(&value, &bits, sizeof(value));
	return Float4GetDatum(value);
}

static Datum
fixed_value(CopyColumn *column, char *data, int length)
{
	switch (column->form)
	{
		case COPY_BOOL:
			return BoolGetDatum(integer_of(data, length, 1) != 0);
		case COPY_INT2:
			return Int16GetDatum((int16) integer_of(data, length, 2));
		case COPY_INT4:
			return Int32GetDatum((int32) integer_of(data, length, 4));
		case COPY_INT8:
			return Int64GetDatum((int64) integer_of(data, length, 8));
		case COPY_FLOAT4:
			return float4_value((uint32) integer_of(data, length, 4));
		case COPY_FLOAT8:
			return float8_value(integer_of(data, length, 8));
		case COPY_TIMESTAMP:
			return timestamp_value((Timestamp) integer_of(data, length, 8));
		case COPY_DATE:
			return date_value((DateADT) integer_of(data, length, 4));
		case COPY_UUID:
			if (length != UUID_LEN)
				bad_value();
			return UUIDPGetDatum(memcpy(palloc(UUID_LEN), data, UUID_LEN));
		default:
			(void) pg_verify_mbstr(GetDatabaseEncoding(), data, length, false);
			return PointerGetDatum(cstring_to_text_with_len(data, length));
	}
}

/* Functions expect a zero behind the value: there is a byte behind the message, too. */
static Datum
function_value(CopyColumn *column, char *data, int length)
{
	char		behind = data[length];
	Datum		value;

	data[length] = '\0';
	value = call_function(column, data, length);
	data[length] = behind;
	return value;
}

static Datum
call_function(CopyColumn *column, char *data, int length)
{
	StringInfoData buffer = {.data = data, .len = length, .maxlen = length + 1};
	Datum		value;

	if (column->form == COPY_INPUT)
		return InputFunctionCall(&column->function, data, column->ioparam, column->typmod);
	value = ReceiveFunctionCall(&column->function, data ? &buffer : NULL, column->ioparam, column->typmod);
	if (buffer.cursor != buffer.len)
		bad_value();
	return value;
}

static void
say_column(void *arg)
{
	CopyScanState *state = arg;

	errcontext("column \"%s\" as it comes from server \"%s\"", state->column->name, state->source->remote->name);
}

static void
complain(CopySource *source)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("server \"%s\" sent something else than a COPY", source->remote->name)));
}
