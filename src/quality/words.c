/*
 * words.c
 *	  What an expectation says: a word with its arguments, as in
 *	  accepted_values(status, 'a', 'b'), the bare word with its arguments in the
 *	  options, or any SQL condition.
 *
 * What comes out are raw parse trees, as the parser would have made them of the
 * SQL that is meant: so names, types and rights are checked as those of any
 * other expression.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "core/compat.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "quality/expect.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/regproc.h"
#include "utils/timestamp.h"

/* Of the relation that is referred to, in the condition that looks for its rows. */
#define REFERRED "activate_referred"

typedef struct Word
{
	const char *name;
	const char *kind;
	int			least;			/* arguments */
	int			most;			/* 0: any number */
	const char *options[4];		/* where the arguments stand for the bare word */
	const char *example;
} Word;

static const Word words[] =
{
	{"accepted_values", "row", 2, 0, {"column", "values"}, "accepted_values(status, 'open', 'closed')"},
	{"fresh_within", "fresh", 2, 2, {"column", "interval"}, "fresh_within(updated_at, '1 day')"},
	{"matches", "row", 2, 2, {"column", "pattern"}, "matches(email, '@')"},
	{"not_null", "row", 1, 0, {"columns"}, "not_null(email)"},
	{"range", "row", 3, 3, {"column", "min", "max"}, "range(amount, 0, 100)"},
	{"relationships", "row", 3, 3, {"column", "to", "field"}, "relationships(customer_id, mart.customer, id)"},
	{"row_count_between", "count", 2, 2, {"min", "max"}, "row_count_between(1, 1000)"},
	{"unique", "unique", 1, 0, {"columns"}, "unique(id)"},
};

pg_noreturn static void refuse(const Word *word, const char *what);

static void
refuse(const Word *word, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("expectation \"%s\" %s", word->name, what),
			 errhint("For example: %s.", word->example)));
}

static const Word *
find_word(const char *name)
{
	for (int i = 0; i < lengthof(words); i++)
		if (pg_strcasecmp(words[i].name, name) == 0)
			return &words[i];
	return NULL;
}

/* The text if it is one name and nothing else, without blanks around; NULL: it is not. */
static char *
bare_word(const char *text)
{
	size_t		length;

	text += strspn(text, " \t\r\n");
	length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_");
	if (length == 0 || text[length + strspn(text + length, " \t\r\n")] != '\0')
		return NULL;
	return pnstrdup(text, length);
}

static Node *
column_ref(const char *name)
{
	ColumnRef  *result = makeNode(ColumnRef);

	result->fields = list_make1(makeString(pstrdup(name)));
	result->location = -1;
	return (Node *) result;
}

static Node *
literal(const char *text)
{
	A_Const    *result = makeNode(A_Const);

	result->val.sval.type = T_String;
	result->val.sval.sval = pstrdup(text);
	result->location = -1;
	return (Node *) result;
}

static Node *
null_literal(void)
{
	A_Const    *result = makeNode(A_Const);

	result->isnull = true;
	result->location = -1;
	return (Node *) result;
}

/* What the text of a literal is; NULL: it is none, or null. */
static char *
literal_text(const Node *node)
{
	const A_Const *constant = (const A_Const *) node;

	if (!IsA(node, A_Const) || constant->isnull)
		return NULL;
	switch (nodeTag(&constant->val))
	{
		case T_String:
			return constant->val.sval.sval;
		case T_Integer:
			return psprintf("%d", constant->val.ival.ival);
		case T_Float:
			return constant->val.fval.fval;
		default:
			return NULL;
	}
}

static bool
is_null_literal(const Node *node)
{
	return IsA(node, A_Const) && ((const A_Const *) node)->isnull;
}

/* The text of a scalar of JSON; NULL: of null, or of what is none. */
static char *
scalar_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

/* "mart.customer" as a list of String. */
static Node *
name_ref(const char *text)
{
	ColumnRef  *result = makeNode(ColumnRef);

	result->fields = compat_qualified_name(text);
	result->location = -1;
	return (Node *) result;
}

/* A member of the options as arguments. */
static List *
option_arguments(const Word *word, const char *name, const JsonbValue *value)
{
	bool		is_column = strcmp(name, "column") == 0 || strcmp(name, "columns") == 0 || strcmp(name, "field") == 0;
	List	   *result = NIL;
	char	   *text = scalar_text(value);

	if (text)
		return list_make1(strcmp(name, "to") == 0 ? name_ref(text) : is_column ? column_ref(text) : literal(text));
	if (value->type == jbvNull && (strcmp(name, "min") == 0 || strcmp(name, "max") == 0))
		return list_make1(null_literal());
	if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		(strcmp(name, "columns") == 0 || strcmp(name, "values") == 0))
	{
		JsonbIterator *iterator = JsonbIteratorInit(value->val.binary.data);
		JsonbValue	element;
		JsonbIteratorToken token;

		while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
			if (token == WJB_ELEM && (text = scalar_text(&element)) != NULL)
				result = lappend(result, is_column ? column_ref(text) : literal(text));
		return result;
	}
	refuse(word, psprintf("cannot use its option \"%s\"", name));
}

static bool
is_option_of(const Word *word, const char *name)
{
	for (int i = 0; i < lengthof(word->options) && word->options[i]; i++)
		if (strcmp(word->options[i], name) == 0)
			return true;
	/* of one column or several */
	return strcmp(name, "column") == 0 && strcmp(word->options[0], "columns") == 0;
}

/* The arguments of the bare word, in their order. */
static List *
arguments_of(const Word *word, Jsonb *options)
{
	List	   *result = NIL;
	JsonbIterator *iterator = JsonbIteratorInit(&options->root);
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY && !is_option_of(word, pnstrdup(value.val.string.val, value.val.string.len)))
			refuse(word, psprintf("has no option \"%.*s\"", value.val.string.len, value.val.string.val));
	for (int i = 0; i < lengthof(word->options) && word->options[i]; i++)
	{
		const char *name = word->options[i];

		if (getKeyJsonValueFromContainer(&options->root, name, strlen(name), &value) == NULL &&
			(strcmp(name, "columns") != 0 || getKeyJsonValueFromContainer(&options->root, "column", 6, &value) == NULL))
		{
			if (strcmp(name, "min") != 0 && strcmp(name, "max") != 0)
				refuse(word, psprintf("needs its option \"%s\"", name));
			result = lappend(result, null_literal());
			continue;
		}
		result = list_concat(result, option_arguments(word, name, &value));
	}
	return result;
}

static Node *
operation(const char *operator, Node *left, Node *right)
{
	return (Node *) makeSimpleA_Expr(AEXPR_OP, unconstify(char *, operator), left, right, -1);
}

static Node *
both(Node *a, Node *b)
{
	return a ? b ? (Node *) makeBoolExpr(AND_EXPR, list_make2(a, b), -1) : a : b;
}

static Node *
is_null_test(Node *argument, NullTestType type)
{
	NullTest   *result = makeNode(NullTest);

	result->arg = (Expr *) argument;
	result->nulltesttype = type;
	result->location = -1;
	return (Node *) result;
}

/* It is NULL, or there is a row of the other relation with it. */
static Node *
is_referred(const Word *word, const char *relation, List *arguments)
{
	Node	   *column = linitial(arguments);
	Node	   *to = lsecond(arguments);
	Node	   *field = lthird(arguments);
	SubLink    *exists = makeNode(SubLink);
	SelectStmt *select = makeNode(SelectStmt);
	RangeVar   *from;
	ColumnRef  *inner = makeNode(ColumnRef);

	if (!IsA(column, ColumnRef) || !IsA(field, ColumnRef) || list_length(((ColumnRef *) field)->fields) != 1)
		refuse(word, "takes a column, a relation and a column of that");
	if (literal_text(to))
		to = name_ref(literal_text(to));
	if (!IsA(to, ColumnRef))
		refuse(word, "takes a column, a relation and a column of that");
	from = makeRangeVarFromNameList(((ColumnRef *) to)->fields);
	from->alias = makeAlias(REFERRED, NIL);
	inner->fields = list_make2(makeString(REFERRED), linitial(((ColumnRef *) field)->fields));
	inner->location = -1;
	/* the other relation may have a column of that name, too */
	if (list_length(((ColumnRef *) column)->fields) == 1)
		((ColumnRef *) column)->fields = lcons(makeString(pstrdup(relation)), ((ColumnRef *) column)->fields);

	select->fromClause = list_make1(from);
	select->whereClause = operation("=", (Node *) inner, copyObject(column));
	exists->subLinkType = EXISTS_SUBLINK;
	exists->subselect = (Node *) select;
	exists->location = -1;
	return (Node *) makeBoolExpr(OR_EXPR, list_make2(is_null_test(copyObject(column), IS_NULL), exists), -1);
}

static Node *
row_condition(const Word *word, const char *relation, List *arguments)
{
	Node	   *column = linitial(arguments);
	Node	   *result = NULL;
	ListCell   *cell;

	if (strcmp(word->name, "not_null") == 0)
	{
		foreach(cell, arguments)
			result = both(result, is_null_test(lfirst(cell), IS_NOT_NULL));
		return result;
	}
	if (strcmp(word->name, "accepted_values") == 0)
		return (Node *) makeSimpleA_Expr(AEXPR_IN, "=", column, (Node *) list_copy_tail(arguments, 1), -1);
	if (strcmp(word->name, "matches") == 0)
		return operation("~", column, lsecond(arguments));
	if (strcmp(word->name, "relationships") == 0)
		return is_referred(word, relation, arguments);

	/* range */
	if (!is_null_literal(lsecond(arguments)))
		result = operation(">=", column, lsecond(arguments));
	if (!is_null_literal(lthird(arguments)))
		result = both(result, operation("<=", copyObject(column), lthird(arguments)));
	if (result == NULL)
		refuse(word, "needs \"min\" or \"max\"");
	return result;
}

static void
push_bound(JsonbParseState **state, const Word *word, const char *name, const Node *argument)
{
	JsonbValue	value;
	char	   *text = literal_text(argument);

	if (is_null_literal(argument))
		return;
	if (text == NULL)
		refuse(word, psprintf("takes a constant as \"%s\"", name));
	/* is it one? */
	if (strcmp(name, "interval") == 0)
		(void) DirectFunctionCall3(interval_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	else
		(void) DirectFunctionCall1(int8in, CStringGetDatum(text));
	value.type = jbvString;
	value.val.string.val = unconstify(char *, name);
	value.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = text;
	value.val.string.len = strlen(text);
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* Of fresh_within the interval, of row_count_between both of its arguments. */
static Jsonb *
bounds_of(const Word *word, List *arguments)
{
	JsonbParseState *state = NULL;
	bool		fresh = strcmp(word->kind, "fresh") == 0;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (fresh)
		push_bound(&state, word, "interval", lsecond(arguments));
	else
	{
		push_bound(&state, word, "min", linitial(arguments));
		push_bound(&state, word, "max", lsecond(arguments));
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static Node *
as_moment(Node *column)
{
	TypeCast   *cast = makeNode(TypeCast);

	cast->arg = column;
	cast->typeName = makeTypeNameFromNameList(list_make2(makeString("pg_catalog"), makeString("timestamptz")));
	cast->location = -1;
	return (Node *) cast;
}

/* "unique" is a word that SQL keeps for itself. */
static const char *
readable(const char *text)
{
	const char *start = text + strspn(text, " \t\r\n");
	const char *end = start + strlen("unique");

	if (pg_strncasecmp(start, "unique", strlen("unique")) != 0 || end[strspn(end, " \t\r\n")] != '(')
		return text;
	return psprintf("\"unique\"%s", end);
}

static const Word *
called_word(const Node *node)
{
	const FuncCall *call = (const FuncCall *) node;

	if (!IsA(node, FuncCall) || list_length(call->funcname) != 1 || call->agg_order || call->agg_filter || call->over ||
		call->agg_star || call->agg_distinct || call->func_variadic)
		return NULL;
	return find_word(strVal(linitial(call->funcname)));
}

ExpectationText *
expectation_parse(const char *relation, const char *text, Jsonb *options)
{
	ExpectationText *result = palloc0(sizeof(ExpectationText));
	char	   *bare = bare_word(text);
	const Word *word = bare ? find_word(bare) : NULL;
	List	   *arguments;

	result->kind = "row";
	if (word)
		arguments = arguments_of(word, options);
	else
	{
		Node	   *parsed;

		if (JB_ROOT_COUNT(options) > 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("options of an expectation are for a word that stands alone"),
					 errhint("Words are: accepted_values, fresh_within, matches, not_null, range, relationships, row_count_between, unique.")));
		parsed = sync_parse_expression(readable(text), "expectation");
		word = called_word(parsed);
		if (word == NULL)
		{
			result->columns = list_make1(parsed);
			return result;
		}
		arguments = ((FuncCall *) parsed)->args;
	}
	if (list_length(arguments) < word->least || (word->most > 0 && list_length(arguments) > word->most))
		refuse(word, word->most > 0 ? psprintf("takes %d arguments", word->most) : psprintf("takes at least %d arguments", word->least));

	result->kind = word->kind;
	if (strcmp(word->kind, "row") == 0)
		result->columns = list_make1(row_condition(word, relation, arguments));
	else if (strcmp(word->kind, "unique") == 0)
		result->columns = arguments;
	else
		result->bounds = bounds_of(word, arguments);
	if (strcmp(word->kind, "fresh") == 0)
		result->columns = list_make1(as_moment(linitial(arguments)));
	return result;
}
