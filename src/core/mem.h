/*
 * mem.h
 *	  Foreign memory (libcurl, json-c) owned by a memory context.
 *
 * What malloc() gave to a library must be freed by that library even if we
 * leave by longjmp.  mem_adopt() hangs the release function on a context, so
 * that deleting or resetting the context, for whatever reason, releases it.
 */
#ifndef ACTIVATE_MEM_H
#define ACTIVATE_MEM_H

typedef void (*MemRelease) (void *object);

/* Releases object by release(object) when context is reset or deleted; returns object. */
extern void *mem_adopt(MemoryContext context, void *object, MemRelease release);

#endif							/* ACTIVATE_MEM_H */
