/*
 * receive.h
 *	  Events that others push: signed, each once, into a table.
 *
 *		receive.c	activate_receive()
 *		signature.c	whose it is
 *		store.c		the table of a target, and what is in it
 */
#ifndef ACTIVATE_RECEIVE_H
#define ACTIVATE_RECEIVE_H

#include "connector/connector.h"
#include "core/identity.h"
#include "foreign/foreign.h"
#include "utils/jsonb.h"

/* The table of a target that receives, made or looked at; as the caller. */
extern void receive_declare(const char *target);

/* One call of activate_receive(). */
typedef struct ReceivedCall
{
	const ForeignServer *server;
	const ConnectorInbound *inbound;
	const char *body;			/* as it came, not terminated; NULL: none */
	size_t		length;
	Jsonb	   *headers;		/* an object, or NULL */
} ReceivedCall;

/* receive.c: a header's value whatever the case of its name, NULL if there is none. */
extern char *receive_header(const ReceivedCall *call, const char *name);

/* signature.c: errors 28000 unless one of the keys has made the signature; nothing in a message is secret. */
extern void receive_verify(const ReceivedCall *call, List *keys);

/* store.c: false, it was there. */
extern bool receive_store(const ReceivedCall *call, const char *id, Jsonb *payload, Jsonb *headers);

#endif							/* ACTIVATE_RECEIVE_H */
