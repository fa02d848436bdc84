/*
 * fast.c
 *	  Values of a page as datums of the most usual types.
 *
 * Only where that is exactly what the type's input function makes of the
 * value's text, whatever the settings of the session; false: ask it.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "rest/rest.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* Digits that are sure to fit into 64 bits, and into the mantissa of a double. */
#define INT64_DIGITS	18
#define DOUBLE_DIGITS	15

bool
rest_fast_text(const SeekValue *value, Datum *datum)
{
	text	   *result;

	if (value->kind != SEEK_STRING || !rest_value_is_native())
		return false;
	result = palloc(VARHDRSZ + value->len);
	if (value->plain)
	{
		memcpy(VARDATA(result), value->at, value->len);
		SET_VARSIZE(result, VARHDRSZ + value->len);
	}
	else
		SET_VARSIZE(result, VARHDRSZ + seek_unescape(value->at, value->len, VARDATA(result)));
	*datum = PointerGetDatum(result);
	return true;
}

bool
rest_fast_int64(const SeekValue *value, int64 least, int64 most, int64 *result)
{
	const char *p = value->at;
	const char *end;
	bool		negative;
	int64		number = 0;

	if (value->kind != SEEK_NUMBER || value->len > INT64_DIGITS)
		return false;
	end = p + value->len;
	negative = *p == '-';
	for (p += negative; p < end; p++)
	{
		if (*p < '0' || *p > '9')
			return false;
		number = number * 10 + (*p - '0');
	}
	*result = negative ? -number : number;
	return *result >= least && *result <= most;
}

/* Both parts of the division are exact, so its result is the double nearest to the number. */
bool
rest_fast_float8(const SeekValue *value, float8 *result)
{
#if FLT_EVAL_METHOD == 0
	static const double powers[] = {
		1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15
	};
	const char *p = value->at;
	const char *end;
	const char *point;
	bool		negative;
	int64		number = 0;

	if (value->kind != SEEK_NUMBER || !value->plain || value->len > DOUBLE_DIGITS)
		return false;
	end = point = p + value->len;
	negative = *p == '-';
	for (p += negative; p < end; p++)
	{
		if (*p == '.')
			point = p + 1;
		else
			number = number * 10 + (*p - '0');
	}
	*result = (double) (negative ? -number : number) / powers[end - point];
	return true;
#else
	return false;
#endif
}

/* So many digits at *p, which moves behind them and a separator (0: none). */
static bool
fast_digits(const char **p, const char *end, int n, char separator, int *result)
{
	*result = 0;
	if (end - *p < n + (separator != 0))
		return false;
	for (int i = 0; i < n; i++, (*p)++)
	{
		if (**p < '0' || **p > '9')
			return false;
		*result = *result * 10 + (**p - '0');
	}
	return separator == 0 || *(*p)++ == separator;
}

/* YYYY-MM-DD; no setting of DateStyle reads it in another way. */
static bool
fast_day(const char **p, const char *end, int *day)
{
	int			year;
	int			month;
	int			of_month;

	if (!fast_digits(p, end, 4, '-', &year) || !fast_digits(p, end, 2, '-', &month) || !fast_digits(p, end, 2, 0, &of_month))
		return false;
	if (year == 0 || month < 1 || month > 12 || of_month < 1 || of_month > day_tab[isleap(year)][month - 1])
		return false;
	*day = date2j(year, month, of_month) - POSTGRES_EPOCH_JDATE;
	return true;
}

bool
rest_fast_date(const SeekValue *value, DateADT *result)
{
	const char *p = value->at;
	int			day;

	if (value->kind != SEEK_STRING || !value->plain || value->len != 10 || !fast_day(&p, p + 10, &day))
		return false;
	*result = day;
	return true;
}

/* Z, +HH, +HH:MM or +HHMM, and nothing behind it: in seconds east. */
static bool
fast_zone(const char *p, const char *end, int *seconds)
{
	int			hours;
	int			minutes = 0;
	bool		west;

	*seconds = 0;
	if (end - p == 1 && *p == 'Z')
		return true;
	if (p == end || (*p != '+' && *p != '-'))
		return false;
	west = *p++ == '-';
	if (!fast_digits(&p, end, 2, 0, &hours))
		return false;
	if (p < end && *p == ':')
		p++;
	if ((p < end || p[-1] == ':') && !fast_digits(&p, end, 2, 0, &minutes))
		return false;
	if (p != end || hours > 14 || minutes > 59)
		return false;
	*seconds = (hours * 60 + minutes) * 60;
	if (west)
		*seconds = -*seconds;
	return true;
}

/* A point and up to six digits, as microseconds; none: 0. */
static bool
fast_fraction(const char **p, const char *end, int *result)
{
	int			n = 0;

	*result = 0;
	if (*p == end || **p != '.')
		return true;
	for ((*p)++; *p < end && **p >= '0' && **p <= '9'; (*p)++, n++)
	{
		if (n == 6)
			return false;
		*result = *result * 10 + (**p - '0');
	}
	if (n == 0)
		return false;
	for (; n < 6; n++)
		*result *= 10;
	return true;
}

/* With a zone only: without one it would be that of the session. */
bool
rest_fast_timestamptz(const SeekValue *value, TimestampTz *result)
{
	const char *p = value->at;
	const char *end;
	int			day;
	int			hour;
	int			minute;
	int			second;
	int			fraction;
	int			zone;

	if (value->kind != SEEK_STRING || !value->plain)
		return false;
	end = p + value->len;
	if (!fast_day(&p, end, &day) || p == end || (*p != 'T' && *p != ' '))
		return false;
	p++;
	if (!fast_digits(&p, end, 2, ':', &hour) || !fast_digits(&p, end, 2, ':', &minute) ||
		!fast_digits(&p, end, 2, 0, &second) || hour > 23 || minute > 59 || second > 59)
		return false;
	if (!fast_fraction(&p, end, &fraction) || !fast_zone(p, end, &zone))
		return false;
	*result = day * USECS_PER_DAY + ((hour * 60 + minute) * 60 + second - zone) * USECS_PER_SEC + fraction;
	return true;
}

/* Microseconds of so many units; what is not whole is rounded. */
static bool
fast_units(const SeekValue *value, int64 unit, int64 *us)
{
	char		text[64];
	char	   *end;
	double		number;
	int64		whole;

	if (rest_fast_int64(value, PG_INT64_MIN, PG_INT64_MAX, &whole))
		return !pg_mul_s64_overflow(whole, unit, us);
	if ((value->kind != SEEK_NUMBER && value->kind != SEEK_STRING) || value->len == 0 || value->len >= sizeof(text))
		return false;
	memcpy(text, value->at, value->len);
	text[value->len] = '\0';
	/* strtod knows more than numbers */
	if (text[strspn(text, "0123456789.eE+-")] != '\0')
		return false;
	number = strtod(text, &end) * (double) unit;
	if (*end != '\0' || !(fabs(number) < (double) END_TIMESTAMP))
		return false;
	*us = (int64) rint(number);
	return true;
}

bool
rest_fast_epoch(const SeekValue *value, int64 unit, Oid type, Datum *datum)
{
	int64		moment;

	if (!fast_units(value, unit, &moment) ||
		pg_sub_s64_overflow(moment, (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY, &moment) ||
		!IS_VALID_TIMESTAMP(moment))
		return false;
	if (type == DATEOID)
		*datum = DateADTGetDatum((DateADT) (moment / USECS_PER_DAY - (moment % USECS_PER_DAY < 0)));
	else
		*datum = TimestampTzGetDatum(moment);
	return true;
}
