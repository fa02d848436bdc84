/*
 * change.h
 *	  Private to the room: what is made of one value before it is sent.
 */
#ifndef ACTIVATE_CHANGE_H
#define ACTIVATE_CHANGE_H

#include "core/compat.h"
#include "template/template.h"

/* The value cannot be sent as it is declared; never shows it. */
pg_noreturn extern void change_fail(const char *column, const char *what);

extern void change_set_text(JsonbValue *value, char *text);

/* check.c: is a scalar, as it is sent, as long as it may be, and one of those that are allowed?  Of an array, each element. */
extern void change_check(const char *column, const TemplateChange *change, const JsonbValue *value);

/* step.c: a text through the steps; NULL: there is nothing to hash.  Modifies text. */
extern char *change_steps(const char *column, char *text, const TemplateStep *steps, int n);

/* moment.c: a date or time, as PostgreSQL writes them in ISO, in the form that is wanted. */
extern void change_moment(const char *column, const TemplateChange *change, JsonbValue *value);

#endif							/* ACTIVATE_CHANGE_H */
