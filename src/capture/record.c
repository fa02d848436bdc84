/*
 * record.c
 *	  The argument of a function that takes a record, for the many rows of one
 *	  statement: what its columns are is looked up once.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "capture/change.h"
#include "funcapi.h"
#include "utils/typcache.h"

static CaptureRecord *
row_of(FunctionCallInfo fcinfo, Oid type, int32 typmod)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(type, typmod);
	MemoryContext previous = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	CaptureRecord *row = palloc0(sizeof(CaptureRecord));

	row->type = type;
	row->typmod = typmod;
	row->desc = CreateTupleDescCopy(desc);
	row->values = palloc(Max(desc->natts, 1) * sizeof(Datum));
	row->isnull = palloc(Max(desc->natts, 1) * sizeof(bool));
	MemoryContextSwitchTo(previous);
	ReleaseTupleDesc(desc);
	fcinfo->flinfo->fn_extra = row;
	return row;
}

CaptureRecord *
capture_record(FunctionCallInfo fcinfo, HeapTupleHeader header)
{
	CaptureRecord *row = fcinfo->flinfo->fn_extra;
	Oid			type = HeapTupleHeaderGetTypeId(header);
	int32		typmod = HeapTupleHeaderGetTypMod(header);
	HeapTupleData tuple;

	if (row == NULL || row->type != type || row->typmod != typmod)
		row = row_of(fcinfo, type, typmod);
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, row->desc, row->values, row->isnull);
	return row;
}
