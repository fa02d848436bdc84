/*
 * stream.c
 *	  The bytes of a file, wherever it is, unpacked: gzip and zstd are told by
 *	  their first bytes, whatever the file is called.
 *
 * A file must be whole and one: what ends in the middle of its packing, or is
 * not what was listed any more, is an error and not an end.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef ACTIVATE_ZLIB
#include <zlib.h>
#endif
#ifdef ACTIVATE_ZSTD
#include <zstd.h>
#endif

#include "core/compat.h"
#include "core/errors.h"
#include "core/mem.h"
#include "file/reader.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"

typedef enum Packing
{
	PACKED_UNKNOWN, PACKED_NOT, PACKED_GZIP, PACKED_ZSTD
} Packing;

#define NO_FILE			(-1)

struct FileStream
{
	const FileReader *reader;
	int			fd;				/* or NO_FILE */
	HttpRequest *request;		/* NULL: none */
	const FileEntry *entry;		/* as it was listed */
	int64		raw;			/* bytes read so far, as they are stored */
	int64		given;			/* and unpacked */
	bool		raw_ended;
	Packing		packing;
	bool		within;			/* a packed member, that must come to its end */
	char	   *block;
	int			block_at;
	int			block_len;
#ifdef ACTIVATE_ZLIB
	z_stream   *zip;
#endif
#ifdef ACTIVATE_ZSTD
	ZSTD_DStream *zstd;
#endif
};

static void open_path(FileStream *stream, const FileEntry *entry);
static void close_path(void *arg);
static bool refill(FileStream *stream);
static void find_packing(FileStream *stream);
static int	read_packed(FileStream *stream, char *buffer, int size);
static void check_whole(FileStream *stream);

FileStream *
file_stream_open(const FileReader *reader, const FileEntry *entry, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FileStream *stream = palloc0(sizeof(FileStream));
	const char *condition = NULL;

	stream->reader = reader;
	stream->fd = NO_FILE;
	stream->entry = entry;
	stream->block = palloc(FILE_BLOCK);
	/* weak ones match nothing by the rules of If-Match, a time is none */
	if (entry->version != NULL && entry->version[0] == '"')
		condition = entry->version;
	if (reader->table->place == FILE_IN_DIRECTORY)
		open_path(stream, entry);
	else
		stream->request = file_perform(reader, reader->table->place == FILE_IN_BUCKET ? file_bucket_request : file_request,
									   entry->name, condition, true, context);
	MemoryContextSwitchTo(old);
	return stream;
}

static bool
is_as_listed(const struct stat *st, const FileEntry *entry)
{
	return st->st_size == entry->size && entry->version != NULL && strcmp(file_version_of(st), entry->version) == 0;
}

/*
 * What is opened is looked at once more: it may be another than was listed.  A
 * pipe must not make us wait.  It is no transient file of fd.c, which would be
 * closed with the subtransaction that has read the first row of a cursor.
 */
static void
open_path(FileStream *stream, const FileEntry *entry)
{
	struct stat st;

	mem_adopt(CurrentMemoryContext, stream, close_path);
	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not read file \"%s\": too many files are open", entry->name)));
	stream->fd = BasicOpenFile(entry->name, O_RDONLY | PG_BINARY | O_NOFOLLOW | O_NONBLOCK);
	if (stream->fd < 0)
	{
		int			error = errno;

		ReleaseExternalFD();
		errno = error;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", entry->name)));
	}
	if (fstat(stream->fd, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": %m", entry->name)));
	if (!S_ISREG(st.st_mode))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("could not read file \"%s\": it is not a regular file", entry->name)));
	if (!is_as_listed(&st, entry))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not read file \"%s\": it has changed since it was listed", entry->name),
				 errhint("Files that are still being written: let them come under another name first, or set the option \"settle\".")));
}

/* Also with the context, when an error has left it open. */
static void
close_path(void *arg)
{
	FileStream *stream = arg;

	if (stream->fd < 0)
		return;
	close(stream->fd);
	stream->fd = NO_FILE;
	ReleaseExternalFD();
}

void
file_stream_close(FileStream *stream)
{
	close_path(stream);
	if (stream->request != NULL)
		http_request_free(stream->request);
	stream->request = NULL;
}

int64
file_stream_given(const FileStream *stream)
{
	return stream->given;
}

static int
read_some(FileStream *stream, char *buffer, int size)
{
	int			n = 0;

	CHECK_FOR_INTERRUPTS();
	if (stream->packing == PACKED_UNKNOWN)
		find_packing(stream);
	if (stream->packing != PACKED_NOT)
		n = read_packed(stream, buffer, size);
	else if (stream->block_at < stream->block_len || refill(stream))
	{
		n = Min(size, stream->block_len - stream->block_at);
		memcpy(buffer, stream->block + stream->block_at, n);
		stream->block_at += n;
	}
	stream->given += n;
	return n;
}

/* The mark of UTF-8 at the beginning is passed over. */
int
file_stream_read(FileStream *stream, void *buffer, int size)
{
	char	   *bytes = buffer;
	bool		begin = stream->given == 0;
	int			n = read_some(stream, bytes, size);
	int			more;

	if (!begin || n == 0)
		return n;
	while (n < 3 && (more = read_some(stream, bytes + n, size - n)) > 0)
		n += more;
	if (n >= 2 && (memcmp(bytes, "\xff\xfe", 2) == 0 || memcmp(bytes, "\xfe\xff", 2) == 0))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("it is UTF-16"),
				 errhint("Have it written in UTF-8, or in another encoding of PostgreSQL that the option \"encoding\" names.")));
	if (n < 3 || memcmp(bytes, "\xef\xbb\xbf", 3) != 0)
		return n;
	memmove(bytes, bytes + 3, n - 3);
	return n > 3 ? n - 3 : read_some(stream, bytes, size);
}

/* More into the block, behind what is left of it; false: there is no more. */
static bool
refill(FileStream *stream)
{
	int			left = stream->block_len - stream->block_at;
	ssize_t		n;

	if (stream->raw_ended)
		return false;
	memmove(stream->block, stream->block + stream->block_at, left);
	stream->block_at = 0;
	stream->block_len = left;
	if (stream->request != NULL)
		n = http_stream_read(stream->request, stream->block + left, FILE_BLOCK - left);
	else
		n = read(stream->fd, stream->block + left, FILE_BLOCK - left);
	if (n < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("%m")));
	stream->raw += n;
	stream->block_len += n;
	if (n == 0)
	{
		stream->raw_ended = true;
		check_whole(stream);
	}
	return n > 0;
}

static void
check_whole(FileStream *stream)
{
	struct stat st;

	if (stream->request != NULL)
		file_check_ended(stream->request);
	else if (fstat(stream->fd, &st) == 0 && st.st_size == stream->raw && is_as_listed(&st, stream->entry))
		return;
	else
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("it changed while it was read"),
				 errhint("Files that are still being written: let them come under another name first, or set the option \"settle\".")));
}

#ifdef ACTIVATE_ZLIB
static void
inflate_done(void *arg)
{
	inflateEnd(arg);
}
#endif

#ifdef ACTIVATE_ZSTD
static void
zstd_done(void *arg)
{
	ZSTD_freeDStream(arg);
}
#endif

#if !defined(ACTIVATE_ZLIB) || !defined(ACTIVATE_ZSTD)
pg_noreturn static void
refuse_packing(const char *name, const char *package)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("it is packed by %s, which this build cannot unpack", name),
			 errhint("Build activate where the headers are (on Debian, %s).", package)));
}
#endif

static void
find_packing(FileStream *stream)
{
	const char *first = stream->block;

	while (stream->block_len < 4 && refill(stream))
		;
	stream->packing = PACKED_NOT;
	if (stream->block_len >= 2 && memcmp(first, "\x1f\x8b", 2) == 0)
	{
#ifdef ACTIVATE_ZLIB
		stream->packing = PACKED_GZIP;
		/* we are in whatever context the rows are made in */
		stream->zip = MemoryContextAllocZero(GetMemoryChunkContext(stream), sizeof(z_stream));
		if (inflateInit2(stream->zip, 15 + 16) != Z_OK)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory while unpacking a file")));
		mem_adopt(GetMemoryChunkContext(stream), stream->zip, inflate_done);
#else
		refuse_packing("gzip", "zlib1g-dev");
#endif
	}
	else if (stream->block_len >= 4 && memcmp(first, "\x28\xb5\x2f\xfd", 4) == 0)
	{
#ifdef ACTIVATE_ZSTD
		stream->packing = PACKED_ZSTD;
		stream->zstd = ZSTD_createDStream();
		if (stream->zstd == NULL)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory while unpacking a file")));
		mem_adopt(GetMemoryChunkContext(stream), stream->zstd, zstd_done);
#else
		refuse_packing("zstd", "libzstd-dev");
#endif
	}
}

pg_noreturn static void
refuse_broken(const char *name, bool ended)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 ended ? errmsg("its %s data ends in the middle: the file is truncated", name) :
			 errmsg("its %s data is damaged", name),
			 errhint("Have it delivered again.")));
}

#ifdef ACTIVATE_ZLIB
/* What has been made; the members of a file of many follow one another. */
static int
inflate_some(FileStream *stream, char *buffer, int size)
{
	z_stream   *zip = stream->zip;
	int			result;

	if (!stream->within && inflateReset(zip) != Z_OK)
		refuse_broken("gzip", false);
	stream->within = true;
	zip->next_in = (Bytef *) stream->block + stream->block_at;
	zip->avail_in = stream->block_len - stream->block_at;
	zip->next_out = (Bytef *) buffer;
	zip->avail_out = size;
	result = inflate(zip, Z_NO_FLUSH);
	stream->block_at = stream->block_len - zip->avail_in;
	if (result == Z_STREAM_END)
		stream->within = false;
	else if (result != Z_OK && result != Z_BUF_ERROR)
		refuse_broken("gzip", false);
	return size - zip->avail_out;
}
#endif

#ifdef ACTIVATE_ZSTD
static int
zstd_some(FileStream *stream, char *buffer, int size)
{
	ZSTD_inBuffer in = {stream->block, stream->block_len, stream->block_at};
	ZSTD_outBuffer out = {buffer, size, 0};
	size_t		result = ZSTD_decompressStream(stream->zstd, &out, &in);

	if (ZSTD_isError(result))
		refuse_broken("zstd", false);
	stream->within = result != 0;
	stream->block_at = in.pos;
	return out.pos;
}
#endif

static int
read_packed(FileStream *stream, char *buffer, int size)
{
	bool		gzip = stream->packing == PACKED_GZIP;
	int			n = 0;

	while (n == 0)
	{
		int			before;

		CHECK_FOR_INTERRUPTS();
		if (stream->block_at == stream->block_len && !refill(stream))
		{
			/* what the unpacker has kept may still be to come */
			if (!stream->within)
				return 0;
		}
		before = stream->block_at;
#ifdef ACTIVATE_ZLIB
		if (gzip)
			n = inflate_some(stream, buffer, size);
#endif
#ifdef ACTIVATE_ZSTD
		if (!gzip)
			n = zstd_some(stream, buffer, size);
#endif
		if (n == 0 && stream->within && stream->raw_ended && stream->block_at == before)
			refuse_broken(gzip ? "gzip" : "zstd", true);
	}
	return n;
}
