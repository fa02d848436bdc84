/*
 * seek_token.c
 *	  Tokens of a JSON text, and what nobody wants passed over: see seek.h.
 *
 * Without recursion and without looking at anything twice.
 */
#include <string.h>

#include "template/seek_parts.h"

/* Longer numbers, and exponents of more digits, are not sure to fit into numeric. */
#define PLAIN_DIGITS	1000
#define PLAIN_EXPONENT	3

bool
seek_fail(SeekText *text, const char *error)
{
	text->error = error;
	return false;
}

bool
seek_open(SeekText *text, bool object)
{
	uint64_t	bit = UINT64_C(1) << (text->depth % 64);
	uint64_t   *word;

	if (text->depth == SEEK_MAX_DEPTH)
		return seek_fail(text, "nested too deeply");
	word = &text->objects[text->depth++ / 64];
	*word = object ? *word | bit : *word & ~bit;
	text->at++;
	return true;
}

static inline bool
in_object(const SeekText *text)
{
	return text->objects[(text->depth - 1) / 64] >> ((text->depth - 1) % 64) & 1;
}

/* ---- scalars ---- */

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The code unit of "uXXXX" at p; -1: it is none. */
static long
code_unit(const char *p, const char *end)
{
	long		unit = 0;

	if (end - p < 5 || *p != 'u')
		return -1;
	for (int i = 1; i <= 4; i++)
	{
		int			digit = hex_digit(p[i]);

		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

static bool
is_high(long unit)
{
	return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool
is_low(long unit)
{
	return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* Behind a backslash; surrogates come in pairs. */
static bool
take_escape(SeekText *text)
{
	const char *p = text->at;
	long		unit;

	if (p < text->end && strchr("\"\\/bfnrt", *p) != NULL && *p != '\0')
	{
		text->at++;
		return true;
	}
	unit = code_unit(p, text->end);
	if (unit < 0)
		return seek_fail(text, "invalid escape sequence");
	if (unit == 0)
		return seek_fail(text, "\\u0000 cannot be converted to text");
	p += 5;
	if (is_low(unit) ||
		(is_high(unit) && !(text->end - p >= 6 && *p == '\\' && is_low(code_unit(p + 1, text->end)))))
		return seek_fail(text, "half of a surrogate pair");
	text->at = p + (is_high(unit) ? 6 : 0);
	return true;
}

/* Eight bytes at a time, to the first that is a quote, a backslash or a control character. */
static inline const char *
ordinary_end(const char *p, const char *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);

	while (end - p >= 8)
	{
		uint64_t	word;
		uint64_t	quote;
		uint64_t	backslash;

		memcpy(&word, p, 8);
		quote = word ^ (ones * '"');
		backslash = word ^ (ones * '\\');
		if ((((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & (ones << 7))
			break;
		p += 8;
	}
	while (p < end && *p != '"' && *p != '\\' && (unsigned char) *p >= 0x20)
		p++;
	return p;
}

static bool
take_string(SeekText *text, SeekValue *value)
{
	value->at = ++text->at;
	value->kind = SEEK_STRING;
	value->plain = true;
	for (;;)
	{
		text->at = ordinary_end(text->at, text->end);
		if (text->at == text->end)
			return seek_fail(text, "a string without end");
		if (*text->at == '"')
			break;
		if (*text->at++ != '\\')
			return seek_fail(text, "a control character in a string");
		value->plain = false;
		if (!take_escape(text))
			return false;
	}
	value->len = (uint32_t) (text->at - value->at);
	text->at++;
	return true;
}

/* At least one digit; or-ed together they tell whether one is not zero. */
static inline const char *
digits_end(const char *p, const char *end, int *some)
{
	while (p < end && *p >= '0' && *p <= '9')
		*some |= *p++ - '0';
	return p;
}

static bool
take_number(SeekText *text, SeekValue *value)
{
	const char *p = text->at;
	const char *digits;
	bool		negative = *p == '-';
	int			some = 0;
	int			exponent = 0;

	value->at = p;
	value->kind = SEEK_NUMBER;
	value->plain = true;
	p += negative;
	digits = p;
	p = digits_end(p, text->end, &some);
	if (p == digits || (*digits == '0' && p > digits + 1))
		return seek_fail(text, "an invalid number");
	if (p < text->end && *p == '.')
	{
		digits = ++p;
		p = digits_end(p, text->end, &some);
		if (p == digits)
			return seek_fail(text, "an invalid number");
	}
	if (p < text->end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < text->end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = digits_end(p, text->end, &exponent);
		if (p == digits)
			return seek_fail(text, "an invalid number");
		value->plain = false;
		text->large |= p - digits > PLAIN_EXPONENT;
	}
	if (p - value->at > PLAIN_DIGITS)
		text->large = true;
	if ((negative && some == 0) || p - value->at > PLAIN_DIGITS)
		value->plain = false;
	value->len = (uint32_t) (p - value->at);
	text->at = p;
	return true;
}

static bool
take_word(SeekText *text, SeekValue *value, const char *word, SeekKind kind)
{
	size_t		len = strlen(word);

	if ((size_t) (text->end - text->at) < len || memcmp(text->at, word, len) != 0)
		return seek_fail(text, "an invalid word");
	value->at = text->at;
	value->len = (uint32_t) len;
	value->kind = (uint8_t) kind;
	value->plain = true;
	text->at += len;
	return true;
}

bool
seek_scalar(SeekText *text, SeekValue *value)
{
	if (text->at == text->end)
		return seek_fail(text, "the end");
	switch (*text->at)
	{
		case '"':
			return take_string(text, value);
		case 't':
			return take_word(text, value, "true", SEEK_TRUE);
		case 'f':
			return take_word(text, value, "false", SEEK_FALSE);
		case 'n':
			return take_word(text, value, "null", SEEK_NULL);
		default:
			return take_number(text, value);
	}
}

/* ---- what nobody wants ---- */

/* A member's name and the colon. */
bool
seek_name(SeekText *text, SeekValue *name)
{
	if (seek_next(text) != '"')
		return seek_fail(text, "no name of a member");
	if (!take_string(text, name))
		return false;
	if (seek_next(text) != ':')
		return seek_fail(text, "no colon behind the name of a member");
	text->at++;
	return true;
}

/* Behind a value: up to the next one, or out of what ends here, down to base. */
static bool
skip_on(SeekText *text, unsigned base)
{
	SeekValue	name;

	while (text->depth > base)
	{
		char		c = seek_next(text);
		bool		object = in_object(text);

		if (c == ',')
		{
			text->at++;
			return !object || seek_name(text, &name);
		}
		if (c != (object ? '}' : ']'))
			return seek_fail(text, object ? "neither comma nor brace" : "neither comma nor bracket");
		text->at++;
		text->depth--;
	}
	return true;
}

bool
seek_skip(SeekText *text)
{
	unsigned	base = text->depth;
	SeekValue	ignored;

	do
	{
		char		c = seek_next(text);

		if (c == '{' || c == '[')
		{
			if (!seek_open(text, c == '{'))
				return false;
			if (seek_next(text) != (c == '{' ? '}' : ']'))
			{
				if (c == '{' && !seek_name(text, &ignored))
					return false;
				continue;
			}
			text->at++;
			text->depth--;
		}
		else if (!seek_scalar(text, &ignored))
			return false;
		if (!skip_on(text, base))
			return false;
	} while (text->depth > base);
	return true;
}

/* ---- strings ---- */

static size_t
put_utf8(char *out, unsigned long c)
{
	if (c < 0x80)
	{
		out[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xC0 | c >> 6);
		out[1] = (char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xE0 | c >> 12);
		out[1] = (char) (0x80 | (c >> 6 & 0x3F));
		out[2] = (char) (0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | c >> 18);
	out[1] = (char) (0x80 | (c >> 12 & 0x3F));
	out[2] = (char) (0x80 | (c >> 6 & 0x3F));
	out[3] = (char) (0x80 | (c & 0x3F));
	return 4;
}

/* An escape is never shorter than what it stands for.  What is read was found, so it is well formed. */
size_t
seek_unescape(const char *at, size_t len, char *out)
{
	static const char escapes[] = "bfnrt";
	static const char meant[] = "\b\f\n\r\t";
	const char *end = at + len;
	char	   *to = out;

	while (at < end)
	{
		const char *known;
		unsigned long c;

		if (*at != '\\')
		{
			*to++ = *at++;
			continue;
		}
		at++;
		if (*at != 'u')
		{
			known = strchr(escapes, *at);
			*to++ = known ? meant[known - escapes] : *at;
			at++;
			continue;
		}
		c = (unsigned long) code_unit(at, end);
		at += 5;
		if (is_high((long) c))
		{
			c = 0x10000 + ((c - 0xD800) << 10) + ((unsigned long) code_unit(at + 1, end) - 0xDC00);
			at += 6;
		}
		to += put_utf8(to, c);
	}
	return (size_t) (to - out);
}
