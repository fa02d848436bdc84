/*
 * cron_next.c
 *	  Which local times match the fields of a schedule.
 *
 * The rule for days is that of Vixie cron (crontab(5)): if both the day of the
 * month and the weekday are restricted, either of them may match; if one of
 * the two fields begins with "*", both must.
 *
 * No postgres.h: see cron.h.
 */
#include "schedule/cron.h"

#define DAY_SECONDS INT64_C(86400)

typedef struct Civil
{
	int64_t		year;
	int			month;			/* 1 .. 12 */
	int			day;			/* 1 .. 31 */
	int			weekday;		/* 0 .. 6 */
} Civil;

static int64_t
floor_divide(int64_t a, int64_t b)
{
	return a / b - (a % b < 0 ? 1 : 0);
}

static bool
is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int
month_days(int64_t year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

/* The proleptic Gregorian date of a day since 1970-01-01, by eras of 400 years from 1 March. */
static Civil
civil_of(int64_t day)
{
	int64_t		era = floor_divide(day + 719468, 146097);
	int64_t		of_era = day + 719468 - era * 146097;
	int64_t		year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t		of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t		shifted = (5 * of_year + 2) / 153;
	Civil		civil;

	civil.day = (int) (of_year - (153 * shifted + 2) / 5 + 1);
	civil.month = (int) (shifted < 10 ? shifted + 3 : shifted - 9);
	civil.year = year_of_era + era * 400 + (civil.month <= 2 ? 1 : 0);
	civil.weekday = (int) (day + 4 - floor_divide(day + 4, 7) * 7);
	return civil;
}

static bool
has_bit(uint64_t bits, int n)
{
	return (bits >> n & 1) != 0;
}

static bool
day_matches(const Cron *cron, const Civil *civil)
{
	int			left = month_days(civil->year, civil->month) - civil->day;
	bool		day;
	bool		weekday;

	if (!has_bit(cron->month, civil->month))
		return false;
	day = has_bit(cron->day, civil->day) || (cron->last_day && left == 0);
	weekday = has_bit(cron->weekday, civil->weekday) ||
		(has_bit(cron->last_weekday, civil->weekday) && left < 7);
	if (cron->any_day || cron->any_weekday)
		return day && weekday;
	return day || weekday;
}

/* The first bit at or above n, or -1. */
static int
next_bit(uint64_t bits, int n)
{
	for (; n < 60; n++)
		if (has_bit(bits, n))
			return n;
	return -1;
}

/* The first matching second of a day at or after second, or -1. */
static int
time_from(const Cron *cron, int second)
{
	int			h = next_bit(cron->hour, second / 3600);

	if (h == second / 3600)
	{
		int			m = next_bit(cron->minute, second / 60 % 60);

		if (m == second / 60 % 60)
		{
			int			s = next_bit(cron->second, second % 60);

			if (s >= 0)
				return h * 3600 + m * 60 + s;
			m = next_bit(cron->minute, m + 1);
		}
		if (m >= 0)
			return h * 3600 + m * 60 + next_bit(cron->second, 0);
		h = next_bit(cron->hour, h + 1);
	}
	if (h < 0)
		return -1;
	return h * 3600 + next_bit(cron->minute, 0) * 60 + next_bit(cron->second, 0);
}

bool
cron_next_local(const Cron *cron, int64_t from, int64_t limit, int64_t *found)
{
	int64_t		day = floor_divide(from, DAY_SECONDS);
	int			second = (int) (from - day * DAY_SECONDS);

	for (; day * DAY_SECONDS < limit; day++, second = 0)
	{
		Civil		civil = civil_of(day);
		int			match;

		if (!day_matches(cron, &civil))
			continue;
		match = time_from(cron, second);
		if (match < 0)
			continue;
		*found = day * DAY_SECONDS + match;
		return *found < limit;
	}
	return false;
}

/* In 400 years every date, 29 February too, falls on every weekday; one leap year and one other show all dates. */
bool
cron_has_day(const Cron *cron)
{
	for (int64_t year = 2000; year <= 2001; year++)
		for (int month = 1; month <= 12; month++)
			for (int day = 1; day <= month_days(year, month); day++)
				for (int weekday = 0; weekday < 7; weekday++)
				{
					Civil		civil = {year, month, day, weekday};

					if (day_matches(cron, &civil))
						return true;
				}
	return false;
}
