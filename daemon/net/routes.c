/*
 * Which request goes where.
 *
 * To add a path: a line in the table, `*` for a channel's name.
 *
 * What can go wrong: unknown path 404, wrong method 405 with Allow, a request
 * on a connection that has become a stream: the stream ends.
 */

#include "daemon/net/routes.h"
#include "daemon/net/access.h"
#include "daemon/net/app.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

static int on_root(struct conn *conn, const char *channel);
static int on_healthz(struct conn *conn, const char *channel);
static int on_readyz(struct conn *conn, const char *channel);
static int on_ws(struct conn *conn, const char *channel);

static const struct route routes[] = {
	{ "/", true, false, on_root, NULL },
	{ "/healthz", true, false, on_healthz, NULL },
	{ "/readyz", true, false, on_readyz, NULL },
	{ "/metrics", true, false, metrics_begin, NULL },
	{ "/ws", true, false, on_ws, NULL },
	{ "/ws/*", true, false, on_ws, NULL },
	{ "/sse/*", false, true, sse_begin, NULL },
	{ "/channels", true, true, channels_begin, NULL },
	{ "/channels/*", true, true, channel_answer, NULL },
	{ "/channels/*/messages", false, true, history_begin, publish_begin },
};

int
http_text(struct conn *conn, unsigned status, const char *text)
{
	return http_end(
	    conn, http_answer(conn, &(struct answer){ .status = status,
					.type = "text/plain; charset=utf-8",
					.body = text,
					.len = strlen(text) }));
}

static int
on_root(struct conn *conn, const char *channel) LOOP_THREAD
{
	(void)channel;
	return http_text(conn, 200,
	    "earshot: what happens here, heard by every WebSocket in earshot\n"
	    "\n"
	    "listen   GET  /ws/CHANNEL            (WebSocket, just messages)\n"
	    "         GET  /sse/CHANNEL           (Server-Sent Events)\n"
	    "              ?from=oldest | -N | EPOCH:OFFSET\n"
	    "         GET  /ws                    (WebSocket, subprotocol "
	    "earshot.v1)\n"
	    "look     GET  /channels/CHANNEL/messages?from=...&limit=...\n"
	    "         GET  /channels /channels/CHANNEL\n"
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
on_healthz(struct conn *conn, const char *channel) LOOP_THREAD
{
	(void)channel;
	return http_text(conn, 200, "ok\n");
}

static int
on_readyz(struct conn *conn, const char *channel) LOOP_THREAD
{
	(void)channel;
	if (conn->net->closing)
		return http_text(conn, 503, "closing\n");
	return http_text(conn, 200, "ready\n");
}

static int
on_ws(struct conn *conn, const char *channel) LOOP_THREAD
{
	static const char body[] =
	    "{\"error\":{\"code\":\"upgrade_required\",\"message\":"
	    "\"expected a WebSocket upgrade\"}}\n";

	(void)channel;
	return http_end(
	    conn, http_answer(conn, &(struct answer){ .status = 426,
					.headers = "Upgrade: websocket\r\n",
					.body = body,
					.len = sizeof(body) - 1 }));
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

/* What the Allow header lists. */
#define ALLOW(methods)                                                         \
	"Allow: " methods "\r\n"                                               \
	"Access-Control-Allow-Methods: " methods "\r\n"                        \
	"Access-Control-Allow-Headers: Authorization, Content-Type, "          \
	"Last-Event-ID\r\n"

static const char *
allow(const struct route *route)
{
	if (route->get != NULL && route->post != NULL)
		return ALLOW("GET, POST, OPTIONS");
	if (route->post != NULL)
		return ALLOW("POST, OPTIONS");
	return route->head ? ALLOW("GET, HEAD, OPTIONS")
			   : ALLOW("GET, OPTIONS");
}

static int
bad_method(struct conn *conn, const struct route *route) LOOP_THREAD
{
	static const char body[] =
	    "{\"error\":{\"code\":\"bad_method\",\"message\":"
	    "\"the Allow header names the methods\"}}\n";

	conn->net->counts.refused_requests++;
	return http_end(conn, http_answer(conn, &(struct answer){ .status = 405,
						    .headers = allow(route),
						    .body = body,
						    .len = sizeof(body) - 1 }));
}

/* What a browser asks before it posts to us from another origin. */
static int
on_options(struct conn *conn, const struct route *route) LOOP_THREAD
{
	if (!http_origin_allowed(conn))
		return http_end(conn, http_bad_origin(conn));
	return http_end(conn, http_answer(conn, &(struct answer){ .status = 204,
						    .headers = allow(route) }));
}

static int
dispatch(struct conn *conn, const struct route *route, int method,
    const char *channel) LOOP_THREAD
{
	route_fn fn = NULL;
	int result = 0;

	if (method == LWSHUMETH_OPTIONS)
		return on_options(conn, route);
	if (method == LWSHUMETH_GET ||
	    (method == LWSHUMETH_HEAD && route->head))
		fn = route->get;
	else if (method == LWSHUMETH_POST)
		fn = route->post;
	if (fn == NULL)
		return bad_method(conn, route);
	if (route->asks)
		result = access_identify(conn);
	return result != 0 ? http_end(conn, result) : fn(conn, channel);
}

int
http_on_request(struct conn *conn)
{
	char channel[CHANNEL_NAME_MAX + 2];
	char *uri;
	int len, result;
	const int method = lws_http_get_uri_and_method(conn->wsi, &uri, &len);
	const struct route *table = routes;
	size_t count = sizeof(routes) / sizeof(*routes), i;

	if (method < 0 || conn_is_stream(conn) || conn->request != NULL ||
	    conn->slices != NULL || conn->awaited != NULL)
		return -1;
	conn->net->counts.requests++;
	conn_set_state(conn, CONN_REQUEST);
	conn_set_deadline(conn, conn->net->conf->limits.request_timeout);
	listeners_resume(conn->net);
	access_forget(conn);
	body_begin(conn, method);
	http_cors_begin(conn);
	result = http_check_names(conn);
	if (result != 0)
		return http_end(conn, result);
	if (conn->listener->control && !control_may(conn))
		return http_end(conn,
		    http_error(conn, 403, "not_allowed",
			"expected root, the daemon's user or a member of its "
			"group"));
	if (conn->listener->control)
		table = control_routes(&count);
	for (i = 0; i < count; i++)
		if (route_matches(&table[i], uri, (size_t)len, channel))
			return dispatch(conn, &table[i], method, channel);
	if (method == LWSHUMETH_GET && !conn->listener->control &&
	    handlers_for_path(conn->net->handlers, uri, (size_t)len) != NULL)
		return on_ws(conn, "");
	return http_end(conn,
	    http_error(conn, 404, "not_found", "GET / says what is here"));
}
