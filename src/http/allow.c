/*
 * allow.c
 *	  activate.allowed_hosts: the setting, and refusing by error.
 *
 * What the list means is in hosts.c.
 */
#include "postgres.h"

#include "core/compat.h"
#include "core/errors.h"
#include "http/transfer.h"
#include "utils/guc.h"

static char *allowed_hosts = NULL;
static const HttpHosts empty_list = {0};

/* One malloc'd chunk, owned by guc.c as the setting's "extra". */
static const HttpHosts *allow_list = &empty_list;

static bool allow_check(char **newval, void **extra, GucSource source);
static void allow_assign(const char *newval, void *extra);

void
http_allow_init(void)
{
	DefineCustomStringVariable("activate.allowed_hosts",
							   "Hosts that may be contacted: host, *.suffix or CIDR, each with an optional :port.",
							   "Empty: every public host, by https. Loopback, link-local and private addresses and plain http are only for hosts named here.",
							   &allowed_hosts,
							   "",
							   PGC_SUSET,
							   GUC_LIST_INPUT,
							   allow_check, allow_assign, NULL);
}

static void
allow_parse(const char *text, const char *what, HttpUrl *url)
{
	const char *problem;
	const char *hint;

	if (!http_url_parse(text, url, &problem, &hint))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not valid: %s", what, problem),
				 hint ? errhint("%s", hint) : 0));
}

void
http_check_url(const char *text, const char *proxy_text)
{
	HttpUrl		url;
	HttpUrl		proxy;
	bool		by_proxy;
	const char *forbidden;

	allow_parse(text, "URL", &url);
	if (proxy_text != NULL)
		allow_parse(proxy_text, "URL of the proxy", &proxy);
	forbidden = http_forbidden_route(&url, proxy_text ? &proxy : NULL, &by_proxy);
	if (forbidden != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_FORBIDDEN_HOST),
				 errmsg("%s \"%s\" may not be contacted: %s", by_proxy ? "proxy" : "host",
						by_proxy ? proxy.host : url.host, forbidden),
				 errhint("A superuser can name it in activate.allowed_hosts, as host, *.suffix or CIDR, each with an optional :port.")));
}

const char *
http_forbidden_url(const HttpUrl *url)
{
	return http_hosts_forbid_url(allow_list, url);
}

const char *
http_forbidden_proxied(const HttpUrl *url)
{
	return http_hosts_forbid_proxied(allow_list, url);
}

const char *
http_forbidden_address(const HttpUrl *url, const HttpAddress *address)
{
	return http_hosts_forbid_address(allow_list, url, address);
}

static bool
allow_check(char **newval, void **extra, GucSource source)
{
	char	   *text = strdup(*newval);
	HttpHosts  *list = compat_guc_malloc(http_hosts_size(*newval));
	const char *problem = NULL;
	bool		good = text != NULL && list != NULL;

	if (good && !http_hosts_parse(text, list, &problem))
	{
		GUC_check_errdetail("Entry number %d: %s.", list->n, problem);
		GUC_check_errhint("Entries are separated by commas; each is a host name, *.suffix, an address or a CIDR, with an optional :port (IPv6 in brackets then).");
		good = false;
	}
	free(text);
	if (good)
		*extra = list;
	else if (list != NULL)
		compat_guc_free(list);
	return good;
}

static void
allow_assign(const char *newval, void *extra)
{
	allow_list = extra ? extra : &empty_list;
}
