/*
 * owner.h
 *	  The code of a sync's owner: restricted, read only, in bounded time.
 */
#ifndef ACTIVATE_DELIVER_OWNER_H
#define ACTIVATE_DELIVER_OWNER_H

#include "catalog/sync.h"
#include "core/identity.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"

typedef struct DeliverOwner
{
	IdentityScope scope;
	ErrorContextCallback callback;
	TimestampTz until;
	bool		armed;			/* our timeout, not the session's own */
} DeliverOwner;

extern void deliver_owner_enter(DeliverOwner *owner, const Sync *sync, int timeout_ms);

/*
 * When the plan's locks are taken: a snapshot of now.  To an older one a table
 * that was rewritten (ALTER TABLE) while we waited looks empty.
 */
extern void deliver_owner_look_now(SPIPlanPtr plan);
extern void deliver_owner_leave(DeliverOwner *owner);
extern bool deliver_owner_timed_out(DeliverOwner *owner);
extern void deliver_owner_cleanup(void);

#endif							/* ACTIVATE_DELIVER_OWNER_H */
