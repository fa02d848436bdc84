/*
 * copy_remote.c
 *	  Connections of our own to a server of postgres_fdw.
 *
 * With the options of the server and of the user mapping, under the rules of
 * postgres_fdw: who is not superuser must have given the password that was
 * used.  What keeps us from connecting (a limit, a way to log in that only
 * postgres_fdw knows) is no error: it reads, or says what is wrong.
 *
 * A connection is closed by the memory context that it hangs on; the query of a
 * COPY that was not read to its end is cancelled then.
 */
#include "postgres.h"

#include "catalog/progress.h"
#include "commands/defrem.h"
#include "core/compat.h"
#include "core/mem.h"
#include "foreign/foreign.h"
#include "libpq/libpq-be-fe-helpers.h"
#include "load/copy.h"
#include "mb/pg_wchar.h"
#include "pgstat.h"
#include "utils/builtins.h"

/* num_nulls(), and integer timestamps for sure */
#define OLDEST_VERSION	100000

/* Values come as postgres_fdw asks for them; what limits a statement of people does not limit a copy. */
#define SETTINGS \
	"SET LOCAL search_path = pg_catalog; SET LOCAL TimeZone = 'GMT'; SET LOCAL DateStyle = ISO;" \
	" SET LOCAL IntervalStyle = postgres; SET LOCAL extra_float_digits = 3;" \
	" SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"

static CopyConnection *connection_open(CopyRemote *remote);
static PGconn *connect_to(ForeignServer *server, UserMapping *user);
static int	add_options(List *options, const char **keywords, const char **values);
static bool password_needed(UserMapping *user);
static void connection_release(void *object);
static PGresult *take_result(CopyConnection *connection, bool sent, ExecStatusType wanted, const char *sql);
static bool wait_for_data(CopyConnection *connection);
pg_noreturn static void report(CopyConnection *connection, PGresult *result, const char *sql);

CopyRemote *
copy_remote_open(Oid serverid, Oid userid, int nscans)
{
	CopyRemote *remote = palloc0(sizeof(CopyRemote));

	remote->serverid = serverid;
	remote->userid = userid;
	remote->name = GetForeignServer(serverid)->servername;
	remote->shared = nscans > 1;
	remote->context = CurrentMemoryContext;
	for (int i = 0; i < nscans; i++)
	{
		if (connection_open(remote) == NULL)
			return NULL;
	}
	return remote;
}

/* NULL: we are not let in. */
static CopyConnection *
connection_open(CopyRemote *remote)
{
	MemoryContext caller = MemoryContextSwitchTo(remote->context);
	CopyConnection *connection = palloc0(sizeof(CopyConnection));
	StringInfoData sql;

	connection->conn = connect_to(GetForeignServer(remote->serverid), GetUserMapping(remote->userid, remote->serverid));
	if (connection->conn != NULL)
	{
		mem_adopt(remote->context, connection, connection_release);
		initStringInfo(&sql);
		appendStringInfoString(&sql, "START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; ");
		if (remote->snapshot)
			appendStringInfo(&sql, "SET TRANSACTION SNAPSHOT %s; ", quote_literal_cstr(remote->snapshot));
		appendStringInfoString(&sql, SETTINGS);
		(void) take_result(connection, PQsendQuery(connection->conn, sql.data), PGRES_COMMAND_OK, sql.data);
		if (remote->shared && remote->snapshot == NULL)
		{
			const char *export = "SELECT pg_catalog.pg_export_snapshot()";

			remote->snapshot = pstrdup(PQgetvalue(take_result(connection, PQsendQuery(connection->conn, export),
															  PGRES_TUPLES_OK, export), 0, 0));
		}
		remote->connections = lappend(remote->connections, connection);
	}
	MemoryContextSwitchTo(caller);
	return connection->conn ? connection : NULL;
}

static PGconn *
connect_to(ForeignServer *server, UserMapping *user)
{
	int			n = list_length(server->options) + list_length(user->options) + 3;
	const char **keywords = palloc0(n * sizeof(char *));
	const char **values = palloc0(n * sizeof(char *));
	bool		needed = password_needed(user);
	bool		given = false;
	PGconn	   *conn;

	n = add_options(server->options, keywords, values);
	n += add_options(user->options, keywords + n, values + n);
	for (int i = 0; i < n; i++)
		given |= strcmp(keywords[i], "password") == 0 && values[i][0] != '\0';
	keywords[n] = "fallback_application_name";
	values[n++] = "activate";
	/* so everything is converted there, and receive functions find our encoding */
	keywords[n] = "client_encoding";
	values[n] = GetDatabaseEncodingName();
	if (needed && !given)
		return NULL;

	conn = libpqsrv_connect_params(keywords, values, false, PG_WAIT_EXTENSION);
	if (PQstatus(conn) == CONNECTION_OK && PQserverVersion(conn) >= OLDEST_VERSION &&
		(!needed || PQconnectionUsedPassword(conn)))
		return conn;
	ereport(DEBUG1,
			(errmsg_internal("activate: server \"%s\" is read through postgres_fdw", server->servername)));
	libpqsrv_disconnect(conn);
	return NULL;
}

/* Those that are libpq's; postgres_fdw has checked them. */
static int
add_options(List *options, const char **keywords, const char **values)
{
	static PQconninfoOption *known = NULL;
	ListCell   *cell;
	int			n = 0;

	if (known == NULL && (known = PQconndefaults()) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		for (PQconninfoOption *k = known; k->keyword; k++)
		{
			if (strcmp(k->keyword, option->defname) != 0)
				continue;
			keywords[n] = option->defname;
			values[n++] = defGetString(option);
		}
	}
	return n;
}

/* Else somebody would come in as the operating system's user of this server. */
static bool
password_needed(UserMapping *user)
{
	ListCell   *cell;

	if (superuser_arg(user->userid))
		return false;
	foreach(cell, user->options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "password_required") == 0)
			return defGetBoolean(option);
	}
	return true;
}

static void
connection_release(void *object)
{
	CopyConnection *connection = object;

	if (connection->busy && PQstatus(connection->conn) == CONNECTION_OK)
	{
		PGcancel   *cancel = PQgetCancel(connection->conn);
		char		error[256];

		/* what it cannot cancel will end when it writes to a closed socket */
		if (cancel != NULL)
			(void) PQcancel(cancel, error, sizeof(error));
		PQfreeCancel(cancel);
	}
	PQfreemem(connection->row);
	libpqsrv_disconnect(connection->conn);
}

int
copy_remote_version(CopyRemote *remote)
{
	return PQserverVersion(((CopyConnection *) linitial(remote->connections))->conn);
}

PGresult *
copy_remote_describe(CopyRemote *remote, const char *query)
{
	CopyConnection *connection = linitial(remote->connections);

	(void) take_result(connection, PQsendPrepare(connection->conn, "", query, 0, NULL), PGRES_COMMAND_OK, query);
	return take_result(connection, PQsendDescribePrepared(connection->conn, ""), PGRES_COMMAND_OK, query);
}

CopyConnection *
copy_remote_start(CopyRemote *remote, const char *sql)
{
	CopyConnection *connection = NULL;
	ListCell   *cell;

	foreach(cell, remote->connections)
	{
		if (!((CopyConnection *) lfirst(cell))->busy)
			connection = lfirst(cell);
	}
	if (connection == NULL && (connection = connection_open(remote)) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("could not connect to server \"%s\" once more", remote->name),
				 errdetail("Tables of it that are read at the same time need a connection each.")));
	/* from now on: there may be much to sort before the first row */
	connection->busy = true;
	connection->sql = sql;
	(void) take_result(connection, PQsendQuery(connection->conn, sql), PGRES_COPY_OUT, sql);
	return connection;
}

char *
copy_remote_next(CopyConnection *connection, int *length)
{
	if (!connection->busy)
		return NULL;
	for (;;)
	{
		PQfreemem(connection->row);
		connection->row = NULL;
		*length = PQgetCopyData(connection->conn, &connection->row, true);
		if (*length > 0)
		{
			progress_bytes(*length);
			return connection->row;
		}
		if (*length < 0)
			break;
		if (!wait_for_data(connection))
			report(connection, NULL, connection->sql);
	}
	connection->busy = false;
	(void) take_result(connection, *length == -1, PGRES_COMMAND_OK, connection->sql);
	return NULL;
}

/* False: the connection is lost. */
static bool
wait_for_data(CopyConnection *connection)
{
	int			events;

	events = WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_EXIT_ON_PM_DEATH,
							   PQsocket(connection->conn), 0, PG_WAIT_EXTENSION);
	if (events & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return PQconsumeInput(connection->conn) != 0;
}

/* The result of what was sent, owned by the present memory context. */
static PGresult *
take_result(CopyConnection *connection, bool sent, ExecStatusType wanted, const char *sql)
{
	PGresult   *result = sent ? libpqsrv_get_result_last(connection->conn, PG_WAIT_EXTENSION) : NULL;

	if (result != NULL)
		mem_adopt(CurrentMemoryContext, result, (MemRelease) PQclear);
	if (PQresultStatus(result) != wanted)
		report(connection, result, sql);
	return result;
}

/* As postgres_fdw reports it. */
static void
report(CopyConnection *connection, PGresult *result, const char *sql)
{
	char	   *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	char	   *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char	   *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	char	   *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	char	   *context = PQresultErrorField(result, PG_DIAG_CONTEXT);

	if (message == NULL)
		message = pchomp(PQerrorMessage(connection->conn));
	ereport(ERROR,
			(errcode(state ? MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]) : ERRCODE_CONNECTION_FAILURE),
			 message[0] ? errmsg_internal("%s", message) : errmsg("could not obtain message string for remote error"),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0,
			 context ? errcontext("%s", context) : 0,
			 errcontext("remote SQL command: %s", sql)));
}
