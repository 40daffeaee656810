#ifndef DAEMON_NET_HTTP_H
#define DAEMON_NET_HTTP_H

/*
 * http: requests in, answers out.
 *
 * Threads  The net loop, inside libwebsockets' callbacks.
 * Errors   What a function returns goes back to the library: 0 go on, -1 hang
 *          up; http_answer() and http_error() return > 0, for http_end(); an
 *          upgrade that is refused is answered and hung up on (net.c).
 */

#include "daemon/net/conn.h"

#include <libwebsockets.h>

/* A POST under way; its body is gathered here. */
struct request {
	char channel[CHANNEL_NAME_MAX + 1];
	enum message_kind kind;
	bool lines; /* a message a line */
	bool skip_empty; /* ndjson: an empty line is not a message */
	bool complete, begun; /* the body is here; it has been looked at */
	struct buffer body;
	size_t done; /* bytes of it published */
	uint64_t line, accepted; /* lines done, messages of them */
	uint64_t asked; /* messages that wait for a filter */
	int error; /* why the rest is not published; 0: it is */
	uint64_t error_line;
	char *error_text; /* a filter's; NULL: the error's own */
	struct position position; /* of the last message accepted */
};

struct answer {
	unsigned status;
	const char *type; /* NULL: application/json */
	const char *headers; /* further ones, each with CR LF; NULL: none */
	const void *body;
	size_t len;
};
int http_on_request(struct conn *conn) LOOP_THREAD; /* routes.c */
/* CONNECT, of which the library makes bytes without a protocol.  -1. */
int http_on_connect(struct conn *conn) LOOP_THREAD;
/* After the request's body, where one is on its way; all is copied. */
int http_answer(struct conn *conn, const struct answer *answer) LOOP_THREAD;
int http_answer_now(
    struct conn *conn, const struct answer *answer, bool head) LOOP_THREAD;
/* {"error":{"code":…,"message":…}} */
int http_error(struct conn *conn, unsigned status, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5))) LOOP_THREAD;
/* The same with further headers, as struct answer has them. */
int http_refuse(struct conn *conn, unsigned status, const char *headers,
    const char *code, const char *text) LOOP_THREAD;
/* After an answer outside of an upgrade: what the callback returns. */
int http_end(struct conn *conn, int result) LOOP_THREAD;
bool http_is_head(struct conn *conn);
bool http_origin_allowed(struct conn *conn);
int http_bad_origin(struct conn *conn) LOOP_THREAD; /* 403 */
/* conn.cors: headers for an origin that is allowed by name, in each answer. */
void http_cors_begin(struct conn *conn);
/* This answer is for whoever asked, and not for caches that others share. */
void http_keep_private(struct conn *conn);
/* The head of an answer whose length is not known.  0, or -1: broken. */
int http_stream_headers(
    struct conn *conn, const char *type, const char *headers) LOOP_THREAD;

/* The argument `from`; != 0: refused, and answered. */
int http_from(struct conn *conn, struct from *ret_from) LOOP_THREAD;
/* Name and right; != 0: refused, and answered. */
int http_may_subscribe(
    struct conn *conn, const char *channel, size_t len) LOOP_THREAD;
/*
 * The connection's one subscription; position, recovered and gap are set.
 * != 0: refused, and answered.
 */
int http_subscribe(struct conn *conn, const char *channel, size_t len,
    const struct from *from) LOOP_THREAD;
/* Did the library take the head apart as the peer meant it?  As above. */
int http_check_names(struct conn *conn) LOOP_THREAD;
int http_header(struct conn *conn, enum lws_token_indexes token, char *out,
    size_t out_size);
/*
 * An argument of the query, decoded; name ends in '='.  Its length, -ENOENT,
 * -EMSGSIZE (out is too small), -EINVAL (given twice), -ENOMEM.
 */
int http_argument(
    struct conn *conn, const char *name, char *out, size_t out_size);

/* body.c */
void body_begin(struct conn *conn, int method) LOOP_THREAD;
int body_on_data(struct conn *conn, const void *data, size_t len) LOOP_THREAD;
int body_on_end(struct conn *conn) LOOP_THREAD;
/* true: the answer is given when the body is through. */
bool body_keeps_answer(
    struct conn *conn, const struct answer *answer, bool head) LOOP_THREAD;
bool body_awaited(struct conn *conn);
bool body_is_last(const struct conn *conn); /* nothing can come behind it */

/* publish.c */
int publish_begin(struct conn *conn, const char *channel) LOOP_THREAD;
int publish_body(struct conn *conn, const void *data, size_t len) LOOP_THREAD;
int publish_end(struct conn *conn) LOOP_THREAD;
int publish_on_writable(struct conn *conn) LOOP_THREAD; /* go on */
void publish_abandon(struct conn *conn);

/* slices.c: an answer that is made while it is written. */
struct slices {
	/* Appends some; 1: there is more, 0: that was all, < 0: hang up. */
	int (*put)(
	    struct conn *conn, struct slices *slices, struct buffer *out);
	void (*free)(struct slices *slices);
	bool chunked;
};
/* slices are the connection's, whatever comes back; headers may be "". */
int slices_begin(struct conn *conn, struct slices *slices, const char *type,
    const char *headers) LOOP_THREAD;
int slices_on_writable(struct conn *conn) LOOP_THREAD;
void slices_abandon(struct conn *conn);

/* history.c */
int history_begin(struct conn *conn, const char *channel) LOOP_THREAD;
int channels_begin(struct conn *conn, const char *channel) LOOP_THREAD;
int channel_answer(struct conn *conn, const char *channel) LOOP_THREAD;

/* sse.c */
int sse_begin(struct conn *conn, const char *channel) LOOP_THREAD;

/* control.c: what only who is on the control socket may ask */
bool control_may(struct conn *conn); /* its peer is one of us */
int control_on_writable(struct conn *conn) LOOP_THREAD;
void control_abandon(struct conn *conn);

/* inspect.c */
int inspect_channels(struct conn *conn, const char *channel) LOOP_THREAD;
int inspect_connections(struct conn *conn, const char *channel) LOOP_THREAD;

/* history.c: one channel as /channels has it. */
int channel_put(struct buffer *out, const struct hub_channel_stats *stats);

/* metrics.c */
int metrics_begin(struct conn *conn, const char *channel) LOOP_THREAD;

#endif
