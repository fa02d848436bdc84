/*
 * fuzz.h
 *	  What the fuzz targets share.  An input is a few fields separated by tabs,
 *	  as the lines of seeds/ show; the last field is all that is left.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What must hold for any input; a sanitizer sees the rest. */
#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

typedef struct FuzzInput
{
	const char *at;
	size_t		left;
} FuzzInput;

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next field, in memory of exactly its size; free it. */
static inline char *
fuzz_field(FuzzInput *input, bool last)
{
	const char *tab = last || input->left == 0 ? NULL : memchr(input->at, '\t', input->left);
	size_t		length = tab ? (size_t) (tab - input->at) : input->left;
	char	   *field = malloc(length + 1);

	if (length > 0)
		memcpy(field, input->at, length);
	field[length] = '\0';
	if (tab)
		length++;
	input->at += length;
	input->left -= length;
	return field;
}

#endif							/* FUZZ_H */
