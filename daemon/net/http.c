/*
 * HTTP/1.1: which request goes where, and how answers are written.
 *
 * The happy path: LWS_CALLBACK_HTTP -> http_on_request() finds the route ->
 * the route answers at once, or (publish.c) after the body -> http_end()
 * makes the connection ready for the next request.
 *
 * What can go wrong: unknown path 404, wrong method 405 with Allow, a request
 * that may not be 403; each with {"error":{"code","message"}}.  What of a
 * body nobody wants is body.c's.
 */

#include "daemon/net/http.h"
#include "daemon/base/memory.h"
#include "daemon/net/net_internal.h"
#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEADERS_BYTES 512
#define SMALL_BODY_BYTES 1024
#define ERROR_BYTES 512

typedef int (*route_fn)(struct conn *conn);

static int on_root(struct conn *conn);
static int on_healthz(struct conn *conn);
static int on_readyz(struct conn *conn);
static int on_ws_without_upgrade(struct conn *conn);

/* `*` in a path stands for a channel's name. */
static const struct route {
	const char *path;
	bool get, post;
	route_fn fn; /* GET, HEAD */
	int (*channel_fn)(struct conn *, const char *channel); /* POST */
} routes[] = {
	{ "/", .get = true, .fn = on_root },
	{ "/healthz", .get = true, .fn = on_healthz },
	{ "/readyz", .get = true, .fn = on_readyz },
	{ "/metrics", .get = true, .fn = metrics_answer },
	{ "/ws/*", .get = true, .fn = on_ws_without_upgrade },
	{ "/channels/*/messages", .post = true, .channel_fn = publish_begin },
};

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

static bool
is_head(struct conn *conn)
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
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
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
	    "%s%s\r\n",
	    answer->status, reason_phrase(answer->status),
	    answer->type != NULL ? answer->type : "application/json",
	    answer->len, answer->headers != NULL ? answer->headers : "",
	    upgrade || conn->net->closing || body_is_last(conn)
		? "Connection: close\r\n"
		: "");
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
	if (body_keeps_answer(conn, answer, is_head(conn)))
		return 1;
	return http_answer_now(conn, answer, is_head(conn));
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
http_error(
    struct conn *conn, unsigned status, const char *code, const char *fmt, ...)
{
	char message[ERROR_BYTES / 2], body[ERROR_BYTES];
	size_t len;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args); /* our texts */
	va_end(args);
	len = (size_t)snprintf(body, sizeof(body),
	    "{\"error\":{\"code\":\"%s\",\"message\":", code);
	len += json_put_string(
	    body + len, sizeof(body) - len, message, strlen(message));
	assert(len + sizeof("}}\n") <= sizeof(body));
	len += (size_t)snprintf(body + len, sizeof(body) - len, "}}\n");
	conn->net->counts.refused_requests++;
	return http_answer(
	    conn, &(struct answer){ .status = status,
		      .headers = status == 503 ? "Retry-After: 1\r\n" : NULL,
		      .body = body,
		      .len = len });
}

static int
answer_text(struct conn *conn, unsigned status, const char *text) LOOP_THREAD
{
	return http_answer(conn, &(struct answer){ .status = status,
				     .type = "text/plain; charset=utf-8",
				     .body = text,
				     .len = strlen(text) });
}

static int
on_root(struct conn *conn) LOOP_THREAD
{
	return answer_text(conn, 200,
	    "earshot: what happens here, heard by every WebSocket in earshot\n"
	    "\n"
	    "listen   GET  /ws/CHANNEL            (WebSocket)\n"
	    "              ?from=oldest | -N | EPOCH:OFFSET\n"
	    "publish  POST /channels/CHANNEL/messages\n"
	    "              text/* is text, application/json is JSON, else "
	    "binary;\n"
	    "              ?split=lines or application/x-ndjson: a message a "
	    "line\n"
	    "observe  GET  /healthz /readyz /metrics\n"
	    "\n"
	    "earshot sub CHANNEL, earshot pub CHANNEL do both from a shell\n");
}

/* Answered by the net loop: that it comes means the data path moves. */
static int
on_healthz(struct conn *conn) LOOP_THREAD
{
	return answer_text(conn, 200, "ok\n");
}

static int
on_readyz(struct conn *conn) LOOP_THREAD
{
	if (conn->net->closing)
		return answer_text(conn, 503, "closing\n");
	return answer_text(conn, 200, "ready\n");
}

static int
on_ws_without_upgrade(struct conn *conn) LOOP_THREAD
{
	static const char body[] =
	    "{\"error\":{\"code\":\"upgrade_required\",\"message\":"
	    "\"expected a WebSocket upgrade\"}}\n";

	return http_answer(conn, &(struct answer){ .status = 426,
				     .headers = "Upgrade: websocket\r\n",
				     .body = body,
				     .len = sizeof(body) - 1 });
}

/* Does the path match, and which channel does it name? */
static bool
route_matches(const struct route *route, const char *uri, size_t len,
    char channel[static CHANNEL_NAME_MAX + 2])
{
	const char *star = strchr(route->path, '*');
	size_t before, after, middle;

	channel[0] = '\0';
	if (star == NULL)
		return strlen(route->path) == len &&
		       memcmp(route->path, uri, len) == 0;
	before = (size_t)(star - route->path);
	after = strlen(star + 1);
	if (len <= before + after || memcmp(uri, route->path, before) != 0 ||
	    memcmp(uri + len - after, star + 1, after) != 0)
		return false;
	middle = len - before - after;
	if (memchr(uri + before, '/', middle) != NULL)
		return false;
	if (middle > CHANNEL_NAME_MAX + 1) /* invalid, and still told so */
		middle = CHANNEL_NAME_MAX + 1;
	memcpy(channel, uri + before, middle);
	channel[middle] = '\0';
	return true;
}

static int
dispatch(struct conn *conn, const struct route *route, int method,
    const char *channel) LOOP_THREAD
{
	static const char *const allow[] = { "Allow: GET, HEAD\r\n",
		"Allow: POST\r\n" };
	const bool get = method == LWSHUMETH_GET || method == LWSHUMETH_HEAD;
	static const char body[] =
	    "{\"error\":{\"code\":\"bad_method\",\"message\":"
	    "\"the Allow header names the methods\"}}\n";

	if (get && route->get)
		return http_end(conn, route->fn(conn));
	if (method == LWSHUMETH_POST && route->post)
		return route->channel_fn(conn, channel);
	conn->net->counts.refused_requests++;
	return http_end(
	    conn, http_answer(conn, &(struct answer){ .status = 405,
					.headers = allow[route->post],
					.body = body,
					.len = sizeof(body) - 1 }));
}

int
http_on_request(struct conn *conn)
{
	char channel[CHANNEL_NAME_MAX + 2];
	char *uri;
	int len;
	const int method = lws_http_get_uri_and_method(conn->wsi, &uri, &len);
	size_t i;

	conn->net->counts.requests++;
	conn_set_state(conn, CONN_REQUEST);
	conn_set_deadline(conn, conn->net->conf->limits.request_timeout);
	listeners_resume(conn->net);
	if (method < 0)
		return -1;
	body_begin(conn, method);
	for (i = 0; i < sizeof(routes) / sizeof(*routes); i++)
		if (route_matches(&routes[i], uri, (size_t)len, channel))
			return dispatch(conn, &routes[i], method, channel);
	return http_end(conn,
	    http_error(conn, 404, "not_found", "GET / says what is here"));
}
