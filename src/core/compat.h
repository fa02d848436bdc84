/*
 * compat.h
 *	  The one place that knows which PostgreSQL major we are compiled for.
 *
 * The code is written for the newest major; each shim says which major made
 * it necessary.  The floor is 15 (shmem_request_hook, MarkGUCPrefixReserved).
 */
#ifndef ACTIVATE_COMPAT_H
#define ACTIVATE_COMPAT_H

#include "fmgr.h"
#include "storage/latch.h"
#include "storage/proc.h"

#if PG_VERSION_NUM < 150000
#error "activate needs PostgreSQL 15 or later"
#endif

/*
 * 15 does not export what PG_FUNCTION_INFO_V1 declares once we compile with
 * -fvisibility=hidden; this does, on every major.
 */
#define ACTIVATE_FUNCTION(f) \
	extern PGDLLEXPORT Datum f(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(f)

/* 17: wait event sets are owned by a resource owner; NULL: by us */
#if PG_VERSION_NUM >= 170000
#define compat_create_wait_event_set(context, nevents) \
	CreateWaitEventSet(NULL, (nevents))
#else
#define compat_create_wait_event_set(context, nevents) \
	CreateWaitEventSet((context), (nevents))
#endif

/* 17: a process number is an index called ProcNumber, MyProc->pgprocno is gone */
#if PG_VERSION_NUM >= 170000
#define compat_my_procno() ((int) MyProcNumber)
#else
#define compat_my_procno() (MyProc->pgprocno)
#endif

/* 17: the two halves of a virtual transaction id moved into one member */
#if PG_VERSION_NUM >= 170000
#define compat_my_lxid() (MyProc->vxid.lxid)
#else
#define compat_my_lxid() (MyProc->lxid)
#endif

/* 16: the macros of varlena values left postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18: so did what an EXPLAIN callback needs leave commands/explain.h */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* 18: the attribute of functions that do not return is a specifier, and goes first */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 16: soft errors of text that is parsed; NULL: hard ones, as before */
#if PG_VERSION_NUM >= 160000
#define compat_qualified_name(name) stringToQualifiedNameList((name), NULL)
#else
#define compat_qualified_name(name) stringToQualifiedNameList(name)
#endif

/* 16: the same for the name of a type; *type is InvalidOid for one that does not exist */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#include "parser/parse_type.h"

static inline void
compat_parse_type(const char *name, Oid *type, int32 *typmod)
{
	ErrorSaveContext soft = {.type = T_ErrorSaveContext, .details_wanted = true};

	*type = InvalidOid;
	if (!parseTypeString(name, type, typmod, (Node *) &soft) &&
		soft.error_data->sqlerrcode != ERRCODE_UNDEFINED_OBJECT)
		ReThrowError(soft.error_data);
}
#else
#define compat_parse_type(name, type, typmod) parseTypeString((name), (type), (typmod), true)
#endif

/* 16: what the current user needs to read a query moved out of its range table */
#if PG_VERSION_NUM >= 160000
#define compat_check_select(query) \
	((void) ExecCheckPermissions((query)->rtable, (query)->rteperminfos, true))
#else
#define compat_check_select(query) ((void) ExecCheckRTPerms((query)->rtable, true))
#endif

/* 16: so a query put together by hand needs both */
#if PG_VERSION_NUM >= 160000
#define compat_take_permissions(query, pstate) \
	((query)->rteperminfos = (pstate)->p_rteperminfos)
#else
#define compat_take_permissions(query, pstate) ((void) 0)
#endif

/* 16: what a check hook hands over as "extra" comes from guc_malloc() */
#if PG_VERSION_NUM >= 160000
#define compat_guc_malloc(size) guc_malloc(LOG, (size))
#define compat_guc_free(chunk) guc_free(chunk)
#else
#define compat_guc_malloc(size) malloc(size)
#define compat_guc_free(chunk) free(chunk)
#endif

/* 16: one function for the privileges of every kind of object but relations */
#if PG_VERSION_NUM >= 160000
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#define compat_server_aclcheck(server, role, mode) \
	object_aclcheck(ForeignServerRelationId, (server), (role), (mode))
#define compat_wrapper_aclcheck(wrapper, role, mode) \
	object_aclcheck(ForeignDataWrapperRelationId, (wrapper), (role), (mode))
#else
#define compat_server_aclcheck(server, role, mode) \
	pg_foreign_server_aclcheck((server), (role), (mode))
#define compat_wrapper_aclcheck(wrapper, role, mode) \
	pg_foreign_data_wrapper_aclcheck((wrapper), (role), (mode))
#endif

/* 16: renamed, for there is another way to find an entry, by id */
#if PG_VERSION_NUM >= 160000
#define compat_local_beentry(index) pgstat_get_local_beentry_by_index(index)
#else
#define compat_local_beentry(index) pgstat_fetch_stat_local_beentry(index)
#endif

/* 16: one function for the owners of every kind of object, too */
#if PG_VERSION_NUM >= 160000
#define compat_owns_database(database, role) object_ownercheck(DatabaseRelationId, (database), (role))
#else
#define compat_owns_database(database, role) pg_database_ownercheck((database), (role))
#endif

/* 16: summarizing indexes can be updated alone */
#if PG_VERSION_NUM >= 160000
#define compat_insert_index_tuples(rel, slot, estate) \
	ExecInsertIndexTuples((rel), (slot), (estate), false, false, NULL, NIL, false)
#else
#define compat_insert_index_tuples(rel, slot, estate) \
	ExecInsertIndexTuples((rel), (slot), (estate), false, false, NULL, NIL)
#endif

/* 16: so an update tells which of them it needs; of the tables that we update so, none has a summarizing one */
#if PG_VERSION_NUM >= 160000
#include "access/tableam.h"
typedef TU_UpdateIndexes CompatUpdateIndexes;
#define compat_index_tuples_wanted(which) ((which) == TU_All)
#else
typedef bool CompatUpdateIndexes;
#define compat_index_tuples_wanted(which) (which)
#endif

/* 16: a file of a relation is a locator, and no longer a node */
#if PG_VERSION_NUM >= 160000
#define compat_sequence_record(record, rel) ((record)->locator = (rel)->rd_locator)
#else
#define compat_sequence_record(record, rel) ((record)->node = (rel)->rd_node)
#endif

/* 18: what EXPLAIN wants to know of an index scan */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) index_beginscan((heap), (index), (snapshot), NULL, (nkeys), 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) index_beginscan((heap), (index), (snapshot), (nkeys), 0)
#endif

/* 18: OLD and NEW of RETURNING; the default is neither */
#if PG_VERSION_NUM >= 180000
#define compat_expand_rte(rte, index, names, vars) \
	expandRTE((rte), (index), 0, VAR_RETURNING_DEFAULT, -1, false, (names), (vars))
#else
#define compat_expand_rte(rte, index, names, vars) \
	expandRTE((rte), (index), 0, -1, false, (names), (vars))
#endif

/* 18: in a rule that returns rows, which relation these are of */
#if PG_VERSION_NUM >= 180000
#define compat_replace_vars(node, varno, up, rte, list, missing, missing_varno, links) \
	ReplaceVarsFromTargetList((node), (varno), (up), (rte), (list), 0, (missing), (missing_varno), (links))
#else
#define compat_replace_vars(node, varno, up, rte, list, missing, missing_varno, links) \
	ReplaceVarsFromTargetList((node), (varno), (up), (rte), (list), (missing), (missing_varno), (links))
#endif

/* 18: the bytes that base64 encodes are unsigned */
#if PG_VERSION_NUM >= 180000
#define compat_b64_encode(bytes, length, text, size) \
	pg_b64_encode((const uint8 *) (bytes), (length), (text), (size))
#define compat_b64_decode(text, length, bytes, size) pg_b64_decode((text), (length), (bytes), (size))
#else
#define compat_b64_encode(bytes, length, text, size) pg_b64_encode((bytes), (length), (text), (size))
#define compat_b64_decode(text, length, bytes, size) pg_b64_decode((text), (length), (char *) (bytes), (size))
#endif

/* 16: whose rights a scan uses, if not the current user's, left the range table */
#if PG_VERSION_NUM >= 160000
#define compat_scan_check_as(node) (((ForeignScan *) (node)->ss.ps.plan)->checkAsUser)
#else
#define compat_scan_check_as(node) \
	(exec_rt_fetch(((Scan *) (node)->ss.ps.plan)->scanrelid, (node)->ss.ps.state)->checkAsUser)
#endif

/* The same of a plan; of a join, whose tables are all read as the same user */
#if PG_VERSION_NUM >= 160000
#define compat_plan_check_as(scan, rtable) ((void) (rtable), (scan)->checkAsUser)
#else
#define compat_plan_check_as(scan, rtable) \
	(rt_fetch((scan)->scan.scanrelid ? (scan)->scan.scanrelid : bms_next_member((scan)->fs_relids, -1), (rtable))->checkAsUser)
#endif

/* 17: whether this lock or a stronger one is held need not be asked one by one */
#if PG_VERSION_NUM >= 170000
#define compat_lock_held(tag, mode) LockHeldByMe((tag), (mode), true)
#else
#define compat_lock_held(tag, mode) compat_lock_held_from((tag), (mode))
#include "storage/lock.h"
static inline bool
compat_lock_held_from(const LOCKTAG *tag, LOCKMODE mode)
{
	for (; mode <= MaxLockMode; mode++)
		if (LockHeldByMe(tag, mode))
			return true;
	return false;
}
#endif

/* 17: fdw_restrictinfo; 18: disabled_nodes */
#if PG_VERSION_NUM >= 180000
#define compat_create_foreignscan_path_for(root, rel, rows, startup, total, outer) \
	create_foreignscan_path((root), (rel), NULL, (rows), 0, (startup), (total), \
							NIL, (outer), NULL, NIL, NIL)
#elif PG_VERSION_NUM >= 170000
#define compat_create_foreignscan_path_for(root, rel, rows, startup, total, outer) \
	create_foreignscan_path((root), (rel), NULL, (rows), (startup), (total), \
							NIL, (outer), NULL, NIL, NIL)
#else
#define compat_create_foreignscan_path_for(root, rel, rows, startup, total, outer) \
	create_foreignscan_path((root), (rel), NULL, (rows), (startup), (total), \
							NIL, (outer), NULL, NIL)
#endif
#define compat_create_foreignscan_path(root, rel, rows, startup, total) \
	compat_create_foreignscan_path_for((root), (rel), (rows), (startup), (total), (rel)->lateral_relids)

#endif							/* ACTIVATE_COMPAT_H */
