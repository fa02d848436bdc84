/*
 * hook.h
 *	  Keeps our workers out of the way of DDL on databases and the extension.
 */
#ifndef ACTIVATE_HOOK_H
#define ACTIVATE_HOOK_H

extern void hook_init(void);

#endif							/* ACTIVATE_HOOK_H */
