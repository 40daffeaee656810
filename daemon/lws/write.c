/*
 * Spans of whole frames to a socket, so that at most the rest of one frame is
 * ever copied.
 *
 * Plain TCP goes to the kernel directly: libwebsockets would copy all it could
 * not send, up to a whole span per slow consumer; this way it is given the
 * rest of the frame that was cut, and nothing when the cut is between two.
 * TLS goes through the library in pieces of about one TLS record: a piece that
 * is refused is kept whole, because OpenSSL wants the same bytes again.
 */

#include "daemon/lws/lws.h"
#include "daemon/lws/lws_internal.h"
#include "proto/frame.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <sys/socket.h>

#define TLS_PIECE_BYTES (FRAME_FRAGMENT_BYTES + FRAME_HEADER_MAX)

/* lws_write() does not change the bytes; its prototype is older than that. */
static int
write_raw(struct lws *wsi, const uint8_t *data, size_t len)
{
	return lws_write(
	    wsi, (unsigned char *)(uintptr_t)data, len, LWS_WRITE_RAW);
}

/* Bytes up to the end of the frame in which `sent` lies; sent if between. */
static size_t
frame_end(const uint8_t *data, size_t len, size_t sent)
{
	const size_t whole = frame_whole_bytes(data, len, sent);

	assert(whole <= sent);
	if (whole == sent)
		return sent;
	return whole + frame_first_bytes(data + whole, len - whole);
}

static int64_t
write_plain(struct lws *wsi, const uint8_t *data, size_t len, bool *ret_blocked)
{
	const ssize_t n = send(
	    lws_get_socket_fd(wsi), data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	size_t sent = n < 0 ? 0 : (size_t)n, end;

	*ret_blocked = false;
	if (sent == len)
		return (int64_t)len;
	if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		return -errno;
	end = frame_end(data, len, sent);
	assert(end >= sent);
	assert(end <= len);
	if (end > sent) {
		glue_count_short(wsi, end - sent);
		if (write_raw(wsi, data + sent, end - sent) < 0)
			return -EPIPE;
	}
	*ret_blocked = true;
	(void)lws_callback_on_writable(wsi); /* fails only for a dead one */
	return (int64_t)end;
}

static int64_t
write_tls(struct lws *wsi, const uint8_t *data, size_t len, bool *ret_blocked)
{
	size_t done = 0;

	*ret_blocked = false;
	while (done < len) {
		size_t piece =
		    frame_whole_bytes(data + done, len - done, TLS_PIECE_BYTES);

		assert(piece > 0);
		if (write_raw(wsi, data + done, piece) < 0)
			return -EPIPE;
		done += piece;
		if (lws_partial_buffered(wsi)) {
			glue_count_short(wsi, piece);
			*ret_blocked = true;
			break;
		}
	}
	return (int64_t)done;
}

int64_t
glue_write(struct lws *wsi, const uint8_t *data, size_t len, bool *ret_blocked)
{
	assert(len > 0);
	if (lws_partial_buffered(wsi)) { /* then it asked for POLLOUT itself */
		*ret_blocked = true;
		return 0;
	}
	if (lws_is_ssl(wsi))
		return write_tls(wsi, data, len, ret_blocked);
	return write_plain(wsi, data, len, ret_blocked);
}

void
glue_kill(struct lws *wsi)
{
	lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

static int64_t
stream_plain(struct lws *wsi, const uint8_t *data, size_t len,
    bool *ret_blocked) LOOP_THREAD
{
	const ssize_t n = send(
	    lws_get_socket_fd(wsi), data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		return -errno;
	*ret_blocked = n < (ssize_t)len;
	if (*ret_blocked)
		(void)lws_callback_on_writable(wsi); /* fails for a dead one */
	return n < 0 ? 0 : n;
}

int64_t
glue_write_stream(
    struct lws *wsi, const uint8_t *data, size_t len, bool *ret_blocked)
{
	size_t done = 0, piece;

	assert(len > 0);
	*ret_blocked = lws_partial_buffered(wsi) != 0;
	if (!*ret_blocked && !lws_is_ssl(wsi))
		return stream_plain(wsi, data, len, ret_blocked);
	for (; done < len && !*ret_blocked; done += piece) {
		piece = len - done;
		if (piece > TLS_PIECE_BYTES)
			piece = TLS_PIECE_BYTES;
		if (write_raw(wsi, data + done, piece) < 0)
			return -EPIPE;
		*ret_blocked = lws_partial_buffered(wsi) != 0;
	}
	return (int64_t)done;
}
