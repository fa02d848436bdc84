/*
 * step.c
 *	  Texts as vendors want them: normalised identifiers and their hashes.
 *
 * What is hashed is UTF-8 whatever the database's encoding is, because others
 * hash the same address and compare.  An empty text is not hashed: its digest
 * would be an identifier that many rows share.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "core/digest.h"
#include "mb/pg_wchar.h"
#include "sign/sign.h"
#include "template/change.h"
#include "utils/formatting.h"

/* ITU-T E.164: country code and number; fewer than seven is no number of anywhere. */
#define E164_LEAST	7
#define E164_MOST	15

static const struct
{
	const char *name;
	TemplateStepKind kind;
}			step_names[] = {
	{"trim", STEP_TRIM},
	{"lower", STEP_LOWER},
	{"upper", STEP_UPPER},
	{"digits", STEP_DIGITS},
	{"e164", STEP_E164},
	{"gmail", STEP_GMAIL},
	{"md5", STEP_MD5},
	{"sha1", STEP_SHA1},
	{"sha256", STEP_SHA256},
	{"base64", STEP_BASE64}
};

bool
template_step(const char *name, TemplateStep *step)
{
	size_t		digits;

	step->country = NULL;
	if (strncmp(name, "e164:", 5) == 0)
	{
		step->kind = STEP_E164;
		step->country = name + 5;
		digits = strspn(step->country, "0123456789");
		return digits >= 1 && digits <= 3 && step->country[digits] == '\0' && *step->country != '0';
	}
	for (int i = 0; i < lengthof(step_names); i++)
	{
		if (strcmp(step_names[i].name, name) == 0)
		{
			step->kind = step_names[i].kind;
			return true;
		}
	}
	return false;
}

const char *
template_step_names(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(step_names); i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", step_names[i].name);
	return names.data;
}

void
change_fail(const char *column, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the value of \"%s\" %s", column, what)));
}

/* Blanks at both ends, of ASCII: those of others are rarely meant to be lost. */
static char *
step_trim(char *text)
{
	static const char blanks[] = " \t\r\n\f\v";
	size_t		len;

	text += strspn(text, blanks);
	for (len = strlen(text); len > 0 && strchr(blanks, text[len - 1]) != NULL; len--)
		text[len - 1] = '\0';
	return text;
}

static char *
step_digits(char *text)
{
	char	   *to = text;

	for (const char *p = text; *p; p++)
	{
		if (*p >= '0' && *p <= '9')
			*to++ = *p;
	}
	*to = '\0';
	return text;
}

/* "+" and digits.  Without "+" or "00" the country is the given one, and a leading 0 is dialled at home only. */
static char *
step_e164(const char *column, char *text, const char *country)
{
	bool		whole;
	char	   *number;
	size_t		len;

	text = step_trim(text);
	if (*text == '\0')
		return text;
	whole = *text == '+';
	if (text[strspn(text, "+0123456789 ()-./\t")] != '\0' || strrchr(text, '+') > text)
		change_fail(column, "is no telephone number");
	number = step_digits(text);
	if (!whole && strncmp(number, "00", 2) == 0)
	{
		whole = true;
		number += 2;
	}
	if (!whole && country == NULL)
		change_fail(column, "is a telephone number without its country's code");
	if (!whole)
		number = psprintf("%s%s", country, number + (*number == '0'));
	len = strlen(number);
	if (len < E164_LEAST || len > E164_MOST || *number == '0')
		change_fail(column, "is no telephone number");
	return psprintf("+%s", number);
}

/* Google ignores dots before the "@" in addresses of its own, so ad platforms want them away. */
static char *
step_gmail(char *text)
{
	char	   *at = strrchr(text, '@');
	char	   *to = text;

	if (at == NULL || (pg_strcasecmp(at, "@gmail.com") != 0 && pg_strcasecmp(at, "@googlemail.com") != 0))
		return text;
	for (char *p = text; p < at; p++)
	{
		if (*p != '.')
			*to++ = *p;
	}
	memmove(to, at, strlen(at) + 1);
	return text;
}

static DigestKind
step_digest(TemplateStepKind kind)
{
	return kind == STEP_MD5 ? DIGEST_MD5 : kind == STEP_SHA1 ? DIGEST_SHA1 : DIGEST_SHA256;
}

char *
change_steps(const char *column, char *text, const TemplateStep *steps, int n)
{
	for (int i = 0; i < n; i++)
	{
		uint8		digest[DIGEST_MOST];
		char	   *utf8;
		size_t		len;

		switch (steps[i].kind)
		{
			case STEP_TRIM:
				text = step_trim(text);
				break;
			case STEP_LOWER:
				text = str_tolower(text, strlen(text), DEFAULT_COLLATION_OID);
				break;
			case STEP_UPPER:
				text = str_toupper(text, strlen(text), DEFAULT_COLLATION_OID);
				break;
			case STEP_DIGITS:
				text = step_digits(text);
				break;
			case STEP_E164:
				text = step_e164(column, text, steps[i].country);
				break;
			case STEP_GMAIL:
				text = step_gmail(text);
				break;
			case STEP_MD5:
			case STEP_SHA1:
			case STEP_SHA256:
				if (*text == '\0')
					return NULL;
				utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
				len = digest_plain(step_digest(steps[i].kind), utf8, strlen(utf8), digest);
				/* its bytes, not their digits, are what base64 is of */
				if (i + 1 < n && steps[i + 1].kind == STEP_BASE64)
				{
					text = sign_encode(CODE_BASE64, digest, (int) len);
					i++;
				}
				else
					text = sign_encode(CODE_HEX, digest, (int) len);
				break;
			case STEP_BASE64:
				utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
				text = sign_encode(CODE_BASE64, (const uint8 *) utf8, strlen(utf8));
				break;
		}
	}
	return text;
}
