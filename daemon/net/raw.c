/*
 * The raw view: GET /ws/CHANNEL upgraded; what is published is what is read,
 * and what is sent is published.
 *
 * The happy path: raw_begin() subscribes -> the answer carries position and
 * recovered -> spans of the tape, nothing else, ever.
 *
 * What can go wrong: there is no place for a notice in the user's stream, so
 * a gap closes it with 4009, unless ?gap=silent was asked for; publishing
 * without the right, or what a filter refuses, 1008.
 */

#include "daemon/base/clock.h"
#include "daemon/net/access.h"
#include "daemon/net/app.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int
get_arguments(struct conn *conn, struct from *ret_from) LOOP_THREAD
{
	char text[64];
	int len;

	if (http_from(conn, ret_from) != 0)
		return 1;
	len = http_argument(conn, "gap=", text, sizeof(text));
	conn->gap_silent = len == 6 && memcmp(text, "silent", 6) == 0;
	if (len != -ENOENT && !conn->gap_silent)
		return http_error(conn, 400, "bad_gap", "gap: expected silent");
	return 0;
}

/* Browsers do not see the answer's headers, so they are told here. */
static void
on_open(struct conn *conn)
{
	char reason[128];

	glue_on_loop(conn->net->glue);
	if (conn->recovered || conn->gap_silent) {
		if (conn->session != NULL)
			session_open(conn->session);
		return;
	}
	if (conn->gap_from > 0)
		(void)snprintf(reason, sizeof(reason),
		    "gap %016" PRIx64 ":%" PRId64 "-%" PRId64,
		    conn->position.epoch, conn->gap_from, conn->gap_to);
	else
		(void)snprintf(reason, sizeof(reason), "gap: not recovered");
	conn_close(conn, 4009, "%s", reason);
}

static bool
on_begin(struct conn *conn)
{
	const char *channel = hub_consumer_channel(&conn->first.consumer);

	glue_on_loop(conn->net->glue);
	if (conn->session != NULL) /* the handler decides */
		return true;
	if (channel == NULL) /* its close is on its way */
		return false;
	if (hub_may(conn->net->hub, &conn->who, CONF_PUBLISH, channel,
		strlen(channel)))
		return true;
	conn_close(conn, 1008, "publishing is not allowed");
	return false;
}

/* There is no reply in the user's stream: what is not taken closes it. */
static void
close_for(struct conn *conn, int64_t offset, const char *text) LOOP_THREAD
{
	if (offset >= 0 || offset == -EINPROGRESS)
		return;
	if (offset == -ESHUTDOWN) /* our close is coming */
		return;
	if (offset == -EACCES)
		conn_close(conn, 1008, "%s", text);
	else if (offset == -EIO)
		conn_close(conn, 1013, "the channel's filter failed");
	else if (offset == -EMSGSIZE)
		conn_close(conn, 1009, "message over message_bytes_max");
	else
		conn_close(conn, 1013, "no room for the message now");
}

static void
on_verdict(struct hub_publisher *publisher, const struct hub_verdict *verdict)
{
	struct conn *conn = LIST_ENTRY(publisher, struct conn, publisher);

	glue_on_loop(conn->net->glue);
	if (conn_is_stream(conn))
		close_for(conn, verdict->offset, verdict->text);
}

static const struct hub_publisher_ops publisher_ops = {
	.verdict = on_verdict,
	.full = conn_on_full,
};

static void
on_message(struct conn *conn, bool text, uint8_t *data, size_t len)
{
	const struct hub_message message = {
		.kind = text ? MESSAGE_TEXT : MESSAGE_BINARY,
		.payload = data,
		.len = len,
		.checked = true, /* as it arrived */
		.publisher = &conn->publisher,
	};
	const char *channel = hub_consumer_channel(&conn->first.consumer);

	glue_on_loop(conn->net->glue);
	if (conn->session != NULL) {
		app_message(conn, text, data, len);
		return;
	}
	close_for(conn,
	    hub_publish(conn->net->hub, channel, strlen(channel), HUB_OUTSIDE,
		&message, clock_wall_us(), NULL),
	    NULL);
}

static bool
on_overrun(struct subscription *subscription, enum conf_overrun policy,
    int64_t from, int64_t to, bool inside)
{
	struct conn *conn = subscription->conn;

	(void)policy; /* skip and latest differ in `to` */
	glue_on_loop(conn->net->glue);
	if (conn->gap_silent && !inside)
		return true;
	conn_close(conn, 4009, "gap %016" PRIx64 ":%" PRId64 "-%" PRId64,
	    conn->position.epoch, from, to);
	return false;
}

static void
on_shutdown(struct conn *conn, unsigned retry_after_ms)
{
	glue_on_loop(conn->net->glue);
	conn_close(conn, 1001, "shutdown retry_after_ms=%u", retry_after_ms);
}

static const struct endpoint raw_endpoint = {
	.name = "raw",
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
raw_begin(struct conn *conn, const char *channel, size_t len)
{
	struct handler *handler;
	struct from from;
	int r;

	conn->endpoint = &raw_endpoint;
	conn->publisher.ops = &publisher_ops;
	conn->publisher.strict = false;
	if (http_may_subscribe(conn, channel, len) != 0)
		return 1;
	handler = handlers_for_channel(conn->net->handlers, channel, len);
	if ((handler != NULL && handler_wants_token(handler) &&
		access_require(conn) != 0) ||
	    get_arguments(conn, &from) != 0)
		return 1;
	r = http_subscribe(conn, channel, len, &from);
	if (r != 0 || handler == NULL)
		return r;
	return app_session(
	    conn, handler, hub_consumer_channel(&conn->first.consumer));
}
