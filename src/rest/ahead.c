/*
 * ahead.c
 *	  Pages that are asked for before they are needed, in their order.
 *
 * A guess: what the pager wants next is either the first of them, or none of
 * them is wanted any more.  Requests belong to the scan's memory context, so
 * that whatever ends the scan takes them back.
 */
#include "postgres.h"

#include "rest/rest.h"

struct RestAhead
{
	const RestSource *source;
	MemoryContext context;
	List	   *calls;			/* RestCall *, in order */
	RestCall   *taken;			/* the page that is being read; NULL: none */
	int			wrong;			/* guesses, since the beginning */
};

RestAhead *
rest_ahead_create(const RestSource *source, MemoryContext context)
{
	RestAhead  *ahead = MemoryContextAllocZero(context, sizeof(RestAhead));

	ahead->source = source;
	ahead->context = context;
	return ahead;
}

static RestCall *
ahead_call(RestAhead *ahead, const char *url, const char *shown, int64 position)
{
	RestCall   *call = MemoryContextAllocZero(ahead->context, sizeof(RestCall));

	call->url = MemoryContextStrdup(ahead->context, url);
	call->shown = MemoryContextStrdup(ahead->context, shown);
	call->position = position;
	return call;
}

static void
ahead_free(RestCall *call)
{
	rest_call_drop(call);
	pfree(call->url);
	pfree(call->shown);
	pfree(call);
}

void
rest_ahead_add(RestAhead *ahead, const char *url, const char *shown, int64 position)
{
	RestCall   *call = ahead_call(ahead, url, shown, position);
	MemoryContext old = MemoryContextSwitchTo(ahead->context);

	ahead->calls = lappend(ahead->calls, call);
	MemoryContextSwitchTo(old);
}

static void
ahead_forget(RestAhead *ahead)
{
	ListCell   *cell;

	foreach(cell, ahead->calls)
		ahead_free(lfirst(cell));
	list_free(ahead->calls);
	ahead->calls = NIL;
}

void
rest_ahead_drop(RestAhead *ahead)
{
	ahead_forget(ahead);
	if (ahead->taken != NULL)
		ahead_free(ahead->taken);
	ahead->taken = NULL;
}

RestCall *
rest_ahead_take(RestAhead *ahead, const char *url, const char *shown, int64 position)
{
	if (ahead->taken != NULL)
		ahead_free(ahead->taken);
	ahead->taken = NULL;
	if (ahead->calls != NIL && strcmp(((RestCall *) linitial(ahead->calls))->url, url) != 0)
	{
		ahead_forget(ahead);
		ahead->wrong++;
	}
	if (ahead->calls == NIL)
		rest_ahead_add(ahead, url, shown, position);
	ahead->taken = linitial(ahead->calls);
	ahead->calls = list_delete_first(ahead->calls);
	return ahead->taken;
}

int
rest_ahead_count(const RestAhead *ahead)
{
	return list_length(ahead->calls);
}

int
rest_ahead_wrong(const RestAhead *ahead)
{
	return ahead->wrong;
}

int64
rest_ahead_last(const RestAhead *ahead)
{
	return ((const RestCall *) llast(ahead->calls))->position;
}

/* In their order: where the budget has no room for one, the later ones wait as well. */
void
rest_ahead_send(RestAhead *ahead)
{
	bool		sent = false;
	ListCell   *cell;

	foreach(cell, ahead->calls)
	{
		RestCall   *call = lfirst(cell);

		if (rest_call_look(ahead->source, call) && call->throttled && call->tries == 1)
			rest_call_drop(call);
		if (call->request != NULL)
			continue;
		if (!rest_call_early(ahead->source, call, ahead->context))
			break;
		sent = true;
	}
	if (sent)
		(void) http_session_turn(0);
}

void
rest_ahead_turn(RestAhead *ahead)
{
	bool		under_way = false;
	ListCell   *cell;

	foreach(cell, ahead->calls)
	{
		RestCall   *call = lfirst(cell);

		under_way |= call->request != NULL && !rest_call_look(ahead->source, call);
	}
	if (under_way)
		(void) http_session_turn(0);
}
