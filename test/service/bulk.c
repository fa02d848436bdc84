/*
 * bulk.c
 *	  Large lists that cost next to nothing to serve: /bulk?records=N.
 *
 * A record is printed when it is first asked for and kept as text; a page is
 * one copy of what stands between two records.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

#define MAX_RECORDS 10000000

static Buffer text;				/* records, each with a comma behind it */
static size_t *starts;			/* of each in text, and where the next will be */
static int	nrecords;
static int	nstarts;

static void
bulk_print(int i)
{
	static const char *const plans[] = {"free", "basic", "pro", "enterprise"};

	if (nrecords + 1 >= nstarts)
	{
		nstarts = nstarts ? 2 * nstarts : 1024;
		starts = realloc(starts, sizeof(*starts) * (size_t) nstarts);
		if (starts == NULL)
			abort();
	}
	starts[i] = text.len;
	buffer_printf(&text, "{\"id\": %d, \"email\": \"customer%d@example.com\", \"first_name\": \"Anna %d\", \"last_name\": \"L\\u00f6fgren %d\", ", i + 1, i, i, i % 977);
	buffer_printf(&text, "\"company\": \"Company \\\"%d\\\" & Söner\", \"plan\": \"%s\", \"seats\": %d, \"revenue\": %d.%02d, \"score\": %d.%d, ",
				  i % 5000, plans[i % 4], i % 250, i * 3, i % 100, i % 100, i % 8 * 125);
	buffer_printf(&text, "\"active\": %s, \"born\": \"19%02d-%02d-%02d\", \"created_at\": \"2026-%02d-%02dT%02d:%02d:%02d.%03dZ\", \"updated_at\": \"2026-11-%02dT08:00:%02d+01:00\", ",
				  i % 3 ? "true" : "false", i % 100, i % 12 + 1, i % 28 + 1, i % 12 + 1, i % 28 + 1, i % 24, i % 60, i % 60, i % 1000, i % 28 + 1, i % 60);
	buffer_printf(&text, "\"phone\": %s%d%s, \"tags\": [\"customer\", \"wave %d\"], \"links\": {\"self\": \"https://api.example.com/v3/customers/%d\", \"owner\": {\"id\": %d, \"team\": null}}, ",
				  i % 5 ? "\"+46 70 " : "null, \"extension\": ", i % 1000000, i % 5 ? "\"" : "", i % 7, i + 1, i % 31);
	buffer_printf(&text, "\"description\": \"What somebody once wrote about the customer, and nobody has read since\"},");
	starts[i + 1] = text.len;
	nrecords = i + 1;
}

static int
bulk_param(const Request *request, const char *name, int otherwise)
{
	char	   *value = query_param(request->query, name);
	int			n = value ? atoi(value) : otherwise;

	free(value);
	return n < 0 ? 0 : n;
}

/* The page by number, offset or cursor, whichever is given; the cursor is an offset in letters. */
void
bulk_handle(const Request *request, Reply *reply)
{
	int			total = bulk_param(request, "records", 1000);
	int			most = bulk_param(request, "most", MAX_RECORDS);
	int			limit = bulk_param(request, "limit", 100);
	int			page = bulk_param(request, "page", 1);
	char	   *cursor = query_param(request->query, "cursor");
	int64_t		first;
	int64_t		end;

	limit = limit > most ? most : limit;
	first = bulk_param(request, "offset", cursor ? atoi(cursor + (cursor[0] == 'c')) : 0);
	if (page > 1)
		first = (int64_t) (page - 1) * limit;
	free(cursor);
	if (total > MAX_RECORDS)
	{
		json_error(reply, 400, "too many records");
		return;
	}
	first = first > total ? total : first;
	end = first + limit > total ? total : first + limit;
	if (bulk_param(request, "uneven", 0) > 0 && end - first > 1 && (first / limit) % 3 == 1)
		end--;
	while (nrecords < end)
		bulk_print(nrecords);
	buffer_append(&reply->body, "{\"data\": [", 10);
	if (end > first)
		buffer_append(&reply->body, text.data + starts[first], starts[end] - starts[first] - 1);
	buffer_printf(&reply->body, "], \"paging\": {\"total\": %d, \"next\": ", total);
	if (end < total)
		buffer_printf(&reply->body, "\"c%d\"}}", (int) end);
	else
		buffer_printf(&reply->body, "null}}");
}
