/*
 * defaults.c
 *	  What all objects of a definition have in common: its member "defaults".
 *
 * Many APIs have objects that their users make (classes, collections, custom
 * objects), all read and written alike.  Their definitions say so once; what an
 * object adds is merged over it, and the parameter {$object} is its name.
 */
#include "postgres.h"

#include "connector/definition.h"

/* Do they say enough for objects that the definition does not know? */
static bool
defaults_suffice(const JsonbValue *defaults)
{
	JsonbValue	ignored;

	return definition_get_in(defaults, "path", &ignored) || definition_get_in(defaults, "write", &ignored);
}

Jsonb *
definition_object(Jsonb *definition, const char *name)
{
	JsonbValue	objects;
	JsonbValue	own;
	JsonbValue	defaults;
	bool		known = definition_get(definition, "objects", &objects) && definition_get_in(&objects, name, &own);
	Jsonb	   *object = NULL;

	if (definition_get(definition, "defaults", &defaults) && (known || defaults_suffice(&defaults)))
		object = JsonbValueToJsonb(&defaults);
	if (known)
		object = object ? definition_merge(object, JsonbValueToJsonb(&own)) : JsonbValueToJsonb(&own);
	return object;
}
