/*
 * link.c
 *	  Fuzzes Link headers: src/rest/link.h.
 */
#include "fuzz.h"

#include "rest/link.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput	input = {(const char *) data, size};
	char	   *headers = fuzz_field(&input, true);
	size_t		length = 0;
	const char *target = rest_link_next(headers, &length);

	if (target != NULL)
	{
		CHECK(target > headers && target + length < headers + strlen(headers));
		CHECK(target[-1] == '<' && target[length] == '>');
		for (size_t i = 0; i < length; i++)
			CHECK(strchr(">\r\n", target[i]) == NULL);
	}
	free(headers);
	return 0;
}
