/*
 * install.c
 *	  The triggers of a sync with capture "trigger".
 *
 * They are made by the extension's owner, because who declares a sync need not
 * own its source.  That the source is a table, and that the sync's owner might
 * create a trigger on it, was checked at declaration.  ENABLE ALWAYS:
 * rows that a subscription applies count as well (SEMANTICS 6).
 */
#include "postgres.h"

#include "capture/change.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static void install_trigger(const Sync *sync, const char *suffix, const char *events, const char *each);
static void remove_trigger(const Sync *sync, const char *suffix);
static char *trigger_name(const Sync *sync, const char *suffix);
static char *source_name(const Sync *sync);
static void run_command(const char *command);

void
capture_install(const Sync *sync)
{
	IdentityScope scope;

	if (sync->capture != CAPTURE_TRIGGER)
		return;
	capture_remove(sync);
	identity_enter_extension(&scope);
	SPI_connect();
	install_trigger(sync, "", "INSERT OR UPDATE OR DELETE", "ROW");
	install_trigger(sync, "_truncate", "TRUNCATE", "STATEMENT");
	SPI_finish();
	identity_leave(&scope);
}

void
capture_remove(const Sync *sync)
{
	IdentityScope scope;

	if (!OidIsValid(sync->source_rel))
		return;
	identity_enter_extension(&scope);
	SPI_connect();
	remove_trigger(sync, "");
	remove_trigger(sync, "_truncate");
	SPI_finish();
	identity_leave(&scope);
}

static void
install_trigger(const Sync *sync, const char *suffix, const char *events, const char *each)
{
	char	   *table = source_name(sync);
	char	   *name = trigger_name(sync, suffix);

	run_command(psprintf("CREATE TRIGGER %s AFTER %s ON %s FOR EACH %s EXECUTE FUNCTION activate._capture('"
						 INT64_FORMAT "')", name, events, table, each, sync->id));
	run_command(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, name));
}

static void
remove_trigger(const Sync *sync, const char *suffix)
{
	char	   *name = trigger_name(sync, suffix);

	if (OidIsValid(get_trigger_oid(sync->source_rel, name, true)))
		run_command(psprintf("DROP TRIGGER %s ON %s", name, source_name(sync)));
}

/* Needs no quotes. */
static char *
trigger_name(const Sync *sync, const char *suffix)
{
	return psprintf("activate_" INT64_FORMAT "%s", sync->id, suffix);
}

static char *
source_name(const Sync *sync)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(sync->source_rel)),
									  get_rel_name(sync->source_rel));
}

static void
run_command(const char *command)
{
	int			result = SPI_execute(command, false, 0);

	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", command, SPI_result_code_string(result));
}
