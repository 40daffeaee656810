/*
 * POST /channels/CHANNEL/messages.
 *
 * The happy path: publish_begin() checks all that the headers can tell ->
 * publish_body() gathers -> publish_end() publishes, a bounded number of
 * lines an iteration -> 201 with the position of the last message.
 *
 * What can go wrong: what the headers tell is refused before the body is read
 * (400, 403, 411, 413, 503).  Where a filter is asked the answer waits for what
 * it says, and the next lines for room in its queue.  A line that is refused
 * ends the request: those before it stay published, the answer says how many
 * and which line it was.
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "daemon/net/access.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TYPE_BYTES_MAX 1024
#define ANSWER_BYTES_MAX 4096
#define LINES_PER_ITERATION_MAX 1024
#define BYTES_PER_ITERATION_MAX (256 * LIMITS_KIB)

static const struct refusal {
	int error;
	unsigned status;
	const char *code, *message;
} refusals[] = {
	{ -EINVAL, 400, "bad_channel",
	    "expected 1 to 128 of A-Z a-z 0-9 _ - . :, the first a letter or "
	    "digit" },
	{ -EMSGSIZE, 413, "too_large", "limits.message_bytes_max is reached" },
	{ -EILSEQ, 400, "bad_utf8", "text is expected to be UTF-8" },
	{ -EBADMSG, 400, "bad_json", "expected one JSON value" },
	{ -E2BIG, 400, "bad_json", "JSON is nested too deep" },
	{ -ENFILE, 503, "too_many_channels", "limits.channels_max is reached" },
	{ -ENOBUFS, 503, "no_room", "a memory limit is reached" },
	{ -ESHUTDOWN, 503, "closing", "the server is closing" },
	{ -EACCES, 422, "refused", "the channel's filter refuses it" },
	{ -EIO, 503, "filter_failed", "the channel's filter failed" },
	{ -ENOMEM, 503, "no_memory", "out of memory" },
};

static const struct refusal *
refusal_for(int error)
{
	const size_t n = sizeof(refusals) / sizeof(*refusals);
	size_t i;

	for (i = 0; i < n - 1; i++)
		if (refusals[i].error == error)
			break;
	return &refusals[i];
}

static bool
type_is(const char *type, const char *wanted)
{
	const size_t len = strlen(wanted);

	return strncasecmp(type, wanted, len) == 0 &&
	       (type[len] == '\0' || type[len] == ';' || type[len] == ' ');
}

/* 0 or -EMSGSIZE. */
static int
kind_from_type(struct conn *conn, struct request *request)
{
	char type[TYPE_BYTES_MAX];

	request->kind = MESSAGE_BINARY;
	if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_CONTENT_TYPE) == 0)
		return 0;
	if (http_header(conn, WSI_TOKEN_HTTP_CONTENT_TYPE, type, sizeof(type)) <
	    0)
		return -EMSGSIZE;
	if (type_is(type, "application/json"))
		request->kind = MESSAGE_JSON;
	else if (strncasecmp(type, "text/", 5) == 0)
		request->kind = MESSAGE_TEXT;
	else if (type_is(type, "application/x-ndjson")) {
		request->kind = MESSAGE_JSON;
		request->lines = true;
		request->skip_empty = true;
	}
	return 0;
}

static int
read_arguments(struct conn *conn, struct request *request) LOOP_THREAD
{
	char text[16];
	const int len = http_argument(conn, "split=", text, sizeof(text));

	if (kind_from_type(conn, request) < 0)
		return http_error(conn, 400, "bad_type",
		    "Content-Type: expected less than %d bytes",
		    TYPE_BYTES_MAX);
	if (len == -ENOENT)
		return 0;
	if (len != 5 || memcmp(text, "lines", 5) != 0)
		return http_error(
		    conn, 400, "bad_split", "split: expected lines");
	request->lines = true;
	return 0;
}

/* What the headers can tell; != 0: refused, and answered. */
static int
check(struct conn *conn, const char *channel) LOOP_THREAD
{
	struct net *net = conn->net;
	const size_t len = strlen(channel);

	if (net->closing)
		return http_error(
		    conn, 503, "closing", "the server is closing");
	if (!channel_name_valid(channel, len))
		return http_error(conn, 400, "bad_channel", "%s",
		    refusal_for(-EINVAL)->message);
	if (!http_origin_allowed(conn))
		return http_bad_origin(conn);
	if (!hub_may(net->hub, &conn->who, CONF_PUBLISH, channel, len))
		return access_forbidden(conn, "publishing");
	if (conn->body_left < 0)
		return http_error(conn, 411, "length_required",
		    "expected Content-Length, no Transfer-Encoding");
	if (conn->body_left > net->conf->limits.body_bytes_max) {
		net->counts.refused_bodies++;
		return http_error(conn, 413, "too_large",
		    "limits.body_bytes_max is %" PRId64 " bytes",
		    net->conf->limits.body_bytes_max);
	}
	return 0;
}

/* curl waits a second for this before it sends more than a megabyte. */
static int
answer_continue(struct conn *conn)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_EXPECT) == 0)
		return 0;
	return lws_write(conn->wsi, (unsigned char *)(uintptr_t)text,
		   sizeof(text) - 1, LWS_WRITE_HTTP_HEADERS) < 0
		   ? -1
		   : 0;
}

int
publish_begin(struct conn *conn, const char *channel)
{
	struct request *request;
	int result = check(conn, channel);

	if (result != 0)
		return http_end(conn, result);
	assert(conn->request == NULL);
	request = memory_zalloc(sizeof(*request));
	if (request == NULL)
		return http_end(
		    conn, http_error(conn, 503, "no_memory", "out of memory"));
	buffer_init(&request->body);
	result = read_arguments(conn, request);
	if (result != 0) {
		memory_free(request);
		return http_end(conn, result);
	}
	(void)memcpy(request->channel, channel, strlen(channel) + 1);
	conn->request = request;
	if (conn->body_left == 0)
		return publish_end(conn);
	return answer_continue(conn);
}

void
publish_abandon(struct conn *conn)
{
	if (conn->request == NULL)
		return;
	conn_drop(conn, &conn->request->body);
	memory_free(conn->request->error_text);
	memory_free(conn->request);
	conn->request = NULL;
}

int
publish_body(struct conn *conn, const void *data, size_t len)
{
	int error;

	assert(conn->request != NULL);
	error = conn_take(conn, &conn->request->body, data, len,
	    (size_t)conn->net->conf->limits.body_bytes_max);
	if (error == 0)
		return 0;
	publish_abandon(conn);
	return http_end(conn,
	    http_error(conn, refusal_for(error)->status,
		refusal_for(error)->code, "%s", refusal_for(error)->message));
}

/* One message of the request; its offset or an error, which ends it. */
static int64_t
publish_one(struct conn *conn, const uint8_t *data, size_t len)
{
	struct request *request = conn->request;
	const struct hub_message message = {
		.kind = request->kind,
		.payload = data,
		.len = len,
		.publisher = &conn->publisher,
		.cookie = request->line + 1,
	};
	struct position position;
	int64_t offset;

	offset = hub_publish(conn->net->hub, request->channel,
	    strlen(request->channel), HUB_OUTSIDE, &message, clock_wall_us(),
	    &position);
	if (offset == -EINPROGRESS) {
		request->asked++;
	} else if (offset < 0) {
		request->error = (int)offset;
		request->error_line = request->line + 1;
	} else {
		request->position = position;
		request->accepted++;
	}
	return offset;
}

/* A filter had a message: in the order in which they were published. */
static void
on_verdict(struct hub_publisher *publisher, const struct hub_verdict *verdict)
{
	struct conn *conn = LIST_ENTRY(publisher, struct conn, publisher);
	struct request *request = conn->request;

	glue_on_loop(conn->net->glue);
	assert(request != NULL);
	assert(request->asked > 0);
	if (verdict->offset >= 0) {
		request->asked--;
		request->accepted++;
		request->position = verdict->position;
	} else { /* the rest is dropped */
		request->asked = 0;
		request->error = (int)verdict->offset;
		request->error_line = verdict->cookie;
		if (verdict->text != NULL)
			request->error_text = memory_dup(
			    verdict->text, strlen(verdict->text) + 1);
	}
	if (request->asked == 0)
		(void)lws_callback_on_writable(conn->wsi); /* or its end */
}

static void
on_full(struct hub_publisher *publisher, bool full)
{
	struct conn *conn = LIST_ENTRY(publisher, struct conn, publisher);

	glue_on_loop(conn->net->glue);
	if (!full && conn->request != NULL)
		(void)lws_callback_on_writable(conn->wsi); /* or its end */
}

static const struct hub_publisher_ops publisher_ops = { on_verdict, on_full };

/* The next line; done when the body has been read.  < 0: refused. */
static int
publish_line(struct conn *conn)
{
	struct request *request = conn->request;
	const uint8_t *start = request->body.data + request->done;
	const size_t left = request->body.len - request->done;
	const uint8_t *end = memchr(start, '\n', left);
	const size_t len = end != NULL ? (size_t)(end - start) : left;
	int64_t offset;

	assert(left > 0);
	if (len > 0 || !request->skip_empty) {
		offset = publish_one(conn, start, len);
		if (offset < 0 && offset != -EINPROGRESS)
			return (int)offset;
	}
	request->line++;
	request->done += len + (end != NULL);
	return 0;
}

enum progress { PUBLISH_DONE, PUBLISH_MORE, PUBLISH_WAITS };

/* MORE: to do in the next iteration.  WAITS: on_verdict(), on_full() come. */
static enum progress
publish_some(struct conn *conn)
{
	struct request *request = conn->request;
	const size_t begin = request->done;
	unsigned i;

	if (!request->lines && !request->begun)
		(void)publish_one(/* the request has its error */
		    conn, request->body.data, request->body.len);
	request->begun = true;
	for (i = 0; request->lines && request->error == 0 &&
		    request->done < request->body.len;
	     i++) {
		if (conn->publisher.full > 0)
			return PUBLISH_WAITS;
		if (i == LINES_PER_ITERATION_MAX ||
		    request->done - begin >= BYTES_PER_ITERATION_MAX)
			return PUBLISH_MORE;
		(void)publish_line(conn); /* the request has its error */
	}
	return request->asked > 0 ? PUBLISH_WAITS : PUBLISH_DONE;
}

static int
answer_accepted(struct conn *conn) LOOP_THREAD
{
	const struct request *request = conn->request;
	char position[POSITION_TEXT_MAX], body[256];
	int len;

	/* A body without a message was accepted and has no position. */
	if (request->accepted > 0)
		(void)position_put(position, &request->position);
	len = snprintf(body, sizeof(body),
	    "{\"channel\":\"%s\",\"position\":%s%s%s,\"accepted\":%" PRIu64
	    "}\n",
	    request->channel, request->accepted > 0 ? "\"" : "",
	    request->accepted > 0 ? position : "null",
	    request->accepted > 0 ? "\"" : "", request->accepted);
	assert(len > 0 && (size_t)len < sizeof(body));
	return http_answer(
	    conn, &(struct answer){
		      .status = 201, .body = body, .len = (size_t)len });
}

static int
answer_refused(struct conn *conn) LOOP_THREAD
{
	const struct request *request = conn->request;
	const struct refusal *refusal = refusal_for(request->error);
	const char *text = request->error_text;
	char body[2048]; /* a filter's text escaped, at its longest */
	size_t len;

	if (text == NULL)
		text = refusal->message;
	len = (size_t)snprintf(body, sizeof(body),
	    "{\"accepted\":%" PRIu64 ",\"error\":{\"line\":%" PRIu64
	    ",\"code\":\"%s\",\"message\":",
	    request->accepted, request->error_line, refusal->code);
	len +=
	    json_put_string(body + len, sizeof(body) - len, text, strlen(text));
	len += (size_t)snprintf(body + len, sizeof(body) - len, "}}\n");
	assert(len < sizeof(body));
	conn->net->counts.refused_requests++;
	return http_answer(conn,
	    &(struct answer){ .status = refusal->status,
		.headers = refusal->status == 503 ? "Retry-After: 1\r\n" : NULL,
		.body = body,
		.len = len });
}

int
publish_end(struct conn *conn)
{
	struct request *request = conn->request;
	int result;

	assert(request != NULL);
	request->complete = true;
	conn->publisher.ops = &publisher_ops;
	conn->publisher.strict = true; /* one that is refused is the last */
	switch (publish_some(conn)) {
	case PUBLISH_MORE:
		(void)lws_callback_on_writable(conn->wsi); /* HTTP_WRITEABLE */
		return 0;
	case PUBLISH_WAITS: /* as long as the filter may take */
		wheel_clear(&conn->net->wheel, &conn->deadline);
		lws_set_timeout(conn->wsi, NO_PENDING_TIMEOUT, 0);
		return 0;
	case PUBLISH_DONE:
		break;
	}
	result =
	    request->error < 0 ? answer_refused(conn) : answer_accepted(conn);
	publish_abandon(conn);
	return http_end(conn, result);
}

int
publish_on_writable(struct conn *conn)
{
	if (conn->request == NULL || !conn->request->complete)
		return 0;
	return publish_end(conn);
}
