/*
 * HTTP/1.1: what requests say, and how answers are written.
 *
 * The happy path: routes.c finds the route -> the route answers at once with
 * http_answer(), after the body (publish.c), or in slices (slices.c) ->
 * http_end() makes the connection ready for the next request.
 *
 * What can go wrong is answered with {"error":{"code","message"}}.  What of a
 * body nobody wants is body.c's.
 */

#include "daemon/net/http.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/net/access.h"
#include "daemon/net/net_internal.h"
#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEADERS_BYTES 1024
#define SMALL_BODY_BYTES 1024
#define ERROR_BYTES 512

/* The value of a header in out with its NUL; its length, or -1. */
int
http_header(
    struct conn *conn, enum lws_token_indexes token, char *out, size_t out_size)
{
	out[0] = '\0';
	if (lws_hdr_total_length(conn->wsi, token) == 0)
		return -1;
	return lws_hdr_copy(conn->wsi, out, (int)out_size, token);
}

/*
 * lws_get_urlarg_by_name_safe() says "not there" of an argument that is longer
 * than its buffer, and of all behind one that is.
 */
int
http_argument(struct conn *conn, const char *name, char *out, size_t out_size)
{
	const int all =
	    lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_URI_ARGS);
	const size_t name_len = strlen(name);
	int len, found = -ENOENT;
	char *text;

	if (all == 0)
		return -ENOENT;
	text = memory_alloc((size_t)all + 1);
	if (text == NULL)
		return -ENOMEM;
	for (int i = 0; (len = lws_hdr_copy_fragment(conn->wsi, text, all + 1,
			     WSI_TOKEN_HTTP_URI_ARGS, i)) >= 0;
	     i++) {
		const size_t value = (size_t)len - name_len;

		if ((size_t)len < name_len || memcmp(text, name, name_len) != 0)
			continue;
		if (found != -ENOENT)
			found = -EINVAL;
		else if (value >= out_size)
			found = -EMSGSIZE;
		else
			found = (int)value;
		if (found < 0)
			break;
		memcpy(out, text + name_len, value);
		out[value] = '\0';
	}
	memory_free(text);
	return found;
}

/* RFC 9110 section 5.6.2 */
static bool
is_token_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Names come with their colon. */
static void
on_name(const char *name, int len, void *arg)
{
	bool *good = arg;

	for (int i = 0; i < len - 1; i++)
		*good = *good && is_token_byte(name[i]);
}

/*
 * The library does not see where a name ends that is only the beginning of one
 * it knows ("X:", "User:"): what follows, up to the next colon, is the name to
 * it.  That may be a Content-Length, and then what a proxy takes for a body
 * would be requests to us.
 */
int
http_check_names(struct conn *conn)
{
	bool good = true;

	(void)lws_hdr_custom_name_foreach(
	    conn->wsi, on_name, &good); /* none is no error */
	if (good)
		return 0;
	conn->body_left = -1;
	conn->body_is_last = true;
	return http_error(conn, 400, "bad_header",
	    "a header without a name, or with one that is the beginning of a "
	    "common one, as X, User, X-Auth: expected others");
}

static bool
origin_matches(const char *wanted, const char *origin)
{
	const char *host = strstr(origin, "://");

	if (strcmp(wanted, "*") == 0 || strcasecmp(wanted, origin) == 0)
		return true;
	return host != NULL && strcasecmp(wanted, host + 3) == 0;
}

/*
 * Browsers say where a page came from, other programs say nothing: the check
 * is for browsers (RFC 6455 section 10.2).
 */
bool
http_origin_allowed(struct conn *conn)
{
	const struct conf_list *origins = &conn->listener->conf->origins;
	char origin[512], host[512];
	size_t i;

	if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_ORIGIN) == 0)
		return true;
	if (http_header(conn, WSI_TOKEN_ORIGIN, origin, sizeof(origin)) < 0)
		return false;
	for (i = 0; i < origins->count; i++)
		if (origin_matches(origins->items[i], origin))
			return true;
	if (origins->count > 0 ||
	    http_header(conn, WSI_TOKEN_HOST, host, sizeof(host)) <= 0)
		return false;
	return origin_matches(host, origin);
}

bool
http_is_head(struct conn *conn)
{
	return lws_hdr_total_length(conn->wsi, WSI_TOKEN_HEAD_URI) > 0;
}

static const char *
reason_phrase(unsigned status)
{
	static const struct {
		unsigned status;
		const char *phrase;
	} phrases[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 204, "No Content" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 422, "Unprocessable Content" },
		{ 426, "Upgrade Required" },
		{ 503, "Service Unavailable" },
	};
	size_t i;

	for (i = 0; i < sizeof(phrases) / sizeof(*phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	assert(!"a status we answer with");
	return "";
}

static const char *
cors(const struct conn *conn)
{
	return conn->cors != NULL ? conn->cors : "";
}

/*
 * The library's own headers say HTTP/1.0 while an upgrade is being decided,
 * which clients do not take for an answer.
 */
static size_t
put_headers(struct conn *conn, const struct answer *answer,
    char out[static HEADERS_BYTES])
{
	const bool upgrade = conn->state != CONN_REQUEST;
	int len;

	len = snprintf(out, HEADERS_BYTES,
	    "HTTP/1.1 %u %s\r\n"
	    "Content-Type: %s\r\n"
	    "Content-Length: %zu\r\n"
	    "%s%s%s\r\n",
	    answer->status, reason_phrase(answer->status),
	    answer->type != NULL ? answer->type : "application/json",
	    answer->len, answer->headers != NULL ? answer->headers : "",
	    upgrade || conn->net->closing || body_is_last(conn)
		? "Connection: close\r\n"
		: "",
	    cors(conn));
	assert(len > 0);
	assert(len < HEADERS_BYTES);
	return (size_t)len;
}

static int
write_bytes(struct conn *conn, const void *data, size_t len,
    enum lws_write_protocol how)
{
	return lws_write(
		   conn->wsi, (unsigned char *)(uintptr_t)data, len, how) < 0
		   ? -1
		   : 0;
}

/* 0, or -1: the connection is of no more use.  One segment if it is small. */
static int
write_answer(struct conn *conn, const struct answer *answer, bool head)
{
	char out[HEADERS_BYTES + SMALL_BODY_BYTES];
	size_t len;

	assert(answer->status >= 100);
	assert(answer->body != NULL || answer->len == 0);
	len = put_headers(conn, answer, out);
	if (answer->len == 0 || head)
		return write_bytes(conn, out, len, LWS_WRITE_HTTP_HEADERS);
	if (answer->len <= SMALL_BODY_BYTES) {
		memcpy(out + len, answer->body, answer->len);
		return write_bytes(
		    conn, out, len + answer->len, LWS_WRITE_HTTP_HEADERS);
	}
	if (write_bytes(conn, out, len, LWS_WRITE_HTTP_HEADERS) < 0)
		return -1;
	return write_bytes(
	    conn, answer->body, answer->len, LWS_WRITE_HTTP_FINAL);
}

int
http_answer_now(struct conn *conn, const struct answer *answer, bool head)
{
	if (write_answer(conn, answer, head) < 0)
		return -1;
	conn_set_state(conn, CONN_IDLE);
	conn_set_deadline(conn, conn->net->conf->limits.keepalive_timeout);
	listeners_resume(conn->net);
	return 1;
}

int
http_answer(struct conn *conn, const struct answer *answer)
{
	if (body_keeps_answer(conn, answer, http_is_head(conn)))
		return 1;
	return http_answer_now(conn, answer, http_is_head(conn));
}

int
http_end(struct conn *conn, int result)
{
	conn->hung_up = result < 0 || conn->net->closing;
	if (conn->hung_up)
		return -1;
	if (body_awaited(conn))
		return 0;
	conn->hung_up = body_is_last(conn) ||
			lws_http_transaction_completed(conn->wsi) != 0;
	return conn->hung_up ? -1 : 0;
}

int
http_refuse(struct conn *conn, unsigned status, const char *headers,
    const char *code, const char *text)
{
	char body[ERROR_BYTES];
	size_t len;

	len = (size_t)snprintf(body, sizeof(body),
	    "{\"error\":{\"code\":\"%s\",\"message\":", code);
	len +=
	    json_put_string(body + len, sizeof(body) - len, text, strlen(text));
	assert(len + sizeof("}}\n") <= sizeof(body));
	len += (size_t)snprintf(body + len, sizeof(body) - len, "}}\n");
	conn->net->counts.refused_requests++;
	return http_answer(conn, &(struct answer){ .status = status,
				     .headers = headers,
				     .body = body,
				     .len = len });
}

int
http_error(
    struct conn *conn, unsigned status, const char *code, const char *fmt, ...)
{
	char text[ERROR_BYTES / 2];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* our texts */
	va_end(args);
	return http_refuse(conn, status,
	    status == 503 ? "Retry-After: 1\r\n" : NULL, code, text);
}

int
http_on_connect(struct conn *conn)
{
	static const char body[] =
	    "{\"error\":{\"code\":\"bad_method\",\"message\":"
	    "\"this is no proxy\"}}\n";

	conn->net->counts.requests++;
	conn->net->counts.refused_requests++;
	(void)http_answer_now(conn,
	    &(struct answer){ .status = 405,
		.headers = "Allow: GET, HEAD, POST, OPTIONS\r\n",
		.body = body,
		.len = sizeof(body) - 1 },
	    false); /* it is hung up on anyway */
	conn->hung_up = true;
	return -1;
}

int
http_bad_origin(struct conn *conn)
{
	conn->net->counts.refused_origin++;
	return http_error(conn, 403, "bad_origin",
	    "Origin: expected this host, or one of the listener's origins");
}

/* Only for origins that are configured; to this host no header is needed. */
void
http_cors_begin(struct conn *conn)
{
	const struct conf_list *origins = &conn->listener->conf->origins;
	char origin[256], text[320];
	size_t i;
	int len;

	memory_free(conn->cors);
	conn->cors = NULL;
	if (http_header(conn, WSI_TOKEN_ORIGIN, origin, sizeof(origin)) <= 0)
		return;
	for (i = 0; i < origins->count; i++) {
		if (!origin_matches(origins->items[i], origin))
			continue;
		len = snprintf(text, sizeof(text),
		    "Access-Control-Allow-Origin: %s\r\nVary: Origin\r\n",
		    strcmp(origins->items[i], "*") == 0 ? "*" : origin);
		assert(len > 0);
		assert((size_t)len < sizeof(text));
		/* Without memory the browser refuses: nothing is lost. */
		conn->cors = memory_dup(text, (size_t)len + 1);
		return;
	}
}

void
http_keep_private(struct conn *conn)
{
	static const char text[] = "Cache-Control: private\r\n";
	const size_t len = strlen(cors(conn));
	char *both = memory_alloc(len + sizeof(text));

	if (both == NULL)
		return; /* what a cache does with a query is its own anyway */
	memcpy(both, cors(conn), len);
	memcpy(both + len, text, sizeof(text));
	memory_free(conn->cors);
	conn->cors = both;
}

int
http_stream_headers(struct conn *conn, const char *type, const char *headers)
{
	char out[HEADERS_BYTES * 2];
	const int len = snprintf(out, sizeof(out),
	    "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s%s\r\n", type, cors(conn),
	    headers);

	assert(len > 0);
	assert((size_t)len < sizeof(out));
	return write_bytes(conn, out, (size_t)len, LWS_WRITE_HTTP_HEADERS);
}

int
http_from(struct conn *conn, struct from *ret_from)
{
	char text[64];
	int len = http_argument(conn, "from=", text, sizeof(text));

	if (len == -ENOENT)
		len = 0; /* live */
	if (len < 0 || from_get(text, (size_t)len, ret_from) < 0)
		return http_error(conn, 400, "bad_from",
		    "from: expected oldest, -N or EPOCH:OFFSET");
	return 0;
}

int
http_may_subscribe(struct conn *conn, const char *channel, size_t len)
{
	if (!channel_name_valid(channel, len))
		return http_error(conn, 400, "bad_channel",
		    "expected 1 to %d of A-Z a-z 0-9 _ - . :, the first a "
		    "letter or digit",
		    CHANNEL_NAME_MAX);
	if (!hub_may(conn->net->hub, &conn->who, CONF_SUBSCRIBE, channel, len))
		return access_forbidden(conn, "subscribing");
	return 0;
}

static int
subscribe_error(struct conn *conn, int error) LOOP_THREAD
{
	switch (error) {
	case -ENFILE:
		return http_error(conn, 503, "too_many_channels",
		    "limits.channels_max is reached");
	case -ESHUTDOWN:
		return http_error(
		    conn, 503, "closing", "the server is closing");
	default:
		return http_error(conn, 503, "no_memory", "out of memory");
	}
}

int
http_subscribe(
    struct conn *conn, const char *channel, size_t len, const struct from *from)
{
	struct hub_answer answer;
	const int error = hub_subscribe(conn->net->hub, &conn->first.consumer,
	    channel, len, conn_view(conn), from, clock_wall_us(), &answer);

	if (error < 0)
		return subscribe_error(conn, error);
	conn_subscribed(conn, &conn->first);
	conn->position = answer.position;
	conn->recovered = answer.recovered;
	conn->gap_from = answer.gap_from;
	conn->gap_to = answer.gap_to;
	return 0;
}
