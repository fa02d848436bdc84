/*
 * compress.c
 *	  Bodies of requests by gzip, where the library was built with zlib;
 *	  answers are unpacked by libcurl, which does it piece by piece.
 */
#include "postgres.h"

#ifdef ACTIVATE_ZLIB
#include <zlib.h>
#endif

#include "http/transfer.h"
#include "utils/memutils.h"

/* JSON of rows shrinks to a sixth at the lowest level already; the next ones cost more than they save. */
#define COMPRESS_LEVEL	1
#define GZIP_WINDOW		(15 + 16)

bool
http_can_compress(void)
{
#ifdef ACTIVATE_ZLIB
	return true;
#else
	return false;
#endif
}

/* Is there a zlib in libcurl?  Without one it would ask for what it cannot read. */
bool
http_can_unpack(void)
{
	return (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_LIBZ) != 0;
}

#ifdef ACTIVATE_ZLIB

/* NULL: it would not be shorter, or there is no memory. */
static char *
compressed(MemoryContext context, const char *body, size_t len, size_t *packed_len)
{
	z_stream	stream = {0};
	char	   *packed;
	int			code;

	if (len > PG_INT32_MAX ||
		deflateInit2(&stream, COMPRESS_LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return NULL;
	packed = MemoryContextAllocExtended(context, len + 1, MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
	if (packed == NULL)
	{
		deflateEnd(&stream);
		return NULL;
	}
	stream.next_in = (Bytef *) unconstify(char *, body);
	stream.avail_in = (uInt) len;
	stream.next_out = (Bytef *) packed;
	stream.avail_out = (uInt) len;
	code = deflate(&stream, Z_FINISH);
	*packed_len = stream.total_out;
	deflateEnd(&stream);
	if (code == Z_STREAM_END)
		return packed;
	pfree(packed);
	return NULL;
}

#endif

void
http_request_compress(HttpRequest *request)
{
#ifdef ACTIVATE_ZLIB
	size_t		len;
	char	   *packed;

	if (request->body == NULL)
		return;
	packed = compressed(GetMemoryChunkContext(request), request->body, request->body_len, &len);
	if (packed == NULL)
		return;
	request->body = packed;
	request->body_len = len;
	http_request_header(request, "Content-Encoding", "gzip");
#endif
}
