/*
 * path.c
 *	  The paths of a document: which belong to one object, and its name.
 *
 * "/v1/contacts" and "/v1/contacts/{id}" are about the same.  Names are made of
 * whole paths, so that an object keeps its name when an API grows.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "openapi/openapi.h"

/* What is between braces, its end; NULL: there is none here. */
static const char *
path_parameter_end(const char *path)
{
	const char *end = *path == '{' ? strchr(path, '}') : NULL;

	return end != NULL && end > path + 1 ? end : NULL;
}

List *
openapi_path_parameters(const char *path)
{
	List	   *names = NIL;

	for (; *path != '\0'; path++)
	{
		const char *end = path_parameter_end(path);

		if (end == NULL)
			continue;
		names = lappend(names, pnstrdup(path + 1, end - path - 1));
		path = end;
	}
	return names;
}

/* The path with "{}" for each parameter, without what says the format only. */
static char *
path_about(const char *path)
{
	StringInfoData about;

	initStringInfo(&about);
	for (; *path != '\0' && *path != '?' && *path != '#'; path++)
	{
		const char *end = path_parameter_end(path);

		if (end != NULL)
		{
			appendStringInfoString(&about, "{}");
			path = end;
		}
		else
			appendStringInfoChar(&about, *path);
	}
	if (about.len > 5 && strcmp(about.data + about.len - 5, ".json") == 0)
		about.data[about.len -= 5] = '\0';
	while (about.len > 1 && about.data[about.len - 1] == '/')
		about.data[--about.len] = '\0';
	return about.data;
}

/* Cuts the name of one of its kind off the end: "/{}", or "({})" as OData has it. */
static bool
path_cut_item(char *about)
{
	static const char *const ends[] = {"/{}", "({})", "('{}')", NULL};
	size_t		len = strlen(about);

	for (int i = 0; ends[i] != NULL; i++)
	{
		size_t		end = strlen(ends[i]);

		if (len > end && strcmp(about + len - end, ends[i]) == 0)
		{
			about[len - end] = '\0';
			return true;
		}
	}
	return false;
}

static int
path_compare(const void *a, const void *b)
{
	const OpenapiPath *one = a;
	const OpenapiPath *other = b;
	int			order = strcmp(one->about, other->about);

	if (order == 0)
		order = one->item - other->item;
	return order != 0 ? order : strcmp(one->path, other->path);
}

OpenapiPath *
openapi_paths(OpenapiDocument *document, int *n)
{
	OpenapiNode all = openapi_get(&document->root, "paths");
	DefinitionMember *members = openapi_is_object(&all) ? definition_members(&all, n) : NULL;
	OpenapiPath *paths;
	int			kept = 0;

	if (members == NULL)
		*n = 0;
	paths = palloc_extended(sizeof(OpenapiPath) * (*n + 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < *n; i++)
	{
		OpenapiPath *path = &paths[kept];

		CHECK_FOR_INTERRUPTS();
		if (members[i].name[0] != '/')
			continue;
		path->path = members[i].name;
		path->about = path_about(path->path);
		path->item = path_cut_item(path->about);
		path->node = openapi_resolve(document, members[i].value);
		kept++;
	}
	*n = kept;
	qsort(paths, kept, sizeof(OpenapiPath), path_compare);
	return paths;
}

/* The last part that is no parameter. */
char *
openapi_path_last(const char *about)
{
	const char *end = about + strlen(about);

	while (end > about)
	{
		const char *start = end;

		while (start > about && start[-1] != '/')
			start--;
		if (end > start && strchr(start, '{') != NULL && strchr(start, '{') < end)
			end = start > about ? start - 1 : about;
		else if (end == start)
			end = start > about ? start - 1 : about;
		else
			return pnstrdup(start, end - start);
	}
	return pstrdup("");
}

/* "customFields" is custom_fields; so that two long names stay two, they end with a digest. */
char *
openapi_identifier(const char *text)
{
	StringInfoData name;

	initStringInfo(&name);
	for (const char *p = text; *p != '\0'; p++)
	{
		bool		upper = *p >= 'A' && *p <= 'Z';
		bool		letter = upper || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9');

		if ((!letter || (upper && p > text && ((p[-1] >= 'a' && p[-1] <= 'z') || (p[-1] >= '0' && p[-1] <= '9')))) &&
			name.len > 0 && name.data[name.len - 1] != '_')
			appendStringInfoChar(&name, '_');
		if (letter)
			appendStringInfoChar(&name, pg_ascii_tolower((unsigned char) *p));
	}
	while (name.len > 0 && name.data[name.len - 1] == '_')
		name.data[--name.len] = '\0';
	if (name.len >= NAMEDATALEN)
	{
		uint32		digest = hash_bytes((const unsigned char *) name.data, name.len);
		char	   *end = name.data + name.len - (NAMEDATALEN - 10);

		return psprintf("%s_%08x", end + strspn(end, "_"), digest);
	}
	return name.data;
}

/* Is it a version, or a word that says that this is an API? */
static bool
path_is_prefix(const char *part)
{
	static const char *const words[] = {"api", "rest", "apis", "services", NULL};
	const char *digits = part + (*part == 'v' || *part == 'V');

	return openapi_one_of(part, words) || (*digits != '\0' && strspn(digits, "0123456789._-") == strlen(digits));
}

char *
openapi_path_name(const char *about)
{
	StringInfoData words;
	char	   *rest = pstrdup(about);
	char	   *name;

	initStringInfo(&words);
	for (char *part = strsep(&rest, "/"); part != NULL; part = strsep(&rest, "/"))
	{
		char	   *brace;

		while ((brace = strstr(part, "{}")) != NULL)
			memset(brace, ' ', 2);
		if (*part == '\0' || (words.len == 0 && path_is_prefix(part)))
			continue;
		appendStringInfo(&words, "/%s", part);
	}
	name = openapi_identifier(words.data);
	if (*name == '\0')
		name = openapi_identifier(about);
	return *name != '\0' ? name : pstrdup("root");
}
