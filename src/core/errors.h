/*
 * errors.h
 *	  The SQLSTATE class "AC": what can go wrong that PostgreSQL has no code for.
 *
 * Wherever a standard code says it as well, the standard code is used
 * (42704 undefined_object, 22023 invalid_parameter_value, 42501 ...).
 * docs/reference.md lists these for users; keep the two in step.
 */
#ifndef ACTIVATE_ERRORS_H
#define ACTIVATE_ERRORS_H

#include "utils/elog.h"

/* no connection, TLS or DNS failure, or a timeout */
#define ERRCODE_ACTIVATE_UNREACHABLE	MAKE_SQLSTATE('A','C','0','0','1')
/* the host is not in activate.allowed_hosts, or resolves to a private address */
#define ERRCODE_ACTIVATE_FORBIDDEN_HOST	MAKE_SQLSTATE('A','C','0','0','2')
/* an answer that is no JSON, too large, of the wrong type or shape */
#define ERRCODE_ACTIVATE_BAD_ANSWER		MAKE_SQLSTATE('A','C','0','0','3')
/* the API answered with an error status */
#define ERRCODE_ACTIVATE_API_ERROR		MAKE_SQLSTATE('A','C','0','0','4')
/* a value of an answer does not fit the column's type */
#define ERRCODE_ACTIVATE_BAD_VALUE		MAKE_SQLSTATE('A','C','0','0','5')
/* every row of a run had a NULL or duplicate key */
#define ERRCODE_ACTIVATE_NO_USABLE_ROW	MAKE_SQLSTATE('A','C','0','0','6')

/* a row fails an expectation that lets nothing pass then */
#define ERRCODE_ACTIVATE_HELD			MAKE_SQLSTATE('A','C','0','0','7')

#endif							/* ACTIVATE_ERRORS_H */
