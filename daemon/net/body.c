/*
 * Bodies of requests, as far as they are only to be got through.
 *
 * The happy path: body_begin() knows the length -> body_on_data() counts and
 * gives the bytes to the route that wants them -> body_on_end().  A request
 * that nobody wants is answered when its body is through, so that who gets
 * the answer has sent all of it.
 *
 * What can go wrong:
 * - nobody knows the length (none, chunked, nonsense): answered, hung up on;
 * - more than body_bytes_max, or the client asks before it sends (Expect):
 *   answered at once, and the end is hung up on;
 * - the next request came with the end of the body: libwebsockets 4.3 takes
 *   all it has read on a server connection for the body and loses count.
 *   What was asked is answered, then we hang up.
 */

#include "daemon/base/memory.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/decimal.h"

#include <assert.h>
#include <string.h>

struct kept_answer {
	struct answer answer;
	bool head;
	char body[];
};

/* The length the body has; -1: it has one, and nobody knows. */
static int64_t
length_of(struct conn *conn, int method)
{
	char text[24];
	int64_t value;
	int len;

	if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
		return -1;
	if (lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) == 0)
		return method == LWSHUMETH_POST || method == LWSHUMETH_PUT ||
			       method == LWSHUMETH_PATCH
			   ? -1
			   : 0;
	len = http_header(
	    conn, WSI_TOKEN_HTTP_CONTENT_LENGTH, text, sizeof(text));
	if (len < 0 || decimal_get(text, (size_t)len, &value) < 0)
		return -1;
	return value;
}

void
body_begin(struct conn *conn, int method)
{
	assert(conn->request == NULL);
	assert(conn->kept_answer == NULL);
	conn->body_left = length_of(conn, method);
	conn->body_awaited = false;
	conn->body_is_last = conn->body_left < 0;
}

bool
body_is_last(const struct conn *conn)
{
	return conn->body_is_last;
}

bool
body_awaited(struct conn *conn)
{
	conn->body_awaited = conn->body_left > 0;
	return conn->body_awaited;
}

bool
body_keeps_answer(struct conn *conn, const struct answer *answer, bool head)
{
	const size_t headers_bytes =
	    answer->headers != NULL ? strlen(answer->headers) + 1 : 0;
	struct kept_answer *kept;

	assert(conn->kept_answer == NULL);
	if (conn->state != CONN_REQUEST || conn->body_left <= 0 ||
	    conn->net->closing)
		return false;
	conn->body_is_last =
	    conn->body_left > conn->net->conf->limits.body_bytes_max ||
	    lws_hdr_total_length(conn->wsi, WSI_TOKEN_HTTP_EXPECT) > 0;
	if (conn->body_is_last)
		return false;
	kept = memory_alloc(sizeof(*kept) + answer->len + headers_bytes);
	if (kept == NULL) {
		conn->body_is_last = true;
		return false;
	}
	kept->answer = *answer;
	kept->answer.body = kept->body;
	kept->head = head;
	if (answer->len > 0)
		memcpy(kept->body, answer->body, answer->len);
	if (headers_bytes > 0)
		kept->answer.headers = memcpy(
		    kept->body + answer->len, answer->headers, headers_bytes);
	conn->kept_answer = kept;
	return true;
}

/* The body is through, and with it the request. */
static int
finish(struct conn *conn) LOOP_THREAD
{
	struct kept_answer *kept = conn->kept_answer;
	int result = 0;

	if (kept != NULL)
		result = http_answer_now(conn, &kept->answer, kept->head);
	conn->kept_answer = NULL;
	memory_free(kept);
	return http_end(conn, result);
}

int
body_on_data(struct conn *conn, const void *data, size_t len)
{
	const size_t left = conn->body_left > 0 ? (size_t)conn->body_left : 0;
	const size_t taken = len < left ? len : left;
	int result = 0;

	conn->body_left -= (int64_t)taken;
	if (taken < len)
		conn->body_is_last = true;
	if (conn->request != NULL && taken > 0)
		result = publish_body(conn, data, taken);
	if (result != 0 || taken == len)
		return result;
	/* The library will not tell that the body is complete. */
	return conn->request != NULL ? publish_end(conn) : finish(conn);
}

int
body_on_end(struct conn *conn)
{
	if (conn->request != NULL)
		return publish_end(conn);
	return conn->body_awaited ? finish(conn) : 0; /* else: empty */
}
