/*
 * transport.c
 *	  The options of a server that say how its API is reached, and what they and
 *	  the secret make of it.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "connector/definition.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"

static void
transport_check_ca_file(const char *path)
{
	if (!is_absolute_path(path))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("option \"ca_file\" is not an absolute path: \"%s\"", path),
				 errhint("Name a PEM file of the server, as in \"/etc/ssl/certs/internal.pem\".")));
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to name a file of the server in the option \"ca_file\""),
				 errhint("Only superusers and members of pg_read_server_files may set or keep it.")));
}

/* Scheme, host and port; what else there may be in a URL means nothing to a proxy, or is a secret. */
static void
transport_check_proxy(const char *proxy)
{
	const char *authority = strstr(proxy, "://");
	const char *rest;

	if (authority != NULL && strchr(authority, '@') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"proxy\" carries a user name or password"),
				 errhint("Put them into the secret of the user mapping: {\"proxy\": \"user:password\"}.")));
	definition_check_url(proxy, "option \"proxy\"", true);
	rest = authority + 3 + strcspn(authority + 3, "/?#");
	if (strcmp(rest, "") != 0 && strcmp(rest, "/") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"proxy\" has more than a host and a port"),
				 errhint("Write it as in \"http://proxy.example.com:3128\".")));
}

void
definition_check_transport(List *options)
{
	const char *ca_file = definition_option(options, "ca_file");
	const char *proxy = definition_option(options, "proxy");
	const char *compress = definition_option(options, "compress");

	if (ca_file != NULL)
		transport_check_ca_file(ca_file);
	if (proxy != NULL)
		transport_check_proxy(proxy);
	if (compress != NULL && !http_can_compress())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"compress\" is not supported by this build"),
				 errhint("Build activate where the headers of zlib are (on Debian, zlib1g-dev).")));
}

void
connector_check_transport(List *options)
{
	const char *version = definition_option(options, "http_version");

	if (version != NULL && strcmp(version, "1.1") != 0 && strcmp(version, "2") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("invalid value \"%s\" of option \"%s\"", version, "http_version"),
				 errhint("Valid values are: %s.", "1.1, 2")));
	definition_check_transport(options);
}

/* In the current memory context; NULL: nothing is said. */
const HttpTransport *
definition_transport(Oid server, const ConnectorAuth *auth)
{
	List	   *options = GetForeignServer(server)->options;
	const char *version = definition_option(options, "http_version");
	HttpTransport *transport = palloc0(sizeof(HttpTransport));
	char	   *colon;

	transport->ca_file = definition_option(options, "ca_file");
	transport->proxy = definition_option(options, "proxy");
	transport->http2 = version != NULL && strcmp(version, "2") == 0;
	if (auth->client_cert != NULL)
		transport->identity = psprintf("%s\n%s\n", auth->client_cert, auth->client_key);
	if (transport->proxy != NULL && auth->proxy != NULL)
	{
		colon = strchr(auth->proxy, ':');
		transport->proxy_user = pnstrdup(auth->proxy, colon - auth->proxy);
		transport->proxy_password = colon + 1;
	}
	if (!transport->ca_file && !transport->proxy && !transport->identity && !transport->http2)
	{
		pfree(transport);
		return NULL;
	}
	http_transport_seal(transport);
	return transport;
}
