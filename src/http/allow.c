/*
 * allow.c
 *	  activate.allowed_hosts: who may be contacted.
 *
 * An empty list allows every public host by https.  A list that is not empty
 * allows what it names and nothing else.  An exact host name, or an address
 * range, may lead to loopback, link-local and private addresses; a *.suffix
 * leads to such an address only if a range in the list names that too, since
 * whoever can add a name below the suffix could point it anywhere.
 *
 * The name is checked before a transfer starts, each address before a
 * connection to it is opened: what a name resolves to may change in between.
 */
#include "postgres.h"

#include "core/compat.h"
#include "core/errors.h"
#include "http/transfer.h"
#include "utils/guc.h"

typedef enum AllowKind
{
	ALLOW_HOST,
	ALLOW_SUFFIX,				/* name begins with the dot */
	ALLOW_RANGE
} AllowKind;

typedef struct AllowRule
{
	AllowKind	kind;
	int			port;			/* 0: any */
	int			bits;
	HttpAddress address;
	char		name[HTTP_MAX_HOST];
} AllowRule;

/* One malloc'd chunk, owned by guc.c as the setting's "extra". */
typedef struct AllowList
{
	int			n;
	AllowRule	rules[FLEXIBLE_ARRAY_MEMBER];
} AllowList;

static char *allowed_hosts = NULL;
static const AllowList empty_list = {0};
static const AllowList *allow_list = &empty_list;

static bool allow_check(char **newval, void **extra, GucSource source);
static void allow_assign(const char *newval, void *extra);
static bool allow_parse_list(char *text, AllowList *list, const char **problem);
static bool allow_parse_item(char *item, AllowRule *rule, const char **problem);
static bool allow_parse_port(const char *text, AllowRule *rule, const char **problem);
static bool allow_parse_host(char *text, AllowRule *rule, const char **problem);
static bool allow_parse_range(char *text, AllowRule *rule, const char **problem);
static bool is_host_name(const char *name);
static bool allow_names_host(const HttpUrl *url, AllowKind kind);
static bool allow_names_address(const HttpUrl *url, const HttpAddress *address);
static bool allow_names_ranges(const HttpUrl *url);
static bool is_localhost(const char *host);

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

void
http_check_url(const char *text)
{
	HttpUrl		url;
	const char *problem;
	const char *hint;
	const char *forbidden;

	if (!http_url_parse(text, &url, &problem, &hint))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL is not valid: %s", problem),
				 hint ? errhint("%s", hint) : 0));
	forbidden = http_forbidden_url(&url);
	if (forbidden != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_FORBIDDEN_HOST),
				 errmsg("host \"%s\" may not be contacted: %s", url.host, forbidden),
				 errhint("A superuser can name it in activate.allowed_hosts, as host, *.suffix or CIDR, each with an optional :port.")));
}

const char *
http_forbidden_url(const HttpUrl *url)
{
	if (url->literal)
		return http_forbidden_address(url, &url->address);
	if (allow_names_host(url, ALLOW_HOST) || allow_names_host(url, ALLOW_SUFFIX))
		return NULL;
	if (allow_list->n == 0)
	{
		if (is_localhost(url->host))
			return "it is this machine, which activate.allowed_hosts does not name";
		if (!url->https)
			return "plain http is only for hosts that activate.allowed_hosts names";
		return NULL;
	}

	/* It may resolve to an address in a range: that is seen when connecting. */
	if (allow_names_ranges(url))
		return NULL;
	return "it is not in activate.allowed_hosts";
}

const char *
http_forbidden_address(const HttpUrl *url, const HttpAddress *address)
{
	if (allow_names_host(url, ALLOW_HOST) || allow_names_address(url, address))
		return NULL;
	if (!http_address_is_public(address))
		return "its address is loopback, link-local, private or reserved, and activate.allowed_hosts does not name it";
	if (allow_list->n == 0)
		return url->https ? NULL : "plain http is only for hosts that activate.allowed_hosts names";
	if (allow_names_host(url, ALLOW_SUFFIX))
		return NULL;
	return "it is not in activate.allowed_hosts";
}

static bool
allow_names_host(const HttpUrl *url, AllowKind kind)
{
	size_t		len = strlen(url->host);

	for (int i = 0; i < allow_list->n; i++)
	{
		const AllowRule *rule = &allow_list->rules[i];
		size_t		rule_len;

		if (rule->kind != kind || (rule->port != 0 && rule->port != url->port))
			continue;
		rule_len = strlen(rule->name);
		if (kind == ALLOW_SUFFIX ? len > rule_len : len == rule_len)
			if (strcmp(url->host + len - rule_len, rule->name) == 0)
				return true;
	}
	return false;
}

static bool
allow_names_address(const HttpUrl *url, const HttpAddress *address)
{
	for (int i = 0; i < allow_list->n; i++)
	{
		const AllowRule *rule = &allow_list->rules[i];

		if (rule->kind == ALLOW_RANGE &&
			(rule->port == 0 || rule->port == url->port) &&
			http_address_within(address, &rule->address, rule->bits))
			return true;
	}
	return false;
}

static bool
allow_names_ranges(const HttpUrl *url)
{
	for (int i = 0; i < allow_list->n; i++)
	{
		const AllowRule *rule = &allow_list->rules[i];

		if (rule->kind == ALLOW_RANGE && (rule->port == 0 || rule->port == url->port))
			return true;
	}
	return false;
}

/* Known without asking DNS, so that a declaration can refuse it at once. */
static bool
is_localhost(const char *host)
{
	size_t		len = strlen(host);

	return strcmp(host, "localhost") == 0 ||
		(len > 10 && strcmp(host + len - 10, ".localhost") == 0);
}

static bool
allow_check(char **newval, void **extra, GucSource source)
{
	char	   *text = strdup(*newval);
	AllowList  *list;
	size_t		size;
	int			items = 1;
	const char *problem = NULL;

	for (const char *p = *newval; *p; p++)
		items += *p == ',';
	size = offsetof(AllowList, rules) + items * sizeof(AllowRule);
	list = compat_guc_malloc(size);
	if (text == NULL || list == NULL)
	{
		free(text);
		return false;
	}
	memset(list, 0, size);

	if (!allow_parse_list(text, list, &problem))
	{
		GUC_check_errdetail("Entry number %d: %s.", list->n, problem);
		GUC_check_errhint("Entries are separated by commas; each is a host name, *.suffix, an address or a CIDR, with an optional :port (IPv6 in brackets then).");
		compat_guc_free(list);
		free(text);
		return false;
	}
	free(text);
	*extra = list;
	return true;
}

static void
allow_assign(const char *newval, void *extra)
{
	allow_list = extra ? extra : &empty_list;
}

/* Cuts text into pieces; list is large enough. */
static bool
allow_parse_list(char *text, AllowList *list, const char **problem)
{
	static const char blanks[] = " \t\r\n";
	char	   *next = text[strspn(text, blanks)] == '\0' ? NULL : text;

	while (next != NULL)
	{
		char	   *item = next + strspn(next, blanks);
		char	   *comma = strchr(item, ',');
		size_t		len;

		next = comma ? comma + 1 : NULL;
		if (comma)
			*comma = '\0';
		len = strlen(item);
		while (len > 0 && strchr(blanks, item[len - 1]) != NULL)
			item[--len] = '\0';
		for (size_t i = 0; i < len; i++)
			item[i] = pg_ascii_tolower((unsigned char) item[i]);
		if (!allow_parse_item(item, &list->rules[list->n++], problem))
			return false;
	}
	return true;
}

/* item is trimmed, in lower case, and is cut into pieces. */
static bool
allow_parse_item(char *item, AllowRule *rule, const char **problem)
{
	char	   *colon;

	if (*item == '\0')
	{
		*problem = "it is empty";
		return false;
	}
	if (*item == '[')
	{
		char	   *end = strchr(item, ']');

		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
		{
			*problem = "brackets enclose an IPv6 address or range and may be followed by :port";
			return false;
		}
		*end = '\0';
		if (end[1] == ':' && !allow_parse_port(end + 2, rule, problem))
			return false;
		return allow_parse_range(item + 1, rule, problem);
	}

	/* More than one colon and no brackets: IPv6 without a port. */
	colon = strchr(item, ':');
	if (colon != NULL && strchr(colon + 1, ':') != NULL)
		return allow_parse_range(item, rule, problem);
	if (colon != NULL)
	{
		*colon = '\0';
		if (!allow_parse_port(colon + 1, rule, problem))
			return false;
	}
	return allow_parse_host(item, rule, problem);
}

static bool
allow_parse_port(const char *text, AllowRule *rule, const char **problem)
{
	size_t		len = strlen(text);

	rule->port = atoi(text);
	if (len == 0 || len > 5 || strspn(text, "0123456789") != len ||
		rule->port < 1 || rule->port > 65535)
	{
		*problem = "the port is not a number from 1 to 65535";
		return false;
	}
	return true;
}

static bool
allow_parse_host(char *text, AllowRule *rule, const char **problem)
{
	bool		suffix = strncmp(text, "*.", 2) == 0;
	char	   *name = suffix ? text + 1 : text;
	size_t		len = strlen(text);
	char	   *label;

	if (!suffix && strchr(text, '/') != NULL)
		return allow_parse_range(text, rule, problem);
	if (len > 0 && text[len - 1] == '.')
		text[len - 1] = '\0';

	/* What ends in a number is an address, or a form that curl makes one of. */
	label = strrchr(name, '.');
	label = label ? label + 1 : name;
	if (*label >= '0' && *label <= '9' &&
		(strspn(label, "0123456789") == strlen(label) || strncmp(label, "0x", 2) == 0))
		return allow_parse_range(text, rule, problem);

	if (!is_host_name(suffix ? name + 1 : name))
	{
		*problem = "it is not a host name (international names are written in their xn-- form)";
		return false;
	}
	rule->kind = suffix ? ALLOW_SUFFIX : ALLOW_HOST;
	strlcpy(rule->name, name, sizeof(rule->name));
	return true;
}

static bool
allow_parse_range(char *text, AllowRule *rule, const char **problem)
{
	char	   *slash = strchr(text, '/');
	bool		mapped;
	int			least;
	int			most;

	if (slash != NULL)
		*slash++ = '\0';
	if (!http_address_from_text(text, &rule->address))
	{
		*problem = "it is not an address (IPv4 is written as four decimal numbers)";
		return false;
	}
	rule->kind = ALLOW_RANGE;

	/* ::ffff:10.0.0.0/104 has become 10.0.0.0: the same range has 96 bits less */
	mapped = !rule->address.v6 && strchr(text, ':') != NULL;
	least = mapped ? 96 : 0;
	most = rule->address.v6 || mapped ? 128 : 32;
	rule->bits = slash ? atoi(slash) : most;
	if (slash && (*slash == '\0' || strlen(slash) > 3 ||
				  strspn(slash, "0123456789") != strlen(slash) ||
				  rule->bits < least || rule->bits > most))
	{
		*problem = "the prefix length is out of range";
		return false;
	}
	rule->bits -= least;
	return true;
}

static bool
is_host_name(const char *name)
{
	size_t		label = 0;

	if (strlen(name) >= HTTP_MAX_HOST - 1)
		return false;
	for (const char *p = name; *p; p++)
	{
		if (*p == '.' && label == 0)
			return false;
		if (*p != '.' && !(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9') &&
			*p != '-' && *p != '_')
			return false;
		label = *p == '.' ? 0 : label + 1;
	}
	return label > 0;
}
