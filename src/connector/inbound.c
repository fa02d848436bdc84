/*
 * inbound.c
 *	  The options of a server of the connector "receive": how others sign what
 *	  they push to us, and what of it is kept.
 *
 * Every vendor's way is one form (a header, something signed, a code for the
 * result) with other values in it; a style is no more than these values.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "connector/definition.h"
#include "template/path.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define MINUTES_US(n)	((n) * USECS_PER_MINUTE)

typedef struct SignatureStyle
{
	const char *name;
	ConnectorInbound inbound;
} SignatureStyle;

/* Tolerances are what the vendors themselves recommend. */
static const SignatureStyle styles[] = {
	{"hmac", {.form = SIGNATURE_PLAIN, .prefix = "", .encoding = CODE_HEX}},
	{"github", {.form = SIGNATURE_PLAIN, .header = "X-Hub-Signature-256", .prefix = "sha256=", .content = "{body}",
				.encoding = CODE_HEX, .id_header = "X-GitHub-Delivery"}},
	{"shopify", {.form = SIGNATURE_PLAIN, .header = "X-Shopify-Hmac-Sha256", .prefix = "", .content = "{body}",
				 .encoding = CODE_BASE64, .id_header = "X-Shopify-Webhook-Id"}},
	{"slack", {.form = SIGNATURE_PLAIN, .header = "X-Slack-Signature", .prefix = "v0=", .timestamp = "X-Slack-Request-Timestamp",
			   .content = "v0:{timestamp}:{body}", .encoding = CODE_HEX, .tolerance = MINUTES_US(5), .id = "event_id"}},
	{"standard", {.form = SIGNATURE_LIST, .header = "webhook-signature", .prefix = "v1,", .timestamp = "webhook-timestamp",
				  .content = "{id}.{timestamp}.{body}", .encoding = CODE_BASE64, .key = CODE_BASE64, .whsec = true,
				  .tolerance = MINUTES_US(5), .id_header = "webhook-id"}},
	{"stripe", {.form = SIGNATURE_PAIRS, .header = "Stripe-Signature", .prefix = "v1=", .content = "{timestamp}.{body}",
				.encoding = CODE_HEX, .tolerance = MINUTES_US(5), .id = "id"}},
	{"token", {.form = SIGNATURE_TOKEN}}
};

static void
inbound_fail(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("%s", what),
			 errhint("%s", hint)));
}

static SignCode
code_named(const char *name)
{
	return strcmp(name, "hex") == 0 ? CODE_HEX : strcmp(name, "base64") == 0 ? CODE_BASE64 : CODE_TEXT;
}

static void
set_text(const JsonbValue *members, const char *name, const char **value)
{
	char	   *text = definition_text(members, name);

	if (text != NULL)
		*value = text;
}

static bool
content_names(const ConnectorInbound *inbound, const char *name)
{
	ListCell   *lc;

	foreach(lc, template_names(inbound->content))
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}

/* What the members say only together. */
static void
signature_check(const ConnectorInbound *inbound)
{
	bool		timed;
	ListCell   *lc;

	if (inbound->header == NULL)
		inbound_fail("option \"signature\" does not say which header holds the signature",
					 "Add \"header\": \"X-Signature\", or choose a \"style\" that knows: github, shopify, slack, standard, stripe.");
	if (inbound->form == SIGNATURE_TOKEN)
		return;
	foreach(lc, template_names(inbound->content))
	{
		const char *name = lfirst(lc);

		if (strcmp(name, "body") != 0 && strcmp(name, "timestamp") != 0 && strcmp(name, "id") != 0)
			inbound_fail(psprintf("option \"signature\" signs \"{%s}\", which is unknown", name),
						 "What is signed is made of {body}, {timestamp} and {id}.");
	}
	if (!content_names(inbound, "body"))
		inbound_fail("option \"signature\" does not sign the body", "Write {body} into \"signed\".");
	if (content_names(inbound, "id") && inbound->id_header == NULL)
		inbound_fail("option \"signature\" signs an id, and no header holds it", "Name the header in the option \"id_header\".");
	timed = inbound->timestamp != NULL || inbound->form == SIGNATURE_PAIRS;
	if (timed != content_names(inbound, "timestamp"))
		inbound_fail("option \"signature\": the time is signed and is told, or neither",
					 "\"timestamp\" names the header with the time, and \"signed\" has {timestamp}, as in \"{timestamp}.{body}\".");
	if (inbound->tolerance > 0 && !timed)
		inbound_fail("option \"signature\" has a tolerance, and no time is told", "Name the header with the time in \"timestamp\".");
}

static void
read_signature(const char *option, ConnectorInbound *inbound)
{
	Jsonb	   *json = definition_parse(option, "signature", false);
	JsonbValue	members = definition_root(json);
	const char *style = "hmac";
	const char *text = NULL;

	definition_check(json, DEFINITION_SIGNATURE, "option \"signature\"", "");
	set_text(&members, "style", &style);
	for (int i = 0; i < lengthof(styles); i++)
		if (strcmp(styles[i].name, style) == 0)
			*inbound = styles[i].inbound;
	set_text(&members, "header", &inbound->header);
	set_text(&members, "prefix", &inbound->prefix);
	set_text(&members, "timestamp", &inbound->timestamp);
	if (inbound->content == NULL)
		inbound->content = inbound->timestamp ? "{timestamp}.{body}" : "{body}";
	if (inbound->tolerance == 0 && inbound->timestamp)
		inbound->tolerance = MINUTES_US(5);
	set_text(&members, "signed", &inbound->content);
	inbound->algorithm = PG_SHA256;
	set_text(&members, "algorithm", &text);
	if (text != NULL)
		inbound->algorithm = strcmp(text, "sha1") == 0 ? PG_SHA1 : strcmp(text, "sha512") == 0 ? PG_SHA512 : PG_SHA256;
	if ((text = definition_text(&members, "encoding")) != NULL)
		inbound->encoding = code_named(text);
	if ((text = definition_text(&members, "key")) != NULL)
		inbound->key = code_named(text);
	if ((text = definition_text(&members, "tolerance")) != NULL)
		(void) rate_period(text, &inbound->tolerance);
}

/* Names of headers, of which none may be a secret's. */
static List *
read_headers(const char *option)
{
	static const char hint[] = "Write the names of the headers to keep: '[\"X-Event-Type\"]', or '[]' for none.";
	Jsonb	   *json = definition_parse(option, "headers", false);
	JsonbValue	root = definition_root(json);
	DefinitionMember *elements;
	List	   *names = NIL;
	int			n;

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		inbound_fail("option \"headers\" is not an array", hint);
	elements = definition_members(&root, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *name = elements[i].value.type == jbvString ? template_scalar_text(&elements[i].value) : "";

		if (!http_header_is_name(name))
			inbound_fail("option \"headers\" holds something that is no name of a header", hint);
		if (secret_header_name(name))
			inbound_fail(psprintf("header \"%s\" looks like a secret, which is not kept", name), hint);
		names = lappend(names, name);
	}
	return names;
}

static void
check_retention(const char *text)
{
	Datum		interval = DirectFunctionCall3(interval_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	Interval	zero = {0};

	if (!DatumGetBool(DirectFunctionCall2(interval_gt, interval, IntervalPGetDatum(&zero))))
		inbound_fail("option \"retention\" is not a time to keep events for", "Write an interval of more than nothing: \"90 days\".");
}

/* "$.id", as others write it, is the path "id". */
static const char *
id_path(const char *path)
{
	if (strncmp(path, "$.", 2) == 0)
		path += 2;
	if (*path == '\0' || !path_valid(path))
		inbound_fail(psprintf("option \"id\" is not a path into the event: \"%s\"", path),
					 "Write dotted member names, as in \"id\" or \"event.id\".");
	return path;
}

ConnectorInbound *
connector_inbound(List *options)
{
	ConnectorInbound *inbound = palloc0(sizeof(ConnectorInbound));
	const char *signature = definition_option(options, "signature");
	const char *id = definition_option(options, "id");
	const char *id_header = definition_option(options, "id_header");
	const char *format = definition_option(options, "format");
	const char *headers = definition_option(options, "headers");

	if (signature != NULL)
		read_signature(signature, inbound);
	/* what the style says holds only where nothing is said; but what is signed with stays */
	if (id != NULL && id_header != NULL)
		inbound_fail("options \"id\" and \"id_header\" exclude each other", "An event's id stands in its body or in a header.");
	if (id != NULL)
		inbound->id = id_path(id);
	if (id_header != NULL)
	{
		inbound->id_header = id_header;
		inbound->id = NULL;
	}
	if (signature != NULL)
		signature_check(inbound);
	inbound->text = format != NULL && strcmp(format, "text") == 0;
	inbound->all_headers = headers == NULL;
	if (headers != NULL)
		inbound->headers = read_headers(headers);
	inbound->retention = definition_option(options, "retention");
	return inbound;
}

void
definition_check_inbound(List *options)
{
	const char *format = definition_option(options, "format");
	const char *retention = definition_option(options, "retention");
	ConnectorInbound *inbound = connector_inbound(options);

	if (format != NULL && strcmp(format, "json") != 0 && strcmp(format, "text") != 0)
		inbound_fail(psprintf("invalid value \"%s\" of option \"format\"", format), "Valid values are: json, text.");
	if (inbound->text && inbound->id != NULL)
		inbound_fail("an event that is no JSON has no path to its id",
					 "Name the header that holds it in \"id_header\"; without one the id is a digest of the body.");
	if (retention != NULL)
		check_retention(retention);
}
