/*
 * hosts.c
 *	  Lists of hosts as in activate.allowed_hosts: who may be contacted.
 *
 * An empty list allows every public host by https.  A list that is not empty
 * allows what it names and nothing else.  An exact host name, or an address
 * range, may lead to loopback, link-local and private addresses; a *.suffix
 * leads to such an address only if a range in the list names that too, since
 * whoever can add a name below the suffix could point it anywhere.
 *
 * The name is checked before a transfer starts, each address before a
 * connection to it is opened: what a name resolves to may change in between.
 *
 * No postgres.h: see host.h.  Input may be any NUL-terminated bytes.
 */
#include "http/host.h"

#include <stdlib.h>
#include <string.h>

static bool hosts_parse_item(char *item, HttpRule *rule, const char **problem);
static bool hosts_parse_port(const char *text, HttpRule *rule, const char **problem);
static bool hosts_parse_host(char *text, HttpRule *rule, const char **problem);
static bool hosts_parse_range(char *text, HttpRule *rule, const char **problem);
static bool is_host_name(const char *name);
static bool hosts_name_host(const HttpHosts *hosts, const HttpUrl *url, HttpRuleKind kind);
static bool hosts_name_address(const HttpHosts *hosts, const HttpUrl *url, const HttpAddress *address);
static bool hosts_name_ranges(const HttpHosts *hosts, const HttpUrl *url);
static bool is_localhost(const char *host);

const char *
http_hosts_forbid_url(const HttpHosts *hosts, const HttpUrl *url)
{
	if (url->literal)
		return http_hosts_forbid_address(hosts, url, &url->address);
	if (hosts_name_host(hosts, url, RULE_HOST) || hosts_name_host(hosts, url, RULE_SUFFIX))
		return NULL;
	if (hosts->n == 0)
	{
		if (is_localhost(url->host))
			return "it is this machine, which activate.allowed_hosts does not name";
		if (!url->https)
			return "plain http is only for hosts that activate.allowed_hosts names";
		return NULL;
	}

	/* It may resolve to an address in a range: that is seen when connecting. */
	if (hosts_name_ranges(hosts, url))
		return NULL;
	return "it is not in activate.allowed_hosts";
}

/* A suffix will not do: whoever can add a name below it could point it anywhere. */
const char *
http_hosts_forbid_proxied(const HttpHosts *hosts, const HttpUrl *url)
{
	if (url->literal)
		return http_hosts_forbid_address(hosts, url, &url->address);
	if (hosts_name_host(hosts, url, RULE_HOST))
		return NULL;
	return "a proxy looks up its address, and activate.allowed_hosts does not name the host itself";
}

const char *
http_hosts_forbid_address(const HttpHosts *hosts, const HttpUrl *url,
						  const HttpAddress *address)
{
	if (hosts_name_host(hosts, url, RULE_HOST) || hosts_name_address(hosts, url, address))
		return NULL;
	if (!http_address_is_public(address))
		return "its address is loopback, link-local, private or reserved, and activate.allowed_hosts does not name it";
	if (hosts->n == 0)
		return url->https ? NULL : "plain http is only for hosts that activate.allowed_hosts names";
	if (hosts_name_host(hosts, url, RULE_SUFFIX))
		return NULL;
	return "it is not in activate.allowed_hosts";
}

static bool
hosts_name_host(const HttpHosts *hosts, const HttpUrl *url, HttpRuleKind kind)
{
	size_t		len = strlen(url->host);

	for (int i = 0; i < hosts->n; i++)
	{
		const HttpRule *rule = &hosts->rules[i];
		size_t		rule_len;

		if (rule->kind != kind || (rule->port != 0 && rule->port != url->port))
			continue;
		rule_len = strlen(rule->name);
		if (kind == RULE_SUFFIX ? len > rule_len : len == rule_len)
			if (strcmp(url->host + len - rule_len, rule->name) == 0)
				return true;
	}
	return false;
}

static bool
hosts_name_address(const HttpHosts *hosts, const HttpUrl *url, const HttpAddress *address)
{
	for (int i = 0; i < hosts->n; i++)
	{
		const HttpRule *rule = &hosts->rules[i];

		if (rule->kind == RULE_RANGE &&
			(rule->port == 0 || rule->port == url->port) &&
			http_address_within(address, &rule->address, rule->bits))
			return true;
	}
	return false;
}

static bool
hosts_name_ranges(const HttpHosts *hosts, const HttpUrl *url)
{
	for (int i = 0; i < hosts->n; i++)
	{
		const HttpRule *rule = &hosts->rules[i];

		if (rule->kind == RULE_RANGE && (rule->port == 0 || rule->port == url->port))
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

size_t
http_hosts_size(const char *text)
{
	size_t		items = 1;

	for (; *text; text++)
		items += *text == ',';
	return offsetof(HttpHosts, rules) + items * sizeof(HttpRule);
}

bool
http_hosts_parse(char *text, HttpHosts *hosts, const char **problem)
{
	static const char blanks[] = " \t\r\n";
	char	   *next = text[strspn(text, blanks)] == '\0' ? NULL : text;

	memset(hosts, 0, http_hosts_size(text));
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
			item[i] = http_lower(item[i]);
		if (!hosts_parse_item(item, &hosts->rules[hosts->n++], problem))
			return false;
	}
	return true;
}

/* item is trimmed, in lower case, and is cut into pieces. */
static bool
hosts_parse_item(char *item, HttpRule *rule, const char **problem)
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
		if (end[1] == ':' && !hosts_parse_port(end + 2, rule, problem))
			return false;
		return hosts_parse_range(item + 1, rule, problem);
	}

	/* More than one colon and no brackets: IPv6 without a port. */
	colon = strchr(item, ':');
	if (colon != NULL && strchr(colon + 1, ':') != NULL)
		return hosts_parse_range(item, rule, problem);
	if (colon != NULL)
	{
		*colon = '\0';
		if (!hosts_parse_port(colon + 1, rule, problem))
			return false;
	}
	return hosts_parse_host(item, rule, problem);
}

static bool
hosts_parse_port(const char *text, HttpRule *rule, const char **problem)
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
hosts_parse_host(char *text, HttpRule *rule, const char **problem)
{
	bool		suffix = strncmp(text, "*.", 2) == 0;
	char	   *name = suffix ? text + 1 : text;
	size_t		len = strlen(text);

	if (!suffix && strchr(text, '/') != NULL)
		return hosts_parse_range(text, rule, problem);
	if (len > 0 && text[len - 1] == '.')
		text[len - 1] = '\0';

	if (http_ends_in_number(name))
		return hosts_parse_range(text, rule, problem);

	if (!is_host_name(suffix ? name + 1 : name))
	{
		*problem = "it is not a host name (international names are written in their xn-- form)";
		return false;
	}
	rule->kind = suffix ? RULE_SUFFIX : RULE_HOST;
	strcpy(rule->name, name);
	return true;
}

static bool
hosts_parse_range(char *text, HttpRule *rule, const char **problem)
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
	rule->kind = RULE_RANGE;

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
