/*
 * Answers of any length, a bounded piece an iteration.
 *
 * The happy path: slices_begin() writes the head and the first slice -> a
 * slice each time the socket takes more -> the last chunk.  What an answer is
 * made of is its put()'s, called as often as fits into a slice; so looking at
 * ten thousand channels, or at a long history, costs the consumers nothing.
 *
 * What can go wrong: an answer that has to end early, for memory or because
 * retention was faster, is not whole, as the missing last chunk says.
 */

#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SLICE_BYTES (32 * 1024)
#define CHUNK_HEAD_BYTES 10 /* "%08x\r\n" */
#define HEADERS_BYTES 512

void
slices_abandon(struct conn *conn)
{
	struct slices *slices = conn->slices;

	conn->slices = NULL;
	if (slices != NULL)
		slices->free(slices);
}

static bool
is_http_1_1(struct conn *conn)
{
	char version[16];

	return http_header(conn, WSI_TOKEN_HTTP, version, sizeof(version)) >=
		   8 &&
	       strcmp(version, "HTTP/1.0") != 0;
}

/* Room for a chunk's head, as long as its length can be. */
static int
chunk_begin(const struct slices *slices, struct buffer *out)
{
	buffer_init(out);
	return slices->chunked ? buffer_append(out, "00000000\r\n",
				     CHUNK_HEAD_BYTES, SIZE_MAX / 2)
			       : 0;
}

static int
chunk_end(const struct slices *slices, bool last, struct buffer *out)
{
	char head[CHUNK_HEAD_BYTES + 1];
	int error = 0;
	size_t len;

	if (!slices->chunked)
		return 0;
	len = out->len - CHUNK_HEAD_BYTES;
	if (len == 0) { /* an empty chunk would end the answer */
		buffer_clear(out);
	} else {
		assert(len <= UINT32_MAX);
		(void)snprintf(head, sizeof(head), "%08x\r\n", (unsigned)len);
		memcpy(out->data, head, CHUNK_HEAD_BYTES);
		error = buffer_append(out, "\r\n", 2, SIZE_MAX / 2);
	}
	if (error == 0 && last)
		error = buffer_append(out, "0\r\n\r\n", 5, SIZE_MAX / 2);
	return error;
}

/* As slices.put, many times. */
static int
write_slice(struct conn *conn, struct slices *slices) LOOP_THREAD
{
	struct buffer out;
	int error = chunk_begin(slices, &out), more = 1;

	conn->net->counts.slices++;
	while (error == 0 && more > 0 && out.len < SLICE_BYTES) {
		more = slices->put(conn, slices, &out);
		if (more < 0)
			error = more;
	}
	if (error == 0)
		error = chunk_end(slices, more == 0, &out);
	if (error == 0 && out.len > 0 &&
	    lws_write(conn->wsi, out.data, out.len, LWS_WRITE_HTTP) < 0)
		error = -EPIPE;
	buffer_fini(&out);
	return error < 0 ? error : more;
}

static int
finish(struct conn *conn) LOOP_THREAD
{
	const bool kept = conn->slices->chunked;

	slices_abandon(conn);
	conn_set_state(conn, CONN_IDLE);
	conn_set_deadline(conn, conn->net->conf->limits.keepalive_timeout);
	return http_end(conn, kept ? 1 : -1);
}

int
slices_on_writable(struct conn *conn)
{
	const int more = write_slice(conn, conn->slices);

	if (more < 0)
		return -1; /* hang up: it must not look whole */
	if (more == 0)
		return finish(conn);
	conn_set_deadline(conn, conn->net->conf->limits.request_timeout);
	(void)lws_callback_on_writable(conn->wsi); /* and again */
	return 0;
}

int
slices_begin(struct conn *conn, struct slices *slices, const char *type,
    const char *headers)
{
	char all[HEADERS_BYTES];
	int len;

	assert(conn->slices == NULL);
	conn->slices = slices;
	slices->chunked = is_http_1_1(conn);
	len = snprintf(all, sizeof(all), "%s%s%s", headers,
	    slices->chunked ? "Transfer-Encoding: chunked\r\n" : "",
	    !slices->chunked || conn->net->closing || body_is_last(conn)
		? "Connection: close\r\n"
		: "");
	assert(len >= 0);
	assert((size_t)len < sizeof(all));
	if (http_stream_headers(conn, type, all) < 0)
		return -1;
	return http_is_head(conn) ? finish(conn) : slices_on_writable(conn);
}
