/*
 * link.h
 *	  Link headers (RFC 8288), for the address of the next page.
 *
 * Plain C, no postgres.h: reads what a stranger wrote, allocates and throws
 * nothing, and can be fuzzed by itself.
 */
#ifndef ACTIVATE_REST_LINK_H
#define ACTIVATE_REST_LINK_H

#include <stddef.h>

/*
 * The target of the first link of relation "next" among headers, which are
 * separated by line breaks; a reference into headers, its length in *length.
 * NULL: there is none.
 */
extern const char *rest_link_next(const char *headers, size_t *length);

#endif							/* ACTIVATE_REST_LINK_H */
