/*
 * place.c
 *	  Which files there are, in the order of their names.
 *
 * In a directory: regular files in it, nothing behind it.  A symbolic link, a
 * pipe or a device whose name matches is an error rather than passed over in
 * silence: whoever put it there wants something.  So is a name that is no text.
 */
#include "postgres.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include "common/string.h"
#include "core/clock.h"
#include "file/reader.h"
#include "mb/pg_wchar.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define FILE_MAX_VERSION	1000

static List *list_directory(const FileReader *reader);
static List *list_url(const FileReader *reader);
static List *settled(const FileTable *table, List *entries);
static int	by_name(const ListCell *one, const ListCell *other);

List *
file_list(const FileReader *reader)
{
	List	   *entries;

	switch (reader->table->place)
	{
		case FILE_IN_DIRECTORY:
			entries = list_directory(reader);
			break;
		case FILE_IN_BUCKET:
			entries = file_bucket_list(reader);
			break;
		default:
			return list_url(reader);
	}
	list_sort(entries, by_name);
	return settled(reader->table, entries);
}

bool
file_name_matches(const FileTable *table, const char *name)
{
	return fnmatch(table->files, name, FNM_PATHNAME | FNM_PERIOD) == 0;
}

/* What another server sends for an ETag is kept only if it is one. */
bool
file_version_is_usable(const char *version)
{
	return strlen(version) <= FILE_MAX_VERSION && pg_verifymbstr(version, strlen(version), true);
}

FileEntry *
file_entry(const char *name, int64 size, char *version, TimestampTz modified)
{
	FileEntry  *entry = palloc0(sizeof(FileEntry));

	/* names are bytes to those who give them */
	if (!pg_verifymbstr(name, strlen(name), true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("the name of a file is no text in encoding \"%s\"", GetDatabaseEncodingName()),
				 errhint("Have it renamed, or choose another pattern in \"files\".")));
	entry->name = pstrdup(name);
	entry->size = size;
	entry->version = version != NULL && file_version_is_usable(version) ? version : NULL;
	entry->modified = modified;
	entry->rows = -1;
	return entry;
}

static int
by_name(const ListCell *one, const ListCell *other)
{
	return strcmp(((FileEntry *) lfirst(one))->name, ((FileEntry *) lfirst(other))->name);
}

/* Time of change to the nanosecond, as the file system has it. */
char *
file_version_of(const struct stat *st)
{
	return psprintf("%lld.%09ld", (long long) st->st_mtim.tv_sec, (long) st->st_mtim.tv_nsec);
}

static FileEntry *
entry_of(const char *path, const struct stat *st)
{
	return file_entry(path, st->st_size, file_version_of(st), time_t_to_timestamptz(st->st_mtim.tv_sec));
}

static List *
list_directory(const FileReader *reader)
{
	const FileTable *table = reader->table;
	List	   *entries = NIL;
	DIR		   *dir = AllocateDir(table->path);
	struct dirent *file;

	while ((file = ReadDir(dir, table->path)) != NULL)
	{
		char	   *path;
		struct stat st;

		if (strcmp(file->d_name, ".") == 0 || strcmp(file->d_name, "..") == 0 || !file_name_matches(table, file->d_name))
			continue;
		path = psprintf("%s/%s", table->path, file->d_name);
		if (lstat(path, &st) != 0)
		{
			/* taken away since the directory was read */
			if (errno == ENOENT)
				continue;
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not stat file \"%s\": %m", path)));
		}
		if (!S_ISREG(st.st_mode))
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("could not read file \"%s\": it is not a regular file", path),
					 errhint("Links, pipes, devices and directories are not read: take it away or choose another pattern in \"files\".")));
		entries = lappend(entries, entry_of(path, &st));
	}
	FreeDir(dir);
	return entries;
}

/* There is one: what is known of it are the headers of its answer. */
static List *
list_url(const FileReader *reader)
{
	const FileTable *table = reader->table;
	char	   *url = table->url;

	if (table->files != NULL)
		url = psprintf("%s%s%s", url, url[strlen(url) - 1] == '/' ? "" : "/", table->files);
	return list_make1(file_entry(url, -1, NULL, 0));
}

/* Those that are old enough. */
static List *
settled(const FileTable *table, List *entries)
{
	TimestampTz now = clock_now();
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, entries)
	{
		FileEntry  *entry = lfirst(cell);

		if (table->settle_us == 0 || entry->modified <= now - table->settle_us)
			result = lappend(result, entry);
	}
	return result;
}
