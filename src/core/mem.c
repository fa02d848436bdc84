/*
 * mem.c
 *	  Foreign memory owned by a memory context: see mem.h.
 */
#include "postgres.h"

#include "core/mem.h"
#include "utils/memutils.h"

typedef struct MemAdopted
{
	MemoryContextCallback callback;
	MemRelease	release;
	void	   *object;
} MemAdopted;

static void
mem_release(void *arg)
{
	MemAdopted *adopted = arg;

	adopted->release(adopted->object);
}

void *
mem_adopt(MemoryContext context, void *object, MemRelease release)
{
	MemAdopted *adopted = MemoryContextAlloc(context, sizeof(MemAdopted));

	adopted->release = release;
	adopted->object = object;
	adopted->callback.func = mem_release;
	adopted->callback.arg = adopted;
	MemoryContextRegisterResetCallback(context, &adopted->callback);
	return object;
}
