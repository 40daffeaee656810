/*
 * The loader's turn: one epoll, the publisher's buffer, stalled consumers.
 *
 * The publisher is consumer 0 unless it has a path of its own: what a raw
 * consumer of earshot sends is published to its channel, and comes back to it
 * like to everybody else.  Deliveries are then counted on all N consumers.
 */

#include "tests/bench/loader.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 1024
#define SCRATCH_BYTES (256u * 1024)
#define STALLED_READ_BYTES 4
#define STALLED_PAUSE_US INT64_C(1000000)

/* Masks differ from message to message; a fixed one would be half a test. */
#define MASK_SEED 0x5bd1e995u

int
loader_fault(struct loader *loader, const char *fmt, ...)
{
	va_list args;

	if (loader->fault[0] == '\0') {
		va_start(args, fmt);
		(void)vsnprintf(
		    loader->fault, sizeof(loader->fault), fmt, args);
		va_end(args);
	}
	return -EBADMSG;
}

size_t
loader_index(const struct loader *loader, const struct consumer *c)
{
	assert(c >= loader->consumers);
	assert(c < loader->consumers + loader->count);
	return (size_t)(c - loader->consumers);
}

static void
init_consumers(struct loader *loader)
{
	const struct loader_args *args = &loader->args;

	for (size_t i = 0; i < loader->count; i++) {
		loader->consumers[i].fd = -1;
		loader->consumers[i].stalled =
		    i >= loader->live && i < args->consumers;
	}
}

int
loader_init(struct loader *loader, const struct loader_args *args, uint32_t tag)
{
	int r;

	assert(args->consumers > args->stalled);
	assert(args->opening_max > 0);
	*loader = (struct loader){ .args = *args, .epoll_fd = -1 };
	loader->count = args->consumers + (args->publish_path ? 1 : 0);
	loader->live = args->consumers - args->stalled;
	loader->latency_from = UINT64_MAX;
	r = source_init(&loader->source, tag, args->message_bytes);
	if (r < 0)
		return r;
	loader->consumers = calloc(loader->count, sizeof(struct consumer));
	loader->pending = calloc(SOURCE_LAG_MAX, sizeof(uint32_t));
	loader->scratch =
	    malloc(args->message_bytes > SCRATCH_BYTES ? args->message_bytes
						       : SCRATCH_BYTES);
	if (!loader->consumers || !loader->pending || !loader->scratch) {
		r = -ENOMEM;
		goto err_fini;
	}
	init_consumers(loader);
	loader->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loader->epoll_fd < 0) {
		r = -errno;
		goto err_fini;
	}
	loader->progress_us = sample_now_us();
	return 0;

err_fini:
	loader_fini(loader);
	return r;
}

void
loader_fini(struct loader *loader)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	for (size_t i = 0; loader->consumers && i < loader->begun; i++) {
		int fd = loader->consumers[i].fd;

		if (fd < 0)
			continue;
		/* At worst the connection is closed instead of reset. */
		(void)setsockopt(
		    fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		(void)close(fd);
	}
	if (loader->epoll_fd >= 0)
		(void)close(loader->epoll_fd); /* was only polled */
	source_fini(&loader->source);
	free(loader->consumers);
	free(loader->pending);
	free(loader->scratch);
	free(loader->out);
	loader->consumers = NULL;
	loader->epoll_fd = -1;
}

/* --- publishing --- */

static int
out_reserve(struct loader *loader, size_t len)
{
	size_t size = loader->out_len + len;
	uint8_t *out;

	if (size <= loader->out_size)
		return 0;
	size += size / 2;
	out = realloc(loader->out, size);
	if (!out)
		return loader_fault(loader, "no memory for %zu bytes", size);
	loader->out = out;
	loader->out_size = size;
	return 0;
}

/* Turns the len bytes after an unmasked header at out into a masked frame. */
static size_t
put_masked(
    uint8_t *out, enum frame_opcode opcode, const uint8_t *payload, size_t len)
{
	static uint32_t mask = MASK_SEED;
	size_t at = frame_put_header(out, true, 0, opcode, len);
	uint8_t key[4];

	mask = mask * 1664525u + 1013904223u;
	memcpy(key, &mask, sizeof(key));
	out[1] |= 0x80;
	memcpy(out + at, key, sizeof(key));
	at += sizeof(key);
	for (size_t i = 0; i < len; i++)
		out[at + i] = payload[i] ^ key[i & 3];
	return at + len;
}

static struct consumer *
publisher(struct loader *loader)
{
	return &loader->consumers[loader->args.publish_path ? loader->count - 1
							    : 0];
}

int
loader_publish(struct loader *loader, size_t count, int64_t sent_us)
{
	size_t frame_max = FRAME_HEADER_MAX + loader->args.message_bytes;
	int r = out_reserve(loader, count * frame_max);

	if (r < 0)
		return r;
	if (loader->completed == loader->source.next)
		loader->progress_us = sample_now_us();
	for (size_t i = 0; i < count; i++) {
		uint64_t sequence = loader->source.next;

		if (sequence - loader->completed >= SOURCE_LAG_MAX)
			return loader_fault(loader,
			    "consumers lag by %u messages", SOURCE_LAG_MAX);
		loader->pending[sequence % SOURCE_LAG_MAX] =
		    (uint32_t)loader->live;
		source_make(&loader->source, sent_us, (char *)loader->scratch);
		loader->out_len += put_masked(loader->out + loader->out_len,
		    FRAME_TEXT, loader->scratch, loader->args.message_bytes);
	}
	return loader_flush(loader);
}

/* Sends what the publisher's socket takes. */
int
loader_flush(struct loader *loader)
{
	ssize_t n;

	if (loader->out_len == 0)
		return 0;
	n = send(publisher(loader)->fd, loader->out, loader->out_len,
	    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0
				       : loader_fault(loader, "publisher: %m");
	loader->out_len -= (size_t)n;
	if (loader->out_len > 0)
		memmove(loader->out, loader->out + n, loader->out_len);
	return 0;
}

/* Answers the ping whose payload the consumer has just got. */
int
loader_pong(struct loader *loader, struct consumer *c)
{
	uint8_t pong[FRAME_HEADER_MAX + sizeof(c->control)];
	size_t len = put_masked(pong, FRAME_PONG, c->control, c->control_len);
	int r;

	if (c == publisher(loader)) {
		/* Behind what is being sent, never inside a frame. */
		r = out_reserve(loader, len);
		if (r < 0)
			return r;
		memcpy(loader->out + loader->out_len, pong, len);
		loader->out_len += len;
		return 0;
	}
	if (send(c->fd, pong, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
		return loader_fault(
		    loader, "consumer %zu: pong: %m", loader_index(loader, c));
	return 0;
}

/* --- polling --- */

static int
read_stalled(struct loader *loader)
{
	int64_t now_us = sample_now_us();
	int r = 0;

	if (loader->args.stalled == 0 || now_us < loader->stalled_next_us)
		return 0;
	loader->stalled_next_us = now_us + STALLED_PAUSE_US;
	for (size_t i = loader->live; r == 0 && i < loader->args.consumers;
	     i++) {
		struct consumer *c = &loader->consumers[i];

		/* Too far behind to be checked: it reads nothing more. */
		if (c->state == CONSUMER_STALLED &&
		    loader->source.next - c->next <= SOURCE_LAG_MAX)
			r = loader_read(loader, c, STALLED_READ_BYTES);
	}
	return r;
}

static int
handle(struct loader *loader, struct consumer *c)
{
	switch (c->state) {
	case CONSUMER_CONNECTING:
	case CONSUMER_ASKED:
		return loader_opening(loader, c);
	case CONSUMER_LIVE:
	case CONSUMER_PUBLISHER:
		return loader_read(loader, c, SCRATCH_BYTES);
	case CONSUMER_STALLED:
	case CONSUMER_CLOSED:
		break;
	}
	return 0;
}

int
loader_poll(struct loader *loader, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	bool waiting = loader->opened < loader->count ||
		       loader->completed < loader->source.next;
	int n, r;

	r = loader_flush(loader);
	if (r == 0 && loader->opened == loader->count)
		r = read_stalled(loader);
	if (r < 0)
		return r;
	n = epoll_wait(loader->epoll_fd, events, EVENTS_MAX,
	    loader->out_len > 0 ? 0 : timeout_ms);
	if (n < 0 && errno != EINTR)
		return loader_fault(loader, "epoll_wait: %m");
	for (int i = 0; i < n; i++) {
		r = handle(loader, events[i].data.ptr);
		if (r < 0)
			return r;
	}
	if (n > 0)
		loader->progress_us = sample_now_us();
	else if (waiting &&
		 sample_now_us() - loader->progress_us > LOADER_PATIENCE_US)
		return loader_fault(loader,
		    "nothing came for 10 s: %zu of %zu open, %llu messages "
		    "sent, %llu with everybody",
		    loader->opened, loader->count,
		    (unsigned long long)loader->source.next,
		    (unsigned long long)loader->completed);
	return 0;
}

int
loader_settle(struct loader *loader)
{
	int r = 0;

	while (r == 0 && loader->completed < loader->source.next)
		r = loader_poll(loader, 0);
	/* One more look: what comes twice comes after the last. */
	if (r == 0)
		r = loader_poll(loader, 0);
	return r;
}
