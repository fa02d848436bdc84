/*
 * transport.c
 *	  How a target is reached besides its URL: whose certificates count, what
 *	  proves who we are, through which proxy, by which version of HTTP.
 *
 * libcurl shares a connection between handles that it takes for the same, but
 * what it compares differs from version to version: not the key of a client
 * certificate, and, before 8.19, not the credentials of a proxy.  So certificate
 * and key are one text to it, and whoever opened a connection is known here by
 * a digest of all that: a request never goes out over another's.
 */
#include "postgres.h"

#include "core/digest.h"
#include "http/transfer.h"

/* What libcurl says when the server told that it has not looked at a request. */
static const char *const not_processed[] = {
	"REFUSED_STREAM",
	"Downgrades to HTTP/1.1"
};

static const HttpDigest no_digest = {{0}};

static bool set_identity(CURL *easy, const HttpTransport *transport);
static bool set_proxy(CURL *easy, const HttpTransport *transport);
static int	on_debug(CURL *easy, curl_infotype type, char *data, size_t size, void *client);

static void
digest_text(const char *text)
{
	digest_add(text ? text : "", text ? strlen(text) + 1 : 1);
}

void
http_transport_seal(HttpTransport *transport)
{
	const char *problem;
	const char *hint;
	HttpUrl    *url;

	if (transport->proxy != NULL)
	{
		url = palloc(sizeof(HttpUrl));
		if (!http_url_parse(transport->proxy, url, &problem, &hint))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("URL of the proxy is not valid: %s", problem),
					 hint ? errhint("%s", hint) : 0));
		transport->proxy_url = url;
	}
	if (!transport->ca_file && !transport->identity && !transport->proxy)
		return;
	digest_begin();
	digest_text(transport->ca_file);
	digest_text(transport->identity);
	digest_text(transport->proxy);
	digest_text(transport->proxy_user);
	digest_text(transport->proxy_password);
	digest_end(transport->digest.bytes);
}

/* What a handle must be configured for to carry this request. */
void
http_transport_profile(const HttpRequest *request, HttpProfile *profile)
{
	memset(profile, 0, sizeof(HttpProfile));
	profile->unpack = request->unpack;
	if (request->transport != NULL)
	{
		profile->digest = request->transport->digest;
		profile->http2 = request->transport->http2;
	}
}

bool
http_digest_is_none(const HttpDigest *digest)
{
	return memcmp(digest, &no_digest, sizeof(HttpDigest)) == 0;
}

/* Whose address libcurl looks up, and opens sockets to. */
const HttpUrl *
http_transfer_peer(const HttpTransfer *transfer)
{
	const HttpTransport *transport = transfer->transport;

	return transport && transport->proxy_url ? transport->proxy_url : &transfer->url;
}

/* NULL, or why one may not go there as static text; proxy may be NULL. */
const char *
http_forbidden_route(const HttpUrl *url, const HttpUrl *proxy, bool *by_proxy)
{
	const char *forbidden;

	*by_proxy = false;
	if (proxy == NULL)
		return http_forbidden_url(url);
	if ((forbidden = http_forbidden_proxied(url)) != NULL)
		return forbidden;
	*by_proxy = true;
	return http_forbidden_url(proxy);
}

/* On a handle that has all that is the same for every request. */
bool
http_transport_configure(CURL *easy, const HttpTransfer *transfer)
{
	const HttpTransport *transport = transfer->transport;

	if (transfer->profile.unpack && http_can_unpack() &&
		curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip") != CURLE_OK)
		return false;
	if (transport == NULL)
		return true;
	if (transport->http2 &&
		(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS) != CURLE_OK ||
		 curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L) != CURLE_OK ||
		 curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_debug) != CURLE_OK ||
		 curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L) != CURLE_OK))
		return false;
	return set_identity(easy, transport) && set_proxy(easy, transport);
}

static bool
set_identity(CURL *easy, const HttpTransport *transport)
{
	struct curl_blob pem;

	/* instead of the system's, which may be a folder as well */
	if (transport->ca_file &&
		(curl_easy_setopt(easy, CURLOPT_CAINFO, transport->ca_file) != CURLE_OK ||
		 curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) != CURLE_OK))
		return false;
#if LIBCURL_VERSION_NUM >= 0x075700
	/* a file that was renewed counts from the next connection on */
	if (transport->ca_file && curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L) != CURLE_OK)
		return false;
#endif
	if (transport->identity == NULL)
		return true;

	/* A password, so that nobody is asked for one. */
	pem.data = unconstify(char *, transport->identity);
	pem.len = strlen(transport->identity);
	pem.flags = CURL_BLOB_COPY;
	return curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, &pem) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "PEM") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_KEYPASSWD, "") == CURLE_OK;
}

static bool
set_proxy(CURL *easy, const HttpTransport *transport)
{
	if (transport->proxy == NULL)
		return true;
	if (transport->ca_file &&
		(curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, transport->ca_file) != CURLE_OK ||
		 curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL) != CURLE_OK))
		return false;
	if (transport->proxy_user &&
		(curl_easy_setopt(easy, CURLOPT_PROXYUSERNAME, transport->proxy_user) != CURLE_OK ||
		 curl_easy_setopt(easy, CURLOPT_PROXYPASSWORD, transport->proxy_password) != CURLE_OK))
		return false;

	/* The environment has no say in this either. */
	return curl_easy_setopt(easy, CURLOPT_PROXY, transport->proxy) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_NOPROXY, "") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROXY_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK;
}

/*
 * A server may refuse a stream, or go away before it has come to it, and says
 * so: libcurl then sends the request again, and this is the only word of it
 * that we get.  Until then nothing was sent that could have had an effect.
 * Texts that quote anything begin with something else.
 */
static int
on_debug(CURL *easy, curl_infotype type, char *data, size_t size, void *client)
{
	HttpTransfer *transfer;

	if (type != CURLINFO_TEXT ||
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer) != CURLE_OK || transfer == NULL)
		return 0;
	for (int i = 0; i < lengthof(not_processed); i++)
	{
		size_t		len = strlen(not_processed[i]);

		if (size >= len && memcmp(data, not_processed[i], len) == 0)
		{
			transfer->sent = false;
			transfer->connecting = false;
		}
	}
	return 0;
}
