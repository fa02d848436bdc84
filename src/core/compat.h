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

/* 16: the second argument of the pushed-down expression walkers is checked */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#endif							/* ACTIVATE_COMPAT_H */
