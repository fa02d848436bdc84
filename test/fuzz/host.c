/*
 * host.c
 *	  Fuzzes who may be contacted: src/http/host.h.
 *
 * An input: a list of hosts, an address that the name resolves to, a URL.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "http/host.h"

static bool
allowed(const HttpHosts *hosts, const HttpUrl *url)
{
	return http_hosts_forbid_url(hosts, url) == NULL;
}

static void
check_address(const HttpAddress *address)
{
	HttpAddress other = *address;
	int			bits = address->v6 ? 128 : 32;

	for (int i = 0; i < bits; i++)
	{
		other.bytes[i / 8] ^= 0x80 >> i % 8;
		CHECK(http_address_within(address, &other, i));
		CHECK(!http_address_within(address, &other, i + 1));
		other = *address;
	}
	other.v6 = !other.v6;
	CHECK(!http_address_within(address, &other, 0));

	/* an IPv4 address in a tunnel is judged as itself */
	if (!address->v6)
	{
		static const unsigned char prefixes[3][12] = {
			{[10] = 0xff, 0xff}, {0x00, 0x64, 0xff, 0x9b}, {0x20, 0x02}
		};

		for (int i = 0; i < 3; i++)
		{
			struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

			memcpy(in6.sin6_addr.s6_addr, prefixes[i], 12);
			memcpy(in6.sin6_addr.s6_addr + (i == 2 ? 2 : 12), address->bytes, 4);
			CHECK(http_address_from_sockaddr((struct sockaddr *) &in6, &other));
			CHECK(http_address_is_public(&other) == http_address_is_public(address));
		}
	}
}

/* What we read is what one reads who knows the old forms of addresses, and reading it again changes nothing. */
static void
check_url(const HttpUrl *url)
{
	struct in_addr in;
	HttpUrl		again;
	char		text[HTTP_MAX_HOST + 32];
	const char *problem;
	const char *hint;

	CHECK(url->host[0] != '\0' && url->port >= 0 && url->port <= 65535);
	for (const char *p = url->host; *p; p++)
		CHECK(!(*p >= 'A' && *p <= 'Z') && strchr("[]/?#@\\ \r\n", *p) == NULL);
	if (inet_aton(url->host, &in) != 0)
		CHECK(url->literal && !url->address.v6 && memcmp(url->address.bytes, &in, 4) == 0);
	snprintf(text, sizeof(text), strchr(url->host, ':') ? "%s://[%s]:%d/" : "%s://%s:%d/",
			 url->https ? "https" : "http", url->host, url->port);
	CHECK(http_url_parse(text, &again, &problem, &hint));
	CHECK(again.https == url->https && again.port == url->port && again.literal == url->literal);
	CHECK(strcmp(again.host, url->host) == 0 && memcmp(&again.address, &url->address, sizeof(HttpAddress)) == 0);
	if (url->literal)
		check_address(&url->address);
}

static void
check_list(const HttpHosts *hosts, const HttpUrl *url, const HttpAddress *address)
{
	static const HttpHosts nobody = {0};
	bool		host = false;
	bool		suffix = false;
	bool		range = false;

	for (int i = 0; i < hosts->n; i++)
	{
		const HttpRule *rule = &hosts->rules[i];

		host = host || rule->kind == RULE_HOST;
		suffix = suffix || rule->kind == RULE_SUFFIX;
		range = range || rule->kind == RULE_RANGE;
		CHECK(rule->kind != RULE_RANGE || (rule->bits >= 0 && rule->bits <= (rule->address.v6 ? 128 : 32)));
		CHECK(rule->kind == RULE_RANGE || strlen(rule->name) < HTTP_MAX_HOST);
	}

	if (allowed(&nobody, url))
		CHECK(url->https && (!url->literal || http_address_is_public(&url->address)));
	if (hosts->n == 0)
		CHECK(allowed(hosts, url) == allowed(&nobody, url));
	else if (!host && !suffix && !range)
		CHECK(!allowed(hosts, url));
	if (url->literal && !range)
		CHECK(!allowed(hosts, url) || hosts->n == 0);

	/* only a name or a range leads inside; no address is asked for that the URL would not be */
	if (address != NULL && !http_address_is_public(address) && !host && !range)
		CHECK(http_hosts_forbid_address(hosts, url, address) != NULL);
	if (address != NULL && !url->literal && http_hosts_forbid_address(hosts, url, address) == NULL)
		CHECK(allowed(hosts, url) || strstr(url->host, "localhost") != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput	input = {(const char *) data, size};
	char	   *list = fuzz_field(&input, false);
	char	   *resolved = fuzz_field(&input, false);
	char	   *text = fuzz_field(&input, true);
	HttpHosts  *hosts = malloc(http_hosts_size(list));
	HttpUrl		url;
	HttpAddress address;
	bool		is_address = http_address_from_text(resolved, &address);
	const char *problem = NULL;
	const char *hint = NULL;
	bool		is_list = http_hosts_parse(list, hosts, &problem);

	CHECK(is_list || problem != NULL);
	if (is_address)
		check_address(&address);
	if (!http_url_parse(text, &url, &problem, &hint))
		CHECK(problem != NULL);
	else
	{
		check_url(&url);
		if (is_list)
			check_list(hosts, &url, is_address ? &address : NULL);
	}
	free(hosts);
	free(list);
	free(resolved);
	free(text);
	return 0;
}
