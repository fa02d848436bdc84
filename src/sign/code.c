/*
 * code.c
 *	  Bytes as text and back.
 */
#include "postgres.h"

#include "common/base64.h"
#include "core/compat.h"
#include "sign/sign.h"
#include "utils/builtins.h"

static int
hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int
sign_decode(SignCode code, const char *text, size_t len, uint8 *out, int size)
{
	if (code == CODE_TEXT)
	{
		if (len > size)
			return -1;
		memcpy(out, text, len);
		return len;
	}
	if (code == CODE_BASE64)
		return len > INT_MAX / 2 || pg_b64_dec_len(len) > size + 3 ? -1 : compat_b64_decode(text, len, out, size);
	if (len % 2 != 0 || len / 2 > size)
		return -1;
	for (size_t i = 0; i < len / 2; i++)
	{
		int			high = hex_value(text[2 * i]);
		int			low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -1;
		out[i] = high << 4 | low;
	}
	return len / 2;
}

char *
sign_encode(SignCode code, const uint8 *bytes, int len)
{
	int			size = code == CODE_BASE64 ? pg_b64_enc_len(len) : 2 * len;
	char	   *text = palloc(size + 1);

	if (code == CODE_BASE64)
		size = Max(compat_b64_encode((const char *) bytes, len, text, size), 0);
	else
		size = hex_encode((const char *) bytes, len, text);
	text[size] = '\0';
	return text;
}

char *
sign_base64url(const void *bytes, int len)
{
	char	   *text = sign_encode(CODE_BASE64, bytes, len);
	size_t		end = strlen(text);

	while (end > 0 && text[end - 1] == '=')
		end--;
	text[end] = '\0';
	for (char *p = text; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	return text;
}
