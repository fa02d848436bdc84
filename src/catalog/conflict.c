/*
 * conflict.c
 *	  What options.conflict and options.newest say.  They were checked when the
 *	  sync was declared (sync/conflict.c).
 */
#include "postgres.h"

#include "catalog/sync.h"

static char *
text_member(JsonbContainer *object, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, name, strlen(name), &value) == NULL || value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

const char *
sync_conflict_policy(Jsonb *options, const char *column)
{
	JsonbValue	value;
	char	   *policy = NULL;

	if (getKeyJsonValueFromContainer(&options->root, "conflict", strlen("conflict"), &value) == NULL)
		return "warehouse";
	if (value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	if (value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data))
	{
		policy = text_member(value.val.binary.data, column);
		if (policy == NULL)
			policy = text_member(value.val.binary.data, "*");
	}
	return policy ? policy : "warehouse";
}

char *
sync_conflict_newest(Jsonb *options, const char *side)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&options->root, "newest", strlen("newest"), &value) == NULL)
		return NULL;
	if (value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	return value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data) ? text_member(value.val.binary.data, side) : NULL;
}

/* May what an application has changed stay, under this policy? */
static bool
leaves_it(const JsonbValue *policy)
{
	static const char *const policies[] = {"application", "newest"};

	for (int i = 0; i < lengthof(policies); i++)
		if (policy->type == jbvString && policy->val.string.len == strlen(policies[i]) &&
			memcmp(policy->val.string.val, policies[i], policy->val.string.len) == 0)
			return true;
	return false;
}

bool
sync_heeds_application(const Sync *sync)
{
	JsonbValue	value;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	member;

	if (sync->options == NULL || getKeyJsonValueFromContainer(&sync->options->root, "conflict", strlen("conflict"), &value) == NULL)
		return false;
	if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
		return leaves_it(&value);
	iterator = JsonbIteratorInit(value.val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &member, true)) != WJB_DONE)
		if (token == WJB_VALUE && leaves_it(&member))
			return true;
	return false;
}
