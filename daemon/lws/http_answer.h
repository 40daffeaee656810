#ifndef DAEMON_LWS_HTTP_ANSWER_H
#define DAEMON_LWS_HTTP_ANSWER_H

/*
 * http_answer: one HTTP/1.1 answer taken from a stream of bytes (RFC 9112).
 *
 * Life      init -> feed* -> (end) -> use -> fini.
 * Promise   Strict: what the RFC does not allow is a fault, for two readings
 *           of one answer are how requests get mixed up.  Bare line feeds,
 *           folded lines, spaces before a colon, a length given twice or
 *           beside chunks, other codings than chunked: refused.
 * Memory    HTTP_ANSWER_LINE_MAX and the body, at most body_bytes_max.
 * Threads   Quiet: the caller serialises.
 */

#include "daemon/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_ANSWER_LINE_MAX 8192
#define HTTP_ANSWER_HEAD_MAX 32768 /* all lines, those of chunks excepted */
#define HTTP_ANSWER_REASON_MAX 64 /* the rest is cut */

enum http_answer_state {
	HTTP_STATUS,
	HTTP_HEADERS,
	HTTP_BODY_LENGTH, /* `left` bytes */
	HTTP_BODY_END, /* until the connection ends */
	HTTP_CHUNK_SIZE,
	HTTP_CHUNK_DATA, /* `left` bytes */
	HTTP_CHUNK_END,
	HTTP_TRAILERS,
	HTTP_DONE,
};

struct http_answer {
	enum http_answer_state state;
	unsigned status; /* 0: not known yet */
	char reason[HTTP_ANSWER_REASON_MAX];
	struct buffer body;
	size_t body_bytes_max;
	bool keeps_alive; /* another request may follow on the connection */
	/* Of the parser. */
	struct buffer line;
	size_t head_bytes;
	uint64_t left;
	bool has_length, chunked, http_1_0;
};

void http_answer_init(struct http_answer *answer, size_t body_bytes_max);
void http_answer_fini(struct http_answer *answer);

/*
 * 1: complete, *ret_used bytes of data belong to it; 0: more is needed, all
 * was used.  -EPROTO: not an answer.  -EMSGSIZE: a line, the head or the body
 * is too long.  -ENOMEM.  Interim answers (1xx but 101) are skipped.
 */
int http_answer_feed(
    struct http_answer *answer, const void *data, size_t len, size_t *ret_used);

/* The connection has ended.  1: and so has the answer; -EPROTO: too early. */
int http_answer_end(struct http_answer *answer);

/* Whether nothing of an answer has been fed yet. */
bool http_answer_untouched(const struct http_answer *answer);

#endif
