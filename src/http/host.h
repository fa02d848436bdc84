/*
 * host.h
 *	  Where a URL leads, and whether one may go there: addresses, URLs, lists of hosts.
 *
 * Plain C, no postgres.h: nothing here allocates with palloc or throws, so it
 * may be called from callbacks of libcurl, and can be fuzzed by itself.  A slip
 * here opens the inside of a network to whoever writes a URL.
 */
#ifndef ACTIVATE_HTTP_HOST_H
#define ACTIVATE_HTTP_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#define HTTP_MAX_HOST		256

/* An address in canonical form: an IPv4 address mapped into IPv6 is IPv4. */
typedef struct HttpAddress
{
	bool		v6;
	unsigned char bytes[16];	/* the first 4 if not v6 */
} HttpAddress;

typedef struct HttpUrl
{
	bool		https;
	bool		literal;		/* the host is an address */
	int			port;
	HttpAddress address;		/* if literal */
	char		host[HTTP_MAX_HOST];	/* lower case, no brackets, no final dot */
} HttpUrl;

typedef enum HttpRuleKind
{
	RULE_HOST,
	RULE_SUFFIX,				/* name begins with the dot */
	RULE_RANGE
} HttpRuleKind;

typedef struct HttpRule
{
	HttpRuleKind kind;
	int			port;			/* 0: any */
	int			bits;
	HttpAddress address;
	char		name[HTTP_MAX_HOST];
} HttpRule;

/* A list of hosts as written in activate.allowed_hosts. */
typedef struct HttpHosts
{
	int			n;
	HttpRule	rules[];
} HttpHosts;

/* address.c */
extern bool http_address_from_text(const char *text, HttpAddress *address);
extern bool http_address_from_sockaddr(const struct sockaddr *from, HttpAddress *address);
extern bool http_address_within(const HttpAddress *address, const HttpAddress *net, int bits);
extern bool http_address_is_public(const HttpAddress *address);

/* url.c: false, and what is wrong with it as static texts (hint may be NULL) */
extern bool http_url_parse(const char *text, HttpUrl *url, const char **problem, const char **hint);
extern char http_lower(char c);
/* Such a name, in lower case, is an address, or an old form of one, or nothing. */
extern bool http_ends_in_number(const char *host);

/*
 * hosts.c: bytes needed for the list written in text; reads it, cutting text
 * into pieces (false: entry number hosts->n is wrong, problem is a static
 * text); NULL, or why one may not go there as static text.
 */
extern size_t http_hosts_size(const char *text);
extern bool http_hosts_parse(char *text, HttpHosts *hosts, const char **problem);
extern const char *http_hosts_forbid_url(const HttpHosts *hosts, const HttpUrl *url);
/* The same where a proxy looks up the name, so that we never see an address. */
extern const char *http_hosts_forbid_proxied(const HttpHosts *hosts, const HttpUrl *url);
extern const char *http_hosts_forbid_address(const HttpHosts *hosts, const HttpUrl *url,
											 const HttpAddress *address);

#endif							/* ACTIVATE_HTTP_HOST_H */
