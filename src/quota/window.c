/*
 * window.c
 *	  A sliding window, counted in parts.
 *
 * A window is cut into 16 parts that are aligned to the clock; 17 are kept,
 * because the window that ends now touches so many.  A part is forgotten when
 * all of it is older than the window, so in no stretch of that length, whatever
 * the API's own begins with, do more calls go than the limit says.  A token bucket would
 * let twice as many go (its fill, and what comes in meanwhile); a list of the
 * times of all calls would be exact, but a day may hold a million.  The price
 * is that after a burst up to a 16th of the window more is waited for.  (The
 * rolling counters of Hystrix are such a ring, read the lenient way.)
 *
 * Of a limit, normal calls use at most 95 %, a backfill at most 80 %, together
 * with all others: what is left is ready for a change, at any moment.  A fifth
 * kept for what is urgent is what Stripe reserves (its "fleet usage load
 * shedder", in "Scaling your API with rate limiters").  An empty window lets
 * any call pass: neither a limit of 1 nor a cost above the limit stops a sync.
 */
#include "postgres.h"

#include "quota/window.h"

static const char *const class_names[] = {"interactive", "normal", "backfill"};

static int64
part_us(const QuotaWindow *window)
{
	return (window->limit.per_us + WINDOW_PARTS - 1) / WINDOW_PARTS;
}

int64
quota_share(int64 limit, QuotaClass class)
{
	switch (class)
	{
		case QUOTA_INTERACTIVE:
			break;
		case QUOTA_NORMAL:
			return (int64) (limit * 0.95);
		case QUOTA_BACKFILL:
			return (int64) (limit * 0.8);
	}
	return limit;
}

const char *
quota_class_name(QuotaClass class)
{
	return class_names[class];
}

int
quota_class_named(const char *name)
{
	int			class = 0;

	while (class < QUOTA_CLASSES && strcmp(class_names[class], name) != 0)
		class++;
	return class;
}

/* Another number of calls keeps what was used; another length begins anew. */
void
window_set(QuotaWindow *window, const QuotaLimit *limit)
{
	if (window->limit.per_us != limit->per_us)
		memset(window, 0, sizeof(*window));
	window->limit = *limit;
}

int64
window_used(const QuotaWindow *window)
{
	int64		sum = 0;

	for (int i = 0; i <= WINDOW_PARTS; i++)
		sum += window->used[i];
	return sum;
}

void
window_advance(QuotaWindow *window, TimestampTz now)
{
	/* numbers below 16 would be of the year 2000 */
	int64		part = Max(now / part_us(window), WINDOW_PARTS);

	/* the clock was set back: what was used counts as used just now */
	if (part < window->newest - WINDOW_PARTS)
	{
		int64		used = window_used(window);

		memset(window->used, 0, sizeof(window->used));
		window->used[part % (WINDOW_PARTS + 1)] = used;
		window->newest = part;
	}
	if (part > window->newest + WINDOW_PARTS)
	{
		memset(window->used, 0, sizeof(window->used));
		window->newest = part;
	}
	while (window->newest < part)
		window->used[++window->newest % (WINDOW_PARTS + 1)] = 0;
}

void
window_add(QuotaWindow *window, int64 cost)
{
	window->used[window->newest % (WINDOW_PARTS + 1)] += cost;
}

/* When no more than that is used of it, if nothing more is. */
static TimestampTz
window_falls_to(const QuotaWindow *window, int64 most)
{
	int64		used = window_used(window);
	int64		part = window->newest - WINDOW_PARTS;

	if (used <= most)
		return 0;
	for (; used > most; part++)
		used -= window->used[part % (WINDOW_PARTS + 1)];
	/* the part before this one is the last that had to go */
	return (part + WINDOW_PARTS) * part_us(window);
}

TimestampTz
window_fits(const QuotaWindow *window, QuotaClass class, int64 cost)
{
	return window_falls_to(window, Max(quota_share(window->limit.calls, class) - cost, 0));
}

TimestampTz
window_free(const QuotaWindow *window)
{
	return window_falls_to(window, 0);
}
