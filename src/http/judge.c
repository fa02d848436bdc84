/*
 * judge.c
 *	  How a transfer ended: what libcurl says of it, as the outcome of a request.
 */
#include "postgres.h"

#include "http/transfer.h"
#include "mb/pg_wchar.h"

/* A body that fits a record of TLS with its headers, however many those are. */
#define WITHIN_RECORD	8192

static void judge_answered(HttpTransfer *transfer);
static void judge_unconnected(HttpTransfer *transfer, CURLcode code);
static bool is_too_large(const HttpTransfer *transfer, CURLcode code);
static bool is_tls_failure(CURLcode code);
static bool is_cut_off_by_tls(const HttpTransfer *transfer, CURLcode code);
static const char *refused_by_tls(const HttpTransfer *transfer, CURLcode code);
static const char *failure_text(HttpTransfer *transfer, CURLcode code);

/*
 * Did no byte leave?  What is longer than a record of TLS may have left in
 * part before libcurl counts it.
 */
bool
http_wrote_nothing(const HttpTransfer *transfer)
{
	long		written = 0;

	return transfer->request->body_len < WITHIN_RECORD &&
		curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &written) == CURLE_OK && written == 0;
}

/* What the end of transfer->easy means: fills the request's results. */
void
http_judge(HttpTransfer *transfer, CURLcode code)
{
	const char *host = transfer->url.host;
	int			port = transfer->url.port;

	if (refused_by_tls(transfer, code) != NULL || (code == CURLE_SEND_ERROR && http_wrote_nothing(transfer)))
		transfer->sent = false;

	if (code == CURLE_OK)
		judge_answered(transfer);
	else if (transfer->forbidden != NULL && !transfer->sent)
		http_outcome(transfer, HTTP_FORBIDDEN, "%s \"%s\" may not be contacted: %s",
					 http_transfer_peer(transfer) == &transfer->url ? "host" : "proxy",
					 http_transfer_peer(transfer)->host, transfer->forbidden);
	else if (transfer->too_large || is_too_large(transfer, code))
		http_outcome(transfer, HTTP_TOO_LARGE,
					 "answer of %s port %d is larger than %zu bytes or its headers than %d",
					 host, port, transfer->max_body, HTTP_MAX_HEADERS);
	else if (transfer->no_memory || code == CURLE_OUT_OF_MEMORY)
		http_outcome(transfer, transfer->sent ? HTTP_BROKEN : HTTP_NO_CONNECTION,
					 "out of memory during a request to %s port %d", host, port);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		http_outcome(transfer, HTTP_TIMED_OUT, "%s port %d %s in time", host, port,
					 transfer->sent ? "did not answer" : "could not be connected to");
	else if (code == CURLE_BAD_CONTENT_ENCODING && transfer->sent)
		http_outcome(transfer, HTTP_BROKEN, "answer of %s port %d could not be unpacked", host, port);
	else if (transfer->sent)
		http_outcome(transfer, HTTP_BROKEN, "connection to %s port %d was lost: %s",
					 host, port, failure_text(transfer, code));
	else
		judge_unconnected(transfer, code);
}

static void
judge_answered(HttpTransfer *transfer)
{
	HttpRequest *request = transfer->request;

	http_outcome(transfer, HTTP_ANSWERED, NULL);
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &request->status);
	if (transfer->body.len > 0)
		request->answer = transfer->body.data;
	request->answer_len = transfer->body.len;
	if (transfer->head.len > 0)
		request->headers = transfer->head.data;
}

/* Nothing was sent. */
static void
judge_unconnected(HttpTransfer *transfer, CURLcode code)
{
	const HttpUrl *peer = http_transfer_peer(transfer);
	const char *through = peer == &transfer->url ? "" : " through proxy ";
	const char *proxy = peer == &transfer->url ? "" : peer->host;
	const char *host = transfer->url.host;
	int			port = transfer->url.port;
	long		connect_status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
	if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY)
		http_outcome(transfer, HTTP_NO_CONNECTION, "could not resolve %s \"%s\"",
					 peer == &transfer->url ? "host" : "proxy", peer->host);
	else if (connect_status >= 300)
		http_outcome(transfer, HTTP_NO_CONNECTION, "could not connect to %s port %d%s%s: it answered with status %ld",
					 host, port, through, proxy, connect_status);
	else if (refused_by_tls(transfer, code) != NULL)
		http_outcome(transfer, HTTP_NO_CONNECTION, "could not establish TLS with %s port %d%s%s: it refuses us, %s",
					 host, port, through, proxy, refused_by_tls(transfer, code));
	else if (is_tls_failure(code))
		http_outcome(transfer, HTTP_NO_CONNECTION, "could not establish TLS with %s port %d%s%s: %s",
					 host, port, through, proxy, failure_text(transfer, code));
	else if (is_cut_off_by_tls(transfer, code))
		http_outcome(transfer, HTTP_NO_CONNECTION,
					 "could not establish TLS with %s port %d%s%s: it hung up after the handshake (is a client certificate required?)",
					 host, port, through, proxy);
	else
		http_outcome(transfer, HTTP_NO_CONNECTION, "could not connect to %s port %d%s%s: %s",
					 host, port, through, proxy, failure_text(transfer, code));
}

void
http_outcome(HttpTransfer *transfer, HttpOutcome outcome, const char *format,...)
{
	HttpRequest *request = transfer->request;
	va_list		args;

	request->outcome = outcome;
	request->sent = transfer->sent;
	request->reason = NULL;
	if (format == NULL)
		return;

	va_start(args, format);
	vsnprintf(transfer->reason, sizeof(transfer->reason), format, args);
	va_end(args);

	/* The cut must not go through a character, nor a line end into a log line. */
	transfer->reason[pg_mbcliplen(transfer->reason, strlen(transfer->reason),
								  sizeof(transfer->reason) - 2)] = '\0';
	for (char *p = transfer->reason; *p; p++)
		if ((unsigned char) *p < ' ')
			*p = ' ';
	request->reason = transfer->reason;
}

/* libcurl's own limits for headers; before 8.6 it said "out of memory" for them. */
static bool
is_too_large(const HttpTransfer *transfer, CURLcode code)
{
#if LIBCURL_VERSION_NUM >= 0x080600
	return code == CURLE_TOO_LARGE;
#else
	return code == CURLE_OUT_OF_MEMORY && transfer->sent && !transfer->no_memory;
#endif
}

static bool
is_tls_failure(CURLcode code)
{
	switch (code)
	{
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_ENGINE_NOTFOUND:
		case CURLE_SSL_ENGINE_SETFAILED:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CRL_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		case CURLE_SSL_INVALIDCERTSTATUS:
		case CURLE_SSL_CLIENTCERT:
			return true;
		default:
			return false;
	}
}

/*
 * Since TLS 1.3 a client learns only after it began to send that the server
 * does not like its certificate, or misses one.  What was sent until then the
 * server did not read: it had no peer yet.
 */
static const char *
refused_by_tls(const HttpTransfer *transfer, CURLcode code)
{
	static const char *const alerts[] = {
		"alert certificate required", "alert bad certificate", "alert unsupported certificate",
		"alert certificate revoked", "alert certificate expired", "alert certificate unknown",
		"alert unknown ca", "alert access denied", "alert decrypt error", "alert handshake failure"
	};

	if (code != CURLE_RECV_ERROR || transfer->reused || transfer->head.len + transfer->body.len > 0)
		return NULL;
	for (int i = 0; i < lengthof(alerts); i++)
		if (strstr(transfer->error, alerts[i]) != NULL)
			return alerts[i];
	return NULL;
}

/* The same, where the server was gone before it could be asked why. */
static bool
is_cut_off_by_tls(const HttpTransfer *transfer, CURLcode code)
{
	return code == CURLE_SEND_ERROR && transfer->url.https && !transfer->reused;
}

/*
 * What the system said, else what TLS said, else libcurl's name for it.
 * libcurl's own text is not used elsewhere: it may quote what the peer sent,
 * and holds milliseconds, which makes it another text each time.
 */
static const char *
failure_text(HttpTransfer *transfer, CURLcode code)
{
	long		error_number = 0;

	if (is_tls_failure(code))
		return transfer->error[0] ? transfer->error : curl_easy_strerror(code);
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return "the kept-alive connection ended before an answer";
	curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error_number);
	if ((code == CURLE_COULDNT_CONNECT || code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR) &&
		error_number != 0)
		return strerror((int) error_number);
	return curl_easy_strerror(code);
}
