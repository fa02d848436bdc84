/*
 * disk.c
 *	  What was settled, on the disk: the commits of a deliverer wait for it no more
 *	  than its sockets do, and after a crash little is sent again.
 *
 * When there is nothing else to wait for, or a settling has waited long enough,
 * the worker of the database is asked to flush the WAL, so that we go on
 * meanwhile.  If it does not come to it (housekeeping, a disk that is slow
 * altogether), we do it ourselves.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "deliver/engine.h"

/* What was settled waits no longer until the worker is asked, */
#define ASK_US		10000
/* and the worker has so long. */
#define PATIENCE_US	(3 * ASK_US)

/* After a commit. */
void
deliver_disk_settled(TimestampTz now)
{
	DeliverDisk *disk = &engine->disk;

	if (disk->settled == InvalidXLogRecPtr)
		disk->settled_since = now;
	disk->settled = XactLastCommitEnd;
}

/* Each turn.  Others flush the WAL, too: whose commits wait for it. */
void
deliver_disk_flush(TimestampTz now)
{
	DeliverDisk *disk = &engine->disk;

	if (disk->asked != InvalidXLogRecPtr)
	{
		if (now - disk->asked_at >= PATIENCE_US)
			XLogFlush(disk->asked);
		else if (GetFlushRecPtr(NULL) < disk->asked)
			return;
		disk->asked = InvalidXLogRecPtr;
	}
	if (disk->settled == InvalidXLogRecPtr ||
		(http_pool_in_flight(engine->pool) > 0 && now - disk->settled_since < ASK_US))
		return;
	if (GetFlushRecPtr(NULL) < disk->settled)
	{
		disk->asked = disk->settled;
		disk->asked_at = now;
		shared_ask_flush(engine->database, disk->asked);
	}
	disk->settled = InvalidXLogRecPtr;
}

/* When to look by itself; 0: never. */
TimestampTz
deliver_disk_next(void)
{
	const DeliverDisk *disk = &engine->disk;

	if (disk->asked != InvalidXLogRecPtr)
		return disk->asked_at + PATIENCE_US;
	return disk->settled != InvalidXLogRecPtr ? disk->settled_since + ASK_US : 0;
}
