/*
 * estimate.c
 *	  activate_explain(): what changes cost at an API.  Calls, bytes, what the
 *	  budget of the account still allows, and how long it takes.
 *
 * Bytes are those of a sample, built as activate_preview() shows it.  Time is
 * what the declared rate, or what the API has said, makes it at least; where neither
 * is known, as long as it took lately.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "connector/connector.h"
#include "core/clock.h"
#include "core/own.h"
#include "deliver/deliver.h"
#include "sync/explain.h"
#include "sync/verbs.h"
#include "utils/timestamp.h"

#define SAMPLE_ROWS 100

typedef struct Estimate
{
	ReturnSetInfo *result;
	const Sync *sync;
	const Connector *connector;
	OutboxOp	op;				/* of rows that are there */
	int			batch;			/* options.batch; 0: not given */
	int64		rows;
	int64		calls;
	int64		cost;			/* of these and of what is pending */
	QuotaClass	class;
} Estimate;

static void count_calls(Estimate *estimate, OutboxOp op, int64 rows);
static void describe_bytes(Estimate *estimate);
static void describe_quota(Estimate *estimate);
static QuotaClass class_of_run(const Sync *sync);
static char *duration(int64 us);

void
explain_delivery(ReturnSetInfo *result, const Sync *sync, const RunCounts *counts)
{
	Estimate	estimate = {
		.result = result,
		.sync = sync,
		.connector = connector_load(sync->target_rel, CurrentMemoryContext),
		.op = outbox_mode_op(sync->mode),
		.batch = sync_option_int(sync, "batch", 0),
		.rows = counts->inserted + counts->updated + counts->deleted,
		.class = class_of_run(sync)
	};
	const ConnectorWrite *write = connector_write(estimate.connector, estimate.op);
	int64		pending = verb_count("SELECT count(*) FROM activate._intent WHERE sync = $1", sync->id, NULL);
	char	   *reason = sync_undelivered_reason(sync);

	if (estimate.connector->format == FORMAT_OBJECT)
	{
		count_calls(&estimate, estimate.op, counts->inserted + counts->updated);
		count_calls(&estimate, OUTBOX_DELETE, counts->deleted);
	}
	else
		count_calls(&estimate, estimate.op, estimate.rows);
	if (write)
		explain_line(result, psprintf("  Batch: %d rows per call",
									  estimate.batch > 0 ? Min(estimate.batch, write->batch) : write->batch));
	explain_line(result, psprintf("  Calls: " INT64_FORMAT, estimate.calls));
	describe_bytes(&estimate);
	explain_line(result, psprintf("  Pending already: " INT64_FORMAT, pending));
	count_calls(&estimate, estimate.op, pending);
	describe_quota(&estimate);
	if (reason)
		explain_line(result, psprintf("  Nothing is delivered for now: %s", reason));
}

/* Requests that a call makes besides its first, at least: a job is filled, asked for once and read. */
static int
further_requests(const ConnectorWrite *write)
{
	int			n = 0;

	if (write->lookup != NULL)
		return 1;
	if (write->job == NULL)
		return 0;
	for (int i = 0; i < write->job->nresults; i++)
		n += write->job->results[i].step.path != NULL;
	return write->job->nsteps + 1 + n;
}

static void
count_calls(Estimate *estimate, OutboxOp op, int64 rows)
{
	const ConnectorWrite *write = connector_write(estimate->connector, op);
	int			batch;
	int64		calls;

	if (write == NULL)
		return;
	if (write->bulk != NULL && rows >= write->bulk_rows)
		write = write->bulk;
	batch = Max(estimate->batch > 0 ? Min(estimate->batch, write->batch) : write->batch, 1);
	calls = (rows + batch - 1) / batch;
	estimate->calls += calls * (1 + further_requests(write));
	/* that of a lookup counts both of its requests */
	estimate->cost += calls * (write->cost + (write->job ? further_requests(write) : 0));
}

static void
describe_bytes(Estimate *estimate)
{
	int64		bytes;
	int64		rows = estimate->rows > 0 ? deliver_sample(estimate->sync, SAMPLE_ROWS, &bytes) : 0;

	if (estimate->rows == 0)
		explain_line(estimate->result, pstrdup("  Bytes: 0"));
	else if (rows == 0)
		explain_line(estimate->result, pstrdup("  Bytes: unknown"));
	else
		explain_line(estimate->result, psprintf("  Bytes: about " INT64_FORMAT,
												(int64) ((double) bytes / rows * estimate->rows)));
}

/* As the deliverer will class what a run enqueues now. */
static QuotaClass
class_of_run(const Sync *sync)
{
	char	   *priority = sync_option_text(sync, "priority");

	if (priority)
		return quota_class_named(priority);
	if (sync->mode == SYNC_REPLACE ||
		verb_count("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.id = $1"
				   " AND r.status IN ('succeeded', 'held') AND r.finished_at >= s.declared_at", sync->id, NULL) == 0)
		return QUOTA_BACKFILL;
	return QUOTA_NORMAL;
}

static void
describe_line(Estimate *estimate, const QuotaLine *line, TimestampTz now)
{
	const char *resets = line->resets > now ? duration(line->resets - now) : NULL;
	char	   *text;

	if (line->blocked)
		text = psprintf("  Quota: the API has asked to wait for %s", resets);
	else if (line->told && line->limit >= 0)
		text = psprintf("  Quota: the API says " INT64_FORMAT " of " INT64_FORMAT " calls are left for %s",
						line->left, line->limit, resets);
	else if (line->told)
		text = psprintf("  Quota: the API says " INT64_FORMAT " calls are left for %s", line->left, resets);
	else
		text = psprintf("  Quota: " INT64_FORMAT " calls per %s, " INT64_FORMAT " used%s", line->limit,
						duration(line->per_us), line->used, resets ? psprintf(", all free in %s", resets) : "");
	explain_line(estimate->result, text);
}

/* How long a budget makes it last at least, after what others have used of it. */
static int64
line_takes(const Estimate *estimate, const QuotaLine *line, TimestampTz now)
{
	int64		share = line->limit < 0 ? line->left : quota_share(line->limit, estimate->class);
	int64		used = line->limit < 0 ? 0 : Max(line->limit - line->left, 0);
	int64		over = estimate->cost - Max(share - used, 0);

	if (over <= 0)
		return 0;
	if (line->told)
		return line->resets - now;
	share = Max(share, 1);
	return (over + share - 1) / share * line->per_us;
}

/* Rows per second, of the newest receipts, not counting the time between two bursts; 0: there are none. */
static double
throughput(const Sync *sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	bool		isnull;
	Datum		rate = own_value(
		"SELECT (sum(n) / nullif(extract(epoch FROM sum(least(gap, interval '1 second'))), 0))::float8 FROM ("
		"SELECT n, newest - lag(newest) OVER (ORDER BY newest, id) AS gap FROM ("
		"SELECT id, n, newest FROM activate._receipt WHERE sync = $1 AND outcome IN ('delivered', 'warned')"
		" ORDER BY newest DESC LIMIT 100) r) g WHERE gap IS NOT NULL", 1, &type, &id, NULL, &isnull);

	return isnull ? 0 : DatumGetFloat8(rate);
}

static void
describe_quota(Estimate *estimate)
{
	QuotaAccount account = {estimate->sync->server, connector_mapping(estimate->sync->server, estimate->sync->owner)};
	QuotaLine	lines[QUOTA_LINES];
	TimestampTz now = clock_now();
	int			n = quota_look(account, &estimate->connector->rate, now, lines);
	int64		longest = 0;
	char	   *eta = pstrdup("unknown");
	double		rate;

	for (int i = 0; i < n; i++)
	{
		describe_line(estimate, &lines[i], now);
		longest = Max(longest, line_takes(estimate, &lines[i], now));
	}
	if (n > 0)
		explain_line(estimate->result, psprintf("  Priority: %s, " INT64_FORMAT " %% of a quota",
												quota_class_name(estimate->class), quota_share(100, estimate->class)));
	if (estimate->cost == 0)
		eta = pstrdup("there is nothing to send");
	else if (longest > 0)
		eta = psprintf("%s by the quota", duration(longest));
	else if (n > 0)
		eta = pstrdup("at once, the quota allows it");
	else if ((rate = throughput(estimate->sync)) > 0)
		eta = psprintf("%s as lately", duration((int64) (estimate->rows / rate * USECS_PER_SEC)));
	explain_line(estimate->result, psprintf("  ETA: %s", eta));
}

/* Whole seconds, rounded up. */
static char *
duration(int64 us)
{
	int64		seconds = (us + USECS_PER_SEC - 1) / USECS_PER_SEC;
	int64		days = seconds / SECS_PER_DAY;
	char	   *clock = psprintf("%02d:%02d:%02d", (int) (seconds % SECS_PER_DAY / SECS_PER_HOUR),
								 (int) (seconds % SECS_PER_HOUR / SECS_PER_MINUTE), (int) (seconds % SECS_PER_MINUTE));

	return days == 0 ? clock : psprintf(INT64_FORMAT " day%s%s", days, days == 1 ? "" : "s",
										seconds % SECS_PER_DAY == 0 ? "" : psprintf(" %s", clock));
}
