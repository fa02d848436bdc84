/*
 * worker.c
 *	  The deliverer as a background worker, and the settings of delivery.
 */
#include "postgres.h"

#include "core/shared.h"
#include "deliver/engine.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "schedule/spawn.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timeout.h"

int			deliver_connections = 32;
int			deliver_stalled_connections = 1000;
int			deliver_render_timeout = 5000;
int			deliver_max_attempts = 20;
int			deliver_retry_backoff = 1000;
int			deliver_retry_backoff_max = 300000;

/* What the schedule room puts into bgw_extra. */
typedef struct DeliverPlace
{
	int			slot;
	int			deliverers;
} DeliverPlace;

extern PGDLLEXPORT void deliver_worker_main(Datum main_arg);

static void worker_settings(void);

static void
define_int(const char *name, const char *what, int *variable, int fallback, int low, int high, int flags)
{
	DefineCustomIntVariable(name, what, NULL, variable, fallback, low, high,
							PGC_SUSET, flags, NULL, NULL, NULL);
}

void
deliver_init(void)
{
	define_int("activate.connections", "HTTP connections of a deliverer that may be busy at once.",
			   &deliver_connections, 32, 1, DELIVER_MOST_CONNECTIONS, 0);
	define_int("activate.max_attempts", "Attempts after which a row is rejected.",
			   &deliver_max_attempts, 20, 1, 1000, 0);
	define_int("activate.render_timeout", "Longest time a statement that renders rows for delivery may take.",
			   &deliver_render_timeout, 5000, 1, INT_MAX, GUC_UNIT_MS);
	define_int("activate.retry_backoff", "Longest wait before the first retry; doubles with each attempt.",
			   &deliver_retry_backoff, 1000, 1, 3600 * 1000, GUC_UNIT_MS);
	define_int("activate.retry_backoff_max", "Longest wait between two attempts.",
			   &deliver_retry_backoff_max, 300000, 1, 24 * 3600 * 1000, GUC_UNIT_MS);
	define_int("activate.stalled_connections",
			   "HTTP connections of a deliverer whose answer is slow, beside activate.connections.",
			   &deliver_stalled_connections, 1000, 0, DELIVER_MOST_CONNECTIONS, 0);
}

void
deliver_worker_main(Datum main_arg)
{
	Oid			dboid = DatumGetObjectId(main_arg);
	DeliverPlace place;
	SharedDatabase *database;
	char		name[NAMEDATALEN];

	memcpy(&place, MyBgworkerEntry->bgw_extra, sizeof(place));

	/* die, not a flag of our own: else a wait in the core would not notice a shutdown */
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);

	database = shared_database(dboid, true);
	if (database == NULL || place.slot < 0 || place.slot >= SHARED_DELIVERERS)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start deliverer %d: no slot in shared memory", place.slot),
				 errhint("At most %d databases of a cluster can use activate.", SHARED_DATABASES)));
	shared_set_process(&database->deliverer[place.slot]);

	snprintf(name, sizeof(name), "activate deliverer %d", place.slot);
	SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
	pgstat_report_appname(name);
	worker_settings();

	deliver_main(place.slot, place.deliverers);
	proc_exit(0);
}

/*
 * What a database or role may have set must not change how we work.  Commits
 * need not wait for the disk: what they lose in a crash is the knowledge that
 * something was delivered, never an intent, and that is what the horizon,
 * which is flushed, is for.  A lock that somebody keeps (a transaction left
 * open after activate_discard(), DDL that takes long or waits itself) is
 * neither the other syncs' affair nor the fault of a row: waiting for it is
 * short, and comes again.
 */
static void
worker_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", ""},
		{"lock_timeout", DELIVER_LOCK_WAIT},
		{"synchronous_commit", "off"},
	};

	spawn_settings();
	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}
