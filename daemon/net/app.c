/*
 * Connections that a handler is bound to: by path, on an endpoint of their
 * own, or by channel, on raw connections (raw.c).
 *
 * The happy path: app_begin() copies what the request said into a session ->
 * the stream is open: on_open -> what arrives is the session's -> what the
 * handler sends goes into out -> the connection goes: on_close.
 *
 * What can go wrong: no memory for a message: close 1013; a subscription is
 * overtaken: the handler is told, and inside a message close 4009.
 */

#include "daemon/net/app.h"
#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/net/access.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HEADERS_MAX 128
#define HEADS_BYTES_MAX (128 * LIMITS_KIB)
#define PEER_BYTES_MAX 96

/* What the request said */

struct heads {
	struct lws *wsi;
	const struct conn *conn;
	struct buffer text; /* strings with their NULs */
	size_t names[HEADERS_MAX], values[HEADERS_MAX]; /* where they begin */
	struct es_header headers[HEADERS_MAX];
	size_t count;
	int error;
};

static void
put_text(struct heads *heads, const char *text, size_t len)
{
	if (heads->error == 0)
		heads->error =
		    buffer_append(&heads->text, text, len, HEADS_BYTES_MAX);
	if (heads->error == 0)
		heads->error =
		    buffer_append(&heads->text, "", 1, HEADS_BYTES_MAX);
}

/* Names come with their colon. */
static void
put_head(struct heads *heads, const char *name, size_t len, const char *value,
    size_t value_len)
{
	if (heads->count == HEADERS_MAX || len < 2 || name[0] == ':' ||
	    name[len - 1] != ':' ||
	    access_is_header(heads->conn, name, len - 1, value))
		return;
	heads->names[heads->count] = heads->text.len;
	put_text(heads, name, len - 1);
	heads->values[heads->count] = heads->text.len;
	put_text(heads, value, value_len);
	heads->count++;
}

static void
put_known_heads(struct heads *heads)
{
	int token;

	for (token = 0; token < WSI_TOKEN_COUNT; token++) {
		const unsigned char *name =
		    lws_token_to_string((enum lws_token_indexes)token);
		const int len = lws_hdr_total_length(
		    heads->wsi, (enum lws_token_indexes)token);
		char *value;

		if (name == NULL || len <= 0 ||
		    token == WSI_TOKEN_HTTP_URI_ARGS)
			continue;
		value = memory_alloc((size_t)len + 1);
		if (value == NULL) {
			heads->error = -ENOMEM;
			return;
		}
		if (lws_hdr_copy(heads->wsi, value, len + 1,
			(enum lws_token_indexes)token) >= 0)
			put_head(heads, (const char *)name,
			    strlen((const char *)name), value, strlen(value));
		memory_free(value);
	}
}

static void
on_custom_head(const char *name, int name_len, void *arg)
{
	struct heads *heads = arg;
	const int len = lws_hdr_custom_length(heads->wsi, name, name_len);
	char *value;

	if (len < 0 || name_len < 2)
		return;
	value = memory_alloc((size_t)len + 1);
	if (value == NULL) {
		heads->error = -ENOMEM;
		return;
	}
	if (lws_hdr_custom_copy(heads->wsi, value, len + 1, name, name_len) >=
	    0)
		put_head(heads, name, (size_t)name_len, value, (size_t)len);
	memory_free(value);
}

/* The query's arguments, as the library decoded them, but for the token. */
static void
put_query(struct heads *heads)
{
	const int all =
	    lws_hdr_total_length(heads->wsi, WSI_TOKEN_HTTP_URI_ARGS);
	const char *between = "";
	char *text;
	int len, i;

	if (all <= 0) {
		put_text(heads, "", 0);
		return;
	}
	text = memory_alloc((size_t)all + 1);
	if (text == NULL) {
		heads->error = -ENOMEM;
		return;
	}
	for (i = 0; heads->error == 0 &&
		    (len = lws_hdr_copy_fragment(heads->wsi, text, all + 1,
			 WSI_TOKEN_HTTP_URI_ARGS, i)) >= 0;
	     i++) {
		if (access_is_argument(heads->conn, text, (size_t)len))
			continue;
		heads->error = buffer_append(
		    &heads->text, between, strlen(between), HEADS_BYTES_MAX);
		between = "&";
		if (heads->error == 0)
			heads->error = buffer_append(
			    &heads->text, text, (size_t)len, HEADS_BYTES_MAX);
	}
	put_text(heads, "", 0); /* its end */
	memory_free(text);
}

static void
put_peer(const struct conn *conn, char out[static PEER_BYTES_MAX])
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char host[64], port[16];

	(void)snprintf(out, PEER_BYTES_MAX, "unknown");
	if (getpeername(conn->fd, (struct sockaddr *)&address, &len) < 0)
		return;
	if (address.ss_family == AF_UNIX)
		(void)snprintf(out, PEER_BYTES_MAX, "unix");
	else if (getnameinfo((struct sockaddr *)&address, len, host,
		     sizeof(host), port, sizeof(port),
		     NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		(void)snprintf(out, PEER_BYTES_MAX,
		    address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
		    port);
}

static int
make_session(struct conn *conn, struct handler *handler, struct heads *heads,
    const char *path, const char *channel) LOOP_THREAD
{
	char peer[PEER_BYTES_MAX];
	struct es_open open = { .path = path, .channel = channel };
	size_t i;

	put_query(heads); /* the first string */
	put_known_heads(heads);
	if (heads->error == 0)
		(void)lws_hdr_custom_name_foreach(
		    conn->wsi, on_custom_head, heads); /* none is no error */
	if (heads->error < 0)
		return heads->error;
	for (i = 0; i < heads->count; i++)
		heads->headers[i] = (struct es_header){
			(char *)heads->text.data + heads->names[i],
			(char *)heads->text.data + heads->values[i]
		};
	put_peer(conn, peer);
	open.peer = peer;
	open.query = (char *)heads->text.data;
	open.headers = heads->headers;
	open.header_count = heads->count;
	open.claims =
	    conn->who.token != NULL ? token_claims(conn->who.token) : "";
	return session_new(
	    handler, conn, conn->slot, conn->generation, &open, &conn->session);
}

int
app_session(struct conn *conn, struct handler *handler, const char *channel)
{
	struct heads *heads;
	char *uri, *path;
	int len, r = -ENOMEM;

	assert(conn->session == NULL);
	if (lws_http_get_uri_and_method(conn->wsi, &uri, &len) < 0)
		return http_error(conn, 400, "bad_request", "expected a path");
	heads = memory_zalloc(sizeof(*heads));
	path = memory_alloc((size_t)len + 1);
	if (heads != NULL && path != NULL) {
		memcpy(path, uri, (size_t)len);
		path[len] = '\0';
		heads->wsi = conn->wsi;
		heads->conn = conn;
		buffer_init(&heads->text);
		r = make_session(conn, handler, heads, path, channel);
		buffer_fini(&heads->text);
	}
	memory_free(heads);
	memory_free(path);
	if (r == 0)
		return 0;
	if (r == -ESHUTDOWN)
		return http_error(
		    conn, 503, "closing", "the server is closing");
	return http_error(conn, 503, "no_memory", "out of memory");
}

/* The endpoint */

static void
on_open(struct conn *conn)
{
	glue_on_loop(conn->net->glue);
	session_open(conn->session);
}

static bool
on_begin(struct conn *conn)
{
	(void)conn;
	return true;
}

void
app_message(struct conn *conn, bool text, uint8_t *data, size_t len)
{
	const int r = session_message(
	    conn->session, text ? MESSAGE_TEXT : MESSAGE_BINARY, data, len);

	if (r < 0 && r != -ESHUTDOWN) /* then its close is coming */
		conn_close(conn, 1013, "no room for the message now");
}

static void
on_message(struct conn *conn, bool text, uint8_t *data, size_t len)
{
	glue_on_loop(conn->net->glue);
	app_message(conn, text, data, len);
}

static bool
on_overrun(struct subscription *subscription, enum conf_overrun policy,
    int64_t from, int64_t to, bool inside)
{
	struct conn *conn = subscription->conn;
	char text[CHANNEL_NAME_MAX + 64];

	(void)policy; /* skip and latest differ in `to` */
	glue_on_loop(conn->net->glue);
	(void)snprintf(text, sizeof(text), "gap %s:%" PRId64 "-%" PRId64,
	    hub_consumer_channel(&subscription->consumer), from, to);
	if (inside) {
		conn_close(conn, 4009, "%s", text);
		return false;
	}
	session_gap(conn->session,
	    hub_consumer_channel(&subscription->consumer), from, to);
	return true;
}

static void
on_shutdown(struct conn *conn, unsigned retry_after_ms)
{
	glue_on_loop(conn->net->glue);
	conn_close(conn, 1001, "shutdown retry_after_ms=%u", retry_after_ms);
}

static const struct endpoint app_endpoint = {
	.name = "app",
	.view = VIEW_RAW,
	.view_deflated = VIEW_RAW_DEFLATED,
	.open = on_open,
	.begin = on_begin,
	.message = on_message,
	.overrun = on_overrun,
	.write = glue_write,
	.message_end = ws_message_end,
	.ping = ws_ping,
	.settle = conn_settle_leaving,
	.shutdown = on_shutdown,
};

int
app_begin(struct conn *conn, struct handler *handler)
{
	conn->endpoint = &app_endpoint;
	return app_session(conn, handler, "");
}

/* What handlers ask for */

static struct session *
op_find(void *arg, uint32_t slot, uint32_t generation)
{
	const struct net *net = arg;
	const struct conn *conn;

	assert(slot < net->slot_count);
	conn = net->slots[slot];
	if (conn == NULL || conn->generation != generation)
		return NULL;
	return conn->session;
}

static bool
is_open(const struct conn *conn)
{
	return conn_is_stream(conn) && conn->close_code == 0 &&
	       !conn->peer_closed && !conn->cut;
}

static int64_t
op_send(void *arg, enum message_kind kind, const void *data, size_t len)
{
	struct conn *conn = arg;

	glue_on_loop(conn->net->glue);
	if (!is_open(conn))
		return -ENOTCONN;
	return conn_send(conn, kind != MESSAGE_BINARY, data, len);
}

static void
op_close(void *arg, uint16_t code, const char *reason)
{
	struct conn *conn = arg;

	glue_on_loop(conn->net->glue);
	if (conn_is_stream(conn))
		conn_close(conn, code, "%s", reason);
}

static bool
op_closing(void *arg)
{
	return !is_open(arg);
}

static struct subscription *
new_subscription(struct conn *conn)
{
	if (conn->subscription_count == 0 &&
	    conn->first.consumer.channel == NULL)
		return &conn->first;
	return memory_zalloc(sizeof(struct subscription));
}

static int
op_subscribe(void *arg, const char *channel, size_t len,
    const struct from *from, struct hub_answer *ret_answer)
{
	struct conn *conn = arg;
	struct net *net = conn->net;
	struct subscription *subscription;
	int r;

	glue_on_loop(net->glue);
	if (!is_open(conn))
		return -ENOTCONN;
	if (conn_find_subscription(conn, channel, len) != NULL)
		return -EALREADY;
	if (conn->subscription_count >= net->conf->limits.subscriptions_max) {
		net->counts.refused_subscriptions++;
		return -EMFILE;
	}
	subscription = new_subscription(conn);
	if (subscription == NULL)
		return -ENOMEM;
	r = hub_subscribe(net->hub, &subscription->consumer, channel, len,
	    conn_view(conn), from, clock_wall_us(), ret_answer);
	if (r < 0) {
		if (subscription != &conn->first)
			memory_free(subscription);
		return r;
	}
	subscription->leaving = false;
	conn_subscribed(conn, subscription);
	return 0;
}

static int
op_unsubscribe(void *arg, const char *channel, size_t len)
{
	struct conn *conn = arg;
	struct subscription *subscription;

	glue_on_loop(conn->net->glue);
	subscription = conn_find_subscription(conn, channel, len);
	if (subscription == NULL || subscription->leaving)
		return -ENOENT;
	conn_unsubscribe(conn, subscription);
	return 0;
}

static uint32_t
op_subscriptions(void *arg)
{
	return ((const struct conn *)arg)->subscription_count;
}

static void
op_pause(void *arg, bool pause)
{
	struct conn *conn = arg;

	glue_on_loop(conn->net->glue);
	/* While it closes it is read, for the peer's close and its end. */
	conn_pause_reading(
	    conn, pause && conn->close_code == 0 && !conn->peer_closed);
}

const struct handler_ops *
net_handler_ops(void)
{
	static const struct handler_ops ops = {
		.find = op_find,
		.send = op_send,
		.close = op_close,
		.closing = op_closing,
		.subscribe = op_subscribe,
		.unsubscribe = op_unsubscribe,
		.subscriptions = op_subscriptions,
		.pause = op_pause,
	};

	return &ops;
}
