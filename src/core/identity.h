/*
 * identity.h
 *	  Acting as somebody else: as the owner of a sync, as the extension.
 *
 * Three facts make user code safe to run on behalf of its owner (SEMANTICS 12):
 * the user id, SECURITY_RESTRICTED_OPERATION | SECURITY_LOCAL_USERID_CHANGE,
 * and an own GUC level whose search_path is the one of the declaration.  The
 * same level sets what makes to_jsonb the same in every session (SEMANTICS 4).
 *
 *		IdentityScope scope;
 *
 *		identity_enter_owner(&scope, owner, search_path);
 *		... SPI ...
 *		identity_leave(&scope);
 *
 * On ERROR nothing need be done: transaction abort restores user and settings.
 * A caller that catches the error without aborting a (sub)transaction must
 * call identity_leave() itself.
 */
#ifndef ACTIVATE_IDENTITY_H
#define ACTIVATE_IDENTITY_H

typedef struct IdentityScope
{
	Oid			userid;
	int			sec_context;
	int			guc_level;
} IdentityScope;

/*
 * The restricted switch to another role.  search_path NULL: leave it alone.
 * Does SET CONSTRAINTS ALL IMMEDIATE, as the caller when it is entered and as
 * the owner when it is left through identity_leave_owner(): within it
 * PostgreSQL refuses whatever would be deferred.
 */
extern void identity_enter_owner(IdentityScope *scope, Oid owner, const char *search_path);
extern void identity_leave_owner(IdentityScope *scope);

/* SET CONSTRAINTS ALL IMMEDIATE, as whoever is the user now. */
extern void identity_fire_deferred(void);

/*
 * Become the owner of the extension with search_path "pg_catalog, activate,
 * pg_temp": for reading and writing our own tables whoever is calling.  Only
 * SQL that we wrote may run in it.
 */
extern void identity_enter_extension(IdentityScope *scope);

/* Only the settings of SEMANTICS 4, no change of user. */
extern void identity_enter_rendering(IdentityScope *scope);

extern void identity_leave(IdentityScope *scope);

/* The extension's oid, its schema and owner; InvalidOid where not created. */
extern Oid	identity_extension(void);
extern Oid	identity_extension_owner(void);
extern char *identity_extension_schema(void);

/* A setting changed in the present GUC level, as SET LOCAL does. */
extern void identity_set_local(const char *name, const char *value);

#endif							/* ACTIVATE_IDENTITY_H */
