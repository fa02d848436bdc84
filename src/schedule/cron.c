/*
 * cron.c
 *	  Parses a schedule: cron fields, @macros, @every, @reboot, after.
 *
 * Fields are those of Vixie cron (crontab(5)), with an optional leading
 * seconds field, "L" for the last day of a month, "5L" or "friL" for its last
 * Friday, and "n/step" for "n-max/step".  A value that could be a slip (a step
 * larger than its range, a reversed range) is refused rather than guessed at.
 *
 * No postgres.h: see cron.h.  Input may be any NUL-terminated bytes.
 */
#include "schedule/cron.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct CronField
{
	const char *name;
	int			min;
	int			max;
	const char *const *names;	/* English names of values from min on */
	int			nnames;
} CronField;

/* One word of input: not NUL-terminated. */
typedef struct CronWord
{
	const char *at;
	const char *end;
} CronWord;

const char *const cron_grammar =
"Five fields \"minute hour day month weekday\" (six with leading seconds) of values, names, ranges, "
"steps, lists, * and L; or @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, "
"\"@every 30s\" (s, min, h, d, w), @reboot, or \"after name, name\".";

static const char *const month_names[] = {
	"january", "february", "march", "april", "may", "june", "july",
	"august", "september", "october", "november", "december"
};

static const char *const weekday_names[] = {
	"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"
};

enum
{
	FIELD_SECOND, FIELD_MINUTE, FIELD_HOUR, FIELD_DAY, FIELD_MONTH, FIELD_WEEKDAY, FIELD_COUNT
};

static const CronField fields[FIELD_COUNT] = {
	{"second", 0, 59, NULL, 0},
	{"minute", 0, 59, NULL, 0},
	{"hour", 0, 23, NULL, 0},
	{"day", 1, 31, NULL, 0},
	{"month", 1, 12, month_names, 12},
	{"weekday", 0, 7, weekday_names, 7},
};

static const struct
{
	const char *name;
	const char *fields;
}			macros[] = {
	{"@hourly", "0 * * * *"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@weekly", "0 0 * * 0"},
	{"@monthly", "0 0 1 * *"},
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
};

static bool parse_macro(CronWord word, const char *rest, Cron *cron, CronError *error);
static bool parse_fields(const char *text, Cron *cron, CronError *error);
static bool parse_field(int which, CronWord word, Cron *cron, CronError *error);
static bool parse_item(int which, CronWord word, Cron *cron, CronError *error);
static bool parse_range(const CronField *field, CronWord range, bool has_step, int *low, int *high, CronError *error);
static bool fail_value(const CronField *field, CronWord word, CronError *error);
static bool parse_value(const CronField *field, CronWord word, int *value, CronError *error);
static bool parse_step(const CronField *field, CronWord word, int *step, CronError *error);
static bool check_names(const char *at, CronError *error);

bool
cron_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool
cron_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The next word separated by spaces; empty at the end. */
static CronWord
next_word(const char **at)
{
	CronWord	word;

	while (cron_is_space(**at))
		(*at)++;
	word.at = *at;
	while (**at != '\0' && !cron_is_space(**at))
		(*at)++;
	word.end = *at;
	return word;
}

static size_t
word_length(CronWord word)
{
	return (size_t) (word.end - word.at);
}

static bool
word_is(CronWord word, const char *text)
{
	return word_length(word) == strlen(text) && strncasecmp(word.at, text, word_length(word)) == 0;
}

/*
 * Hostile input is quoted shortened, and without bytes that the reader's
 * encoding might not take.
 */
bool
cron_fail(CronError *error, const char *format, const char *text, size_t length)
{
	char		shown[44];
	size_t		n = 0;

	for (; n < length && n < 40; n++)
		shown[n] = (text[n] >= ' ' && text[n] <= '~') ? text[n] : '?';
	if (n < length)
	{
		memcpy(shown + n, "...", 3);
		n += 3;
	}
	shown[n] = '\0';
	snprintf(error->message, sizeof(error->message), format, shown);
	return false;
}

bool
cron_parse(const char *text, Cron *cron, CronError *error)
{
	const char *rest = text;
	CronWord	word;

	memset(cron, 0, sizeof(*cron));
	error->message[0] = '\0';

	word = next_word(&rest);
	if (word_length(word) == 0)
		return cron_fail(error, "The schedule is empty.", "", 0);
	if (*word.at == '@')
		return parse_macro(word, rest, cron, error);
	/* after"a" needs no space */
	if (strncasecmp(word.at, "after", 5) == 0 &&
		(word.at[5] == '\0' || word.at[5] == '"' || cron_is_space(word.at[5])))
	{
		cron->kind = CRON_AFTER;
		cron->after = word.at + 5;
		return check_names(cron->after, error);
	}
	return parse_fields(text, cron, error);
}

static bool
parse_macro(CronWord word, const char *rest, Cron *cron, CronError *error)
{
	CronWord	extra;

	if (word_is(word, "@every"))
	{
		cron->kind = CRON_EVERY;
		return cron_parse_every(rest, &cron->every, error);
	}

	extra = next_word(&rest);
	if (word_length(extra) != 0)
		return cron_fail(error, "There is more after the @name: \"%s\".", extra.at, word_length(extra));

	if (word_is(word, "@reboot"))
	{
		cron->kind = CRON_REBOOT;
		return true;
	}
	for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
		if (word_is(word, macros[i].name))
			return parse_fields(macros[i].fields, cron, error);
	return cron_fail(error, "Unknown name \"%s\".", word.at, word_length(word));
}

static bool
parse_fields(const char *text, Cron *cron, CronError *error)
{
	CronWord	words[FIELD_COUNT];
	const char *at = text;
	int			n = 0;
	int			first;
	char		count[12];

	cron->kind = CRON_FIELDS;
	for (;;)
	{
		CronWord	word = next_word(&at);

		if (word_length(word) == 0)
			break;
		if (n < FIELD_COUNT)
			words[n] = word;
		if (++n > 99)
			break;
	}
	if (n != FIELD_COUNT && n != FIELD_COUNT - 1)
	{
		snprintf(count, sizeof(count), "%d", n);
		return cron_fail(error, "Expected 5 or 6 fields, found %s.", count, strlen(count));
	}

	first = FIELD_COUNT - n;
	cron->second = 1;
	if (first == 0)
		cron->second = 0;
	for (int i = 0; i < n; i++)
		if (!parse_field(first + i, words[i], cron, error))
			return false;

	if (!cron_has_day(cron))
		return cron_fail(error, "No month that is chosen has such a day.", "", 0);
	return true;
}

static uint64_t *
field_bits(int which, Cron *cron)
{
	switch (which)
	{
		case FIELD_SECOND:
			return &cron->second;
		case FIELD_MINUTE:
			return &cron->minute;
		case FIELD_HOUR:
			return &cron->hour;
		case FIELD_DAY:
			return &cron->day;
		case FIELD_MONTH:
			return &cron->month;
		default:
			return &cron->weekday;
	}
}

/* A list of items. */
static bool
parse_field(int which, CronWord word, Cron *cron, CronError *error)
{
	bool		star = *word.at == '*';
	CronWord	item;

	if (which == FIELD_HOUR)
		cron->any_hour = star;
	else if (which == FIELD_DAY)
		cron->any_day = star;
	else if (which == FIELD_WEEKDAY)
		cron->any_weekday = star;

	item.at = word.at;
	for (;;)
	{
		item.end = item.at;
		while (item.end < word.end && *item.end != ',')
			item.end++;
		if (!parse_item(which, item, cron, error))
			return false;
		if (item.end == word.end)
			break;
		item.at = item.end + 1;
	}

	/* Sunday is 0 and 7 */
	if (which == FIELD_WEEKDAY && (cron->weekday & (UINT64_C(1) << 7)) != 0)
		cron->weekday = (cron->weekday | 1) & 0x7f;
	return true;
}

/* "*", "n", "n-m", each with an optional "/step"; "L" and "nL" where they may stand. */
static bool
parse_item(int which, CronWord word, Cron *cron, CronError *error)
{
	const CronField *field = &fields[which];
	CronWord	value = word;
	CronWord	step_word;
	int			low = field->min;
	int			high = which == FIELD_WEEKDAY ? 6 : field->max;
	int			step = 1;
	bool		has_step;

	if (which == FIELD_DAY && word_is(word, "L"))
	{
		cron->last_day = true;
		return true;
	}
	if (which == FIELD_WEEKDAY && word_length(word) > 1 && (word.end[-1] == 'L' || word.end[-1] == 'l'))
	{
		value.end--;
		if (!parse_value(field, value, &low, error))
			return false;
		cron->last_weekday |= UINT64_C(1) << (low % 7);
		return true;
	}

	value.end = word.at;
	while (value.end < word.end && *value.end != '/')
		value.end++;
	step_word.at = value.end;
	step_word.end = word.end;
	has_step = step_word.at < step_word.end;
	if (has_step)
		step_word.at++;

	/* "-1" and "/5" are shown whole */
	if (value.at == value.end || *value.at == '-')
		return fail_value(field, word, error);
	if (!word_is(value, "*") && !parse_range(field, value, has_step, &low, &high, error))
		return false;
	if (has_step && !parse_step(field, step_word, &step, error))
		return false;
	for (int i = low; i <= high; i += step)
		*field_bits(which, cron) |= UINT64_C(1) << i;
	return true;
}

/* "n" or "n-m"; with a step, "n" reaches to the end of the field (as high is). */
static bool
parse_range(const CronField *field, CronWord range, bool has_step, int *low, int *high, CronError *error)
{
	CronWord	lower = range;
	CronWord	upper = range;

	while (upper.at < upper.end && *upper.at != '-')
		upper.at++;
	lower.end = upper.at;
	if (!parse_value(field, lower, low, error))
		return false;
	if (upper.at < upper.end)
	{
		upper.at++;
		if (!parse_value(field, upper, high, error))
			return false;
		/* fri-sun */
		if (field == &fields[FIELD_WEEKDAY] && *high == 0 && *low > 0)
			*high = 7;
	}
	else if (!has_step)
		*high = *low;
	if (*low > *high)
		return cron_fail(error, "The range \"%s\" is reversed; write it as a list of two ranges.",
						 range.at, word_length(range));
	return true;
}

static bool
fail_value(const CronField *field, CronWord word, CronError *error)
{
	char		format[120];

	snprintf(format, sizeof(format), "\"%%s\" is no %s: values are %d to %d%s.",
			 field->name, field->min, field->max,
			 field->nnames == 12 ? " or jan to dec" : field->nnames == 7 ? " or sun to sat" : "");
	return cron_fail(error, format, word.at, word_length(word));
}

/* A number in the field's range, or the first three letters or the whole of a name. */
static bool
parse_value(const CronField *field, CronWord word, int *value, CronError *error)
{
	int			number = 0;

	if (word_length(word) == 0 || word_length(word) > 9)
		return fail_value(field, word, error);
	for (int i = 0; i < field->nnames; i++)
		if (word_is(word, field->names[i]) ||
			(word_length(word) == 3 && strncasecmp(word.at, field->names[i], 3) == 0))
		{
			*value = field->min + i;
			return true;
		}
	for (const char *p = word.at; p < word.end; p++)
	{
		if (!cron_is_digit(*p))
			return fail_value(field, word, error);
		number = number * 10 + (*p - '0');
	}
	if (number < field->min || number > field->max)
		return fail_value(field, word, error);
	*value = number;
	return true;
}

static bool
parse_step(const CronField *field, CronWord word, int *step, CronError *error)
{
	int			number = 0;
	bool		good = word_length(word) > 0 && word_length(word) <= 3;
	char		format[120];

	for (const char *p = word.at; good && p < word.end; p++)
	{
		good = cron_is_digit(*p);
		number = number * 10 + (*p - '0');
	}
	if (!good || number < 1 || number > field->max)
	{
		snprintf(format, sizeof(format), "\"%%s\" is no step of %s: steps are 1 to %d.", field->name, field->max);
		return cron_fail(error, format, word.at, word_length(word));
	}
	*step = number;
	return true;
}

/* Walks the names after "after" without keeping them. */
static bool
check_names(const char *at, CronError *error)
{
	int			n = 0;

	for (;;)
	{
		switch (cron_next_name(&at, NULL, error))
		{
			case CRON_ITEM:
				n++;
				break;
			case CRON_BAD:
				return false;
			case CRON_END:
				if (n == 0)
					return cron_fail(error, "\"after\" needs the name of a sync.", "", 0);
				return true;
		}
	}
}
