/*
 * compile_answer.c
 *	  A checked "answer" into what the reader works with.
 *
 * It may be given for the whole definition, for an object and for an operation.
 * Members of the inner overrule those of the outer; but rules add up: those of
 * the operation are asked first, then the object's, then the definition's.
 */
#include "postgres.h"

#include "connector/rule.h"

/* The places where an "answer" may stand, the innermost first. */
#define PLACES 3

typedef struct AnswerSource
{
	JsonbValue	at[PLACES];		/* jbvNull: none */
	const char *where;			/* the operation, for messages */
	const char *subject;
} AnswerSource;

pg_noreturn static void
answer_fail(const AnswerSource *source, const char *message, const char *hint)
{
	definition_fail(source->subject, psprintf("the answer of \"%s\" %s", source->where, message), hint);
}

static bool
source_get(const AnswerSource *source, const char *name, JsonbValue *value)
{
	for (int i = 0; i < PLACES; i++)
		if (definition_get_in(&source->at[i], name, value))
			return true;
	return false;
}

static char *
source_text(const AnswerSource *source, const char *name)
{
	JsonbValue	value;

	return source_get(source, name, &value) ? template_scalar_text(&value) : NULL;
}

static AnswerVerdict
verdict_of(const char *class)
{
	static const char *const names[] = {
		[VERDICT_AUTH] = "auth",
		[VERDICT_CONFIG] = "config",
		[VERDICT_THROTTLED] = "throttled",
		[VERDICT_LOCKED] = "locked",
		[VERDICT_TRANSIENT] = "transient",
		[VERDICT_INVALID_BATCH] = "invalid_batch",
		[VERDICT_INVALID_ROW] = "invalid_row",
		[VERDICT_SILENT] = "silent",
		[VERDICT_WARNING] = "warning",
		[VERDICT_OK] = "ok"
	};

	for (int i = VERDICT_AUTH; i <= VERDICT_OK; i++)
		if (strcmp(names[i], class) == 0)
			return (AnswerVerdict) i;
	return VERDICT_NONE;
}

static AnswerTexts
texts_of(const JsonbValue *from, const char *name)
{
	AnswerTexts texts = {0};
	JsonbValue	value;
	DefinitionMember *members;

	if (!definition_get_in(from, name, &value))
		return texts;
	members = rule_values(&value, &texts.n);
	texts.texts = palloc(sizeof(char *) * texts.n);
	for (int i = 0; i < texts.n; i++)
		texts.texts[i] = template_scalar_text(&members[i].value);
	return texts;
}

static bool
number_of(const JsonbValue *from, const char *name, double *number)
{
	JsonbValue	value;

	if (!definition_get_in(from, name, &value))
		return false;
	*number = strtod(template_scalar_text(&value), NULL);
	return true;
}

static void
compile_condition(AnswerCondition *condition, const JsonbValue *from, const char *where, const AnswerSource *source)
{
	JsonbValue	value;

	if (definition_get_in(from, "status", &value))
	{
		DefinitionMember *members = rule_values(&value, &condition->nstatuses);

		condition->statuses = palloc(sizeof(AnswerRange) * condition->nstatuses);
		for (int i = 0; i < condition->nstatuses; i++)
			(void) rule_status(&members[i].value, &condition->statuses[i].least, &condition->statuses[i].most);
	}
	condition->path = definition_text(from, "path");
	condition->header = definition_text(from, "header");
	condition->is = texts_of(from, "is");
	condition->not_in = texts_of(from, "not");
	condition->contains = texts_of(from, "contains");
	condition->has_min = number_of(from, "min", &condition->min);
	condition->has_max = number_of(from, "max", &condition->max);
	condition->asks_value = condition->is.n + condition->not_in.n + condition->contains.n > 0 ||
		condition->has_min || condition->has_max;
	condition->asks_exists = definition_get_in(from, "exists", &value);
	condition->exists = condition->asks_exists && value.val.boolean;
	if (condition->path != NULL && condition->header != NULL)
		answer_fail(source, psprintf("has \"path\" and \"header\" in \"%s\"", where),
					"A condition looks at one of them; put the other into \"and\".");
	if ((condition->path != NULL || condition->header != NULL) && !condition->asks_value && !condition->asks_exists)
		answer_fail(source, psprintf("has a \"%s\" in \"%s\", but nothing that it must be", condition->path ? "path" : "header", where),
					"Add one of: is, not, contains, min, max, exists.");
	if (condition->path == NULL && condition->header == NULL && (condition->asks_value || condition->asks_exists))
		answer_fail(source, psprintf("says in \"%s\" what a value must be, but not which", where),
					"Add \"path\", as in \"errors.*.code\"; \"\" is the whole answer.");
	if (condition->asks_exists && !condition->exists && condition->asks_value)
		answer_fail(source, psprintf("asks in \"%s\" for a value that must not exist", where),
					"Leave \"exists\" out: whatever is asked of a value holds only of one that is there.");
}

/* A rule's own condition and those of "and". */
static AnswerCondition *
compile_conditions(const JsonbValue *from, int *n, const char *where, const AnswerSource *source)
{
	JsonbValue	further;
	DefinitionMember *members = NULL;
	int			more = 0;
	AnswerCondition *conditions;

	if (definition_get_in(from, "and", &further))
		members = definition_members(&further, &more);
	conditions = palloc0(sizeof(AnswerCondition) * (more + 1));
	compile_condition(&conditions[0], from, where, source);
	for (int i = 0; i < more; i++)
		compile_condition(&conditions[i + 1], &members[i].value, psprintf("%s.and.%d", where, i), source);
	*n = more + 1;
	return conditions;
}

static void
compile_rule(AnswerRule *rule, const JsonbValue *from, const char *where, bool of_row, const AnswerSource *source)
{
	char	   *class = definition_text(from, "class");
	char	   *wait = definition_text(from, "wait");
	int64		us;

	if (class == NULL)
		answer_fail(source, psprintf("has no \"class\" in \"%s\"", where),
					"Valid classes are: ok, warning, invalid_row, invalid_batch, auth, throttled, transient, locked, config, silent.");
	rule->verdict = verdict_of(class);
	rule->conditions = compile_conditions(from, &rule->nconditions, where, source);
	for (int i = 0; of_row && i < rule->nconditions; i++)
		if (rule->conditions[i].header != NULL)
			answer_fail(source, psprintf("has a \"header\" in \"%s\"", where), "An element of a list has no headers: write it into \"rules\".");
	rule->wait_ms = wait != NULL && rate_period(wait, &us) ? us / 1000 : -1;
	rule->wait_at = definition_text(from, "wait_at");
	rule->reason = definition_text(from, "reason");
	if ((wait != NULL || rule->wait_at != NULL) && rule->verdict != VERDICT_THROTTLED &&
		rule->verdict != VERDICT_TRANSIENT && rule->verdict != VERDICT_LOCKED)
		answer_fail(source, psprintf("tells in \"%s\" to wait, but its class is \"%s\"", where, class),
					"Only the classes throttled, transient and locked wait.");
}

/* Room for so many more. */
static AnswerRule *
rules_more(AnswerRules *rules, int n)
{
	AnswerRule *all = palloc0(sizeof(AnswerRule) * (rules->n + n + 1));

	if (rules->n > 0)
		memcpy(all, rules->rules, sizeof(AnswerRule) * rules->n);
	rules->rules = all;
	rules->n += n;
	return all + rules->n - n;
}

/* "code" and "codes": one rule for each class, the gravest first. */
static void
compile_codes(AnswerRules *rules, char *path, const AnswerSource *source)
{
	DefinitionMember *members[PLACES] = {NULL};
	int			n[PLACES] = {0};
	JsonbValue	codes;

	for (int i = 0; i < PLACES; i++)
		if (definition_get_in(&source->at[i], "codes", &codes))
			members[i] = definition_members(&codes, &n[i]);
	for (AnswerVerdict verdict = VERDICT_AUTH; verdict <= VERDICT_OK; verdict++)
	{
		AnswerTexts texts = {0, palloc(sizeof(char *) * (n[0] + n[1] + n[2] + 1))};
		AnswerRule *rule;

		for (int i = 0; i < PLACES; i++)
			for (int j = 0; j < n[i]; j++)
			{
				bool		overruled = members[i][j].value.type == jbvNull;

				for (int k = 0; k < i && !overruled; k++)
					for (int l = 0; l < n[k] && !overruled; l++)
						overruled = strcmp(members[k][l].name, members[i][j].name) == 0;
				if (!overruled && verdict_of(template_scalar_text(&members[i][j].value)) == verdict)
					texts.texts[texts.n++] = members[i][j].name;
			}
		if (texts.n == 0)
			continue;
		rule = rules_more(rules, 1);
		rule->verdict = verdict;
		rule->wait_ms = -1;
		rule->nconditions = 1;
		rule->conditions = palloc0(sizeof(AnswerCondition));
		rule->conditions->path = path;
		rule->conditions->asks_value = true;
		rule->conditions->is = texts;
	}
}

static void
compile_rules(AnswerRules *rules, const char *name, char *code, const AnswerSource *source)
{
	JsonbValue	list;

	for (int i = 0; i < PLACES; i++)
	{
		int			n;
		DefinitionMember *members;
		AnswerRule *more;

		if (!definition_get_in(&source->at[i], name, &list))
			continue;
		members = definition_members(&list, &n);
		more = rules_more(rules, n);
		for (int j = 0; j < n; j++)
			compile_rule(&more[j], &members[j].value, psprintf("%s.%d", name, j), strcmp(name, "rules") != 0, source);
	}
	if (code != NULL)
		compile_codes(rules, code, source);
}

static AnswerCondition *
compile_success(const char *name, int *n, const AnswerSource *source)
{
	JsonbValue	from;

	*n = 0;
	return source_get(source, name, &from) ? compile_conditions(&from, n, name, source) : NULL;
}

/* The column whose value names a row; default: the key's only one. */
static char *
compile_named_column(const Connector *connector, char *column, const char *what, const AnswerSource *source)
{
	if (column == NULL)
	{
		if (connector->nkeys != 1)
			answer_fail(source, psprintf("has %s but no \"column\"", what),
						"\"column\" is the row's column whose value is echoed; only a key of one column is a default.");
		return connector->key[0];
	}
	if (!connector->free_columns && strcmp(column, "$id") != 0 && definition_computed(connector, column) == NULL)
		definition_require_column(connector, column, "\"answer.column\"", source->subject);
	return column;
}

static void
compile_list(AnswerList *list, const Connector *connector, const JsonbValue *from, const char *where, const AnswerSource *source)
{
	char	   *class = definition_text(from, "class");

	list->path = definition_text(from, "path");
	list->key = definition_text(from, "key");
	list->index = definition_text(from, "index");
	list->error = definition_text(from, "error");
	list->id = definition_text(from, "id");
	list->verdict = verdict_of(class ? class : "invalid_row");
	if (list->path == NULL)
		answer_fail(source, psprintf("has no \"path\" in \"%s\"", where), "\"path\" is where the list stands, as in \"failedUpdates.invalidEmails\".");
	if (list->index != NULL && (list->key != NULL || definition_text(from, "column") != NULL))
		answer_fail(source, psprintf("has \"index\" and \"key\" or \"column\" in \"%s\"", where), "An element names its row by one of them.");
	if (list->index != NULL)
		return;
	if (list->key == NULL)
		list->key = pstrdup("");
	list->column = compile_named_column(connector, definition_text(from, "column"), psprintf("\"%s\"", where), source);
}

static void
compile_lists(ConnectorAnswer *answer, const Connector *connector, const AnswerSource *source)
{
	JsonbValue	lists;
	DefinitionMember *members;

	if (!source_get(source, "lists", &lists))
	{
		if (answer->shape == ANSWER_LISTS)
			answer_fail(source, "has the shape \"lists\" but no \"lists\"",
						"Write [{\"path\": \"failed.emails\", \"column\": \"email\", \"class\": \"invalid_row\"}, ...].");
		return;
	}
	if (answer->shape != ANSWER_LISTS)
		return;
	members = definition_members(&lists, &answer->nlists);
	if (answer->nlists == 0)
		answer_fail(source, "has the shape \"lists\" but \"lists\" is empty", "Name at least one list.");
	answer->lists = palloc0(sizeof(AnswerList) * answer->nlists);
	for (int i = 0; i < answer->nlists; i++)
		compile_list(&answer->lists[i], connector, &members[i].value, psprintf("lists.%d", i), source);
}

static void
compile_counts(ConnectorAnswer *answer, const AnswerSource *source)
{
	JsonbValue	counts;

	if (source_get(source, "counts", &counts))
	{
		answer->failed = definition_text(&counts, "failed");
		answer->accepted = definition_text(&counts, "accepted");
	}
	if (answer->shape == ANSWER_COUNTS && answer->failed == NULL && answer->accepted == NULL)
		answer_fail(source, "has the shape \"counts\" but no \"counts\"", "Write {\"failed\": path}, {\"accepted\": path} or both.");
}

static AnswerShape
compile_shape(const AnswerSource *source)
{
	static const char *const shapes[] = {"status", "array", "errors", "keyed", "lists", "counts"};
	const char *shape = source_text(source, "shape");

	for (int i = 0; shape != NULL && i < lengthof(shapes); i++)
		if (strcmp(shapes[i], shape) == 0)
			return (AnswerShape) i;
	return ANSWER_STATUS;
}

static void
compile_named(ConnectorAnswer *answer, const Connector *connector, const AnswerSource *source)
{
	const char *unmentioned = source_text(source, "unmentioned");

	answer->index = source_text(source, "index");
	answer->key = source_text(source, "key");
	answer->column = source_text(source, "column");
	if (answer->shape == ANSWER_ERRORS && answer->index == NULL)
		answer_fail(source, "has the shape \"errors\" but no \"index\"",
					"\"index\" is the path, in an error, of the position of the row that it is about.");
	if (answer->shape == ANSWER_KEYED && answer->key == NULL)
		answer_fail(source, "has the shape \"keyed\" but no \"key\"",
					"\"key\" is the path, in an element, of the value that equals the row's \"column\".");
	if (answer->shape == ANSWER_KEYED)
		answer->column = compile_named_column(connector, answer->column, "the shape \"keyed\"", source);
	else if (answer->column != NULL)
		(void) compile_named_column(connector, answer->column, "", source);

	/* who is not in a list of failures has succeeded; who is not echoed has not */
	answer->unmentioned = answer->shape == ANSWER_KEYED ? VERDICT_NONE : VERDICT_OK;
	if (unmentioned != NULL)
		answer->unmentioned = strcmp(unmentioned, "ambiguous") == 0 ? VERDICT_NONE : verdict_of(unmentioned);
}

void
definition_compile_answer(ConnectorWrite *write, const Connector *connector, const JsonbValue *whole,
						  const JsonbValue *object, const JsonbValue *operation, const char *where, const char *subject)
{
	const JsonbValue *places[PLACES] = {operation, object, whole};
	AnswerSource source = {.where = where, .subject = subject};
	ConnectorAnswer *answer = &write->answer;
	JsonbValue	value;
	char	   *code;
	char	   *row_code;

	for (int i = 0; i < PLACES; i++)
		if (places[i] == NULL || !definition_get_in(places[i], "answer", &source.at[i]))
			source.at[i].type = jbvNull;
	answer->shape = compile_shape(&source);
	answer->path = source_text(&source, "path");
	answer->status = source_text(&source, "status");
	answer->ok = source_text(&source, "ok");
	answer->error = source_text(&source, "error");
	answer->id = source_text(&source, "id");
	answer->first = source_get(&source, "first", &value) ? atoi(template_scalar_text(&value)) : 0;
	answer->optional = source_get(&source, "optional", &value) ? value.val.boolean
		: answer->shape == ANSWER_ERRORS || answer->shape == ANSWER_LISTS;
	compile_named(answer, connector, &source);
	compile_lists(answer, connector, &source);
	compile_counts(answer, &source);
	code = source_text(&source, "code");
	row_code = source_text(&source, "row_code");
	/* of a part of a job not all is seen here */
	if (whole != NULL && source_get(&source, "codes", &value) && code == NULL && row_code == NULL)
		answer_fail(&source, "has \"codes\" but neither \"code\" nor \"row_code\"",
					"\"code\" is the path of a code in the answer, \"row_code\" in an element of its list.");
	compile_rules(&answer->rules, "rules", code, &source);
	compile_rules(&answer->row_rules, "row_rules", row_code, &source);
	answer->success = compile_success("success", &answer->nsuccess, &source);
	answer->row_success = compile_success("row_success", &answer->nrow_success, &source);
	answer->by_error = answer->error != NULL && answer->status == NULL && answer->ok == NULL && answer->nrow_success == 0 &&
		(answer->shape != ANSWER_STATUS || answer->nsuccess == 0);
}

void
definition_compile_rules(ConnectorAnswer *answer, const JsonbValue *whole, const char *where, const char *subject)
{
	AnswerSource source = {.where = where, .subject = subject};

	source.at[0].type = source.at[1].type = jbvNull;
	if (!definition_get_in(whole, "answer", &source.at[PLACES - 1]))
		source.at[PLACES - 1].type = jbvNull;
	answer->error = source_text(&source, "error");
	compile_rules(&answer->rules, "rules", source_text(&source, "code"), &source);
	answer->success = compile_success("success", &answer->nsuccess, &source);
}
