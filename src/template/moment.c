/*
 * moment.c
 *	  Dates and times in the form that an API wants.
 *
 * Rows are rendered in ISO under TimeZone UTC (SEMANTICS 4), so there is one
 * form to read, by code that asks for no setting of a session.  A time without
 * a zone is one of UTC, as it is when it is rendered.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "datatype/timestamp.h"
#include "template/change.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* From least to most digits at *p, which moves behind them. */
static bool
moment_number(const char **p, int least, int most, int *number)
{
	int			n = 0;

	*number = 0;
	for (; n < most && **p >= '0' && **p <= '9'; (*p)++, n++)
		*number = *number * 10 + (**p - '0');
	return n >= least;
}

static bool
moment_is(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* [+-]HH[:MM[:SS]] or Z, in seconds east; nothing is UTC. */
static bool
moment_zone(const char **p, int *seconds)
{
	bool		west = **p == '-';
	int			part;

	*seconds = 0;
	if (**p == '\0' || moment_is(p, 'Z'))
		return true;
	if (**p != '+' && **p != '-')
		return false;
	for (int i = 0, unit = SECS_PER_HOUR; i < 3; i++, unit /= 60)
	{
		if (i > 0 && **p != ':')
			break;
		(*p)++;
		if (!moment_number(p, 2, 2, &part))
			return false;
		*seconds += part * unit;
	}
	*seconds = west ? -*seconds : *seconds;
	return true;
}

/* Behind the minute: [:SS[.ffffff]]. */
static bool
moment_seconds(const char **p, int64 *us)
{
	int			part;
	int			unit = USECS_PER_SEC / 10;

	if (!moment_is(p, ':'))
		return true;
	if (!moment_number(p, 2, 2, &part) || part > 60)
		return false;
	*us += part * USECS_PER_SEC;
	if (!moment_is(p, '.'))
		return true;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++, unit /= 10)
		*us += (**p - '0') * unit;
	return true;
}

/* YYYY-MM-DD[{T| }HH:MM[:SS[.ffffff]][zone]] in UTC; false: it is none. */
static bool
moment_parse(const char *p, Timestamp *moment)
{
	int			year;
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			zone = 0;
	int64		us = 0;

	if (!moment_number(&p, 4, 6, &year) || !moment_is(&p, '-') || !moment_number(&p, 2, 2, &month) ||
		!moment_is(&p, '-') || !moment_number(&p, 2, 2, &day))
		return false;
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > day_tab[isleap(year)][month - 1] ||
		!IS_VALID_JULIAN(year, month, day))
		return false;
	if (*p == 'T' || *p == ' ')
	{
		p++;
		if (!moment_number(&p, 2, 2, &hour) || !moment_is(&p, ':') || !moment_number(&p, 2, 2, &minute) ||
			hour > 24 || minute > 59)
			return false;
		us = (hour * 60 + minute) * USECS_PER_MINUTE;
		if (!moment_seconds(&p, &us) || !moment_zone(&p, &zone))
			return false;
	}
	*moment = (int64) (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY + us - zone * USECS_PER_SEC;
	return *p == '\0' && IS_VALID_TIMESTAMP(*moment);
}

/* Whole units of us since 1970, the one that has begun. */
static void
moment_number_since(JsonbValue *value, Timestamp moment, int64 us)
{
	int64		since = moment + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64		whole = since / us - (since % us < 0);

	value->type = jbvNumeric;
	value->val.numeric = int64_to_numeric(whole);
}

static char *
moment_format(Timestamp moment, const char *format)
{
	return TextDatumGetCString(DirectFunctionCall2Coll(timestamp_to_char, C_COLLATION_OID, TimestampGetDatum(moment),
													   CStringGetTextDatum(format)));
}

void
change_moment(const char *column, const TemplateChange *change, JsonbValue *value)
{
	Timestamp	moment;
	char	   *text;

	/* seconds, or whatever it is, already */
	if (value->type == jbvNumeric && (change->date == DATE_UNIX || change->date == DATE_UNIX_MS))
		return;
	if (value->type != jbvString || !moment_parse(template_scalar_text(value), &moment))
		change_fail(column, "is no date or time of the common era in ISO form");
	switch (change->date)
	{
		case DATE_UNIX:
			moment_number_since(value, moment, USECS_PER_SEC);
			return;
		case DATE_UNIX_MS:
			moment_number_since(value, moment, 1000);
			return;
		case DATE_DAY:
			text = moment_format(moment, "YYYY-MM-DD");
			break;
		case DATE_FORMAT:
			text = moment_format(moment, change->date_format);
			break;
		default:
			text = moment_format(moment, moment % USECS_PER_SEC == 0 ? "YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"" :
								 moment % 1000 == 0 ? "YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"" : "YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"");
			break;
	}
	change_set_text(value, text);
}
