/*
 * Reading and checking what consumers get.
 *
 * Frames are followed as a stream: a header may be split, a message may come in
 * fragments, a control frame may stand between them.  Payload is compared with
 * what was published as it comes and is never kept.
 */

#include "tests/bench/loader.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A close frame's code and reason, for the words of a fault. */
static int
closed_by_server(struct loader *loader, struct consumer *c)
{
	unsigned code = 0;

	if (c->state == CONSUMER_STALLED) {
		loader->stalled_closed++;
		c->state = CONSUMER_CLOSED;
		return 0;
	}
	if (c->control_len >= 2)
		code = (unsigned)c->control[0] << 8 | c->control[1];
	return loader_fault(loader,
	    "consumer %zu: closed %u by the server at message %llu: %.*s",
	    loader_index(loader, c), code, (unsigned long long)c->next,
	    c->control_len > 2 ? c->control_len - 2 : 0,
	    (const char *)c->control + 2);
}

static int
message_done(struct loader *loader, struct consumer *c, int64_t now_us)
{
	uint64_t sequence = c->next++;
	uint32_t *pending;

	if (c->at != loader->source.message_bytes)
		return loader_fault(loader,
		    "consumer %zu: message %llu is %zu bytes",
		    loader_index(loader, c), (unsigned long long)sequence,
		    c->at);
	if (c->state != CONSUMER_LIVE)
		return 0;

	loader->deliveries++;
	if (sequence >= loader->latency_from)
		sample_add(&loader->latency,
		    now_us - source_sent_us(&loader->source, sequence));
	pending = &loader->pending[sequence % SOURCE_LAG_MAX];
	assert(*pending > 0);
	if (--*pending > 0)
		return 0;
	/* All of them are in order, so the messages complete in order. */
	assert(sequence == loader->completed);
	loader->completed++;
	return 0;
}

static int
control_done(struct loader *loader, struct consumer *c)
{
	if (c->frame.opcode == FRAME_CLOSE)
		return closed_by_server(loader, c);
	return c->frame.opcode == FRAME_PING ? loader_pong(loader, c) : 0;
}

static int
frame_done(struct loader *loader, struct consumer *c, int64_t now_us)
{
	c->in_frame = false;
	if (c->frame.opcode >= FRAME_CLOSE)
		return control_done(loader, c);
	c->in_message = !c->frame.fin;
	return c->frame.fin ? message_done(loader, c, now_us) : 0;
}

static int
frame_begun(struct loader *loader, struct consumer *c)
{
	const struct frame_header *frame = &c->frame;

	c->in_frame = true;
	c->frame_left = frame->payload_bytes;
	c->head_len = 0;
	if (frame->masked || frame->rsv != 0)
		return loader_fault(loader, "consumer %zu: mask or rsv set",
		    loader_index(loader, c));
	if (frame->opcode >= FRAME_CLOSE) {
		c->control_len = 0;
		return 0;
	}
	if ((frame->opcode == FRAME_CONTINUATION) != c->in_message ||
	    frame->opcode == FRAME_BINARY || c->state == CONSUMER_PUBLISHER)
		return loader_fault(loader, "consumer %zu: opcode %d",
		    loader_index(loader, c), (int)frame->opcode);
	if (!c->in_message)
		c->at = 0;
	return 0;
}

/* The bytes taken, or a fault. */
static ssize_t
take_header(
    struct loader *loader, struct consumer *c, const uint8_t *data, size_t len)
{
	size_t had = c->head_len;
	size_t n = FRAME_HEADER_MAX - had;
	int r;

	if (had == 0) {
		r = frame_get_header(data, len, &c->frame);
	} else {
		if (n > len)
			n = len;
		memcpy(c->head + had, data, n);
		r = frame_get_header(c->head, had + n, &c->frame);
	}
	if (r == -EAGAIN) {
		if (had == 0)
			memcpy(c->head, data, len);
		c->head_len = (uint8_t)(had + len);
		return (ssize_t)len;
	}
	if (r < 0)
		return loader_fault(loader,
		    "consumer %zu: no frame header at message %llu",
		    loader_index(loader, c), (unsigned long long)c->next);
	assert((size_t)r > had);
	r -= (int)had;
	n = (size_t)r;
	r = frame_begun(loader, c);
	return r < 0 ? r : (ssize_t)n;
}

/* The bytes taken, or a fault. */
static ssize_t
take_payload(
    struct loader *loader, struct consumer *c, const uint8_t *data, size_t len)
{
	size_t n = len < c->frame_left ? len : (size_t)c->frame_left;

	if (c->frame.opcode >= FRAME_CLOSE) {
		assert(c->control_len + n <= sizeof(c->control));
		memcpy(c->control + c->control_len, data, n);
		c->control_len = (uint8_t)(c->control_len + n);
	} else {
		if (!source_check(&loader->source, c->next, c->at, data, n))
			return loader_fault(loader,
			    "consumer %zu: at byte %zu of message %llu came "
			    "\"%.*s\"",
			    loader_index(loader, c), c->at,
			    (unsigned long long)c->next, n > 60 ? 60 : (int)n,
			    (const char *)data);
		c->at += n;
	}
	c->frame_left -= n;
	return (ssize_t)n;
}

static int
take(struct loader *loader, struct consumer *c, const uint8_t *data, size_t len)
{
	int64_t now_us = sample_now_us();

	while (len > 0 && c->state != CONSUMER_CLOSED) {
		ssize_t n = c->in_frame ? take_payload(loader, c, data, len)
					: take_header(loader, c, data, len);

		if (n < 0)
			return (int)n;
		assert((size_t)n <= len);
		data += n;
		len -= (size_t)n;
		if (c->in_frame && c->frame_left == 0) {
			int r = frame_done(loader, c, now_us);

			if (r < 0)
				return r;
		}
	}
	loader->progress_us = now_us;
	return 0;
}

/* Reads once, at most max bytes, and checks them. */
int
loader_read(struct loader *loader, struct consumer *c, size_t max)
{
	ssize_t n = recv(c->fd, loader->scratch, max, 0);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0 && c->state != CONSUMER_STALLED)
		return loader_fault(
		    loader, "consumer %zu: %m", loader_index(loader, c));
	if (n <= 0) {
		c->control_len = 0;
		return closed_by_server(loader, c);
	}
	if (c->state == CONSUMER_STALLED)
		loader->stalled_bytes += (uint64_t)n;
	return take(loader, c, loader->scratch, (size_t)n);
}
