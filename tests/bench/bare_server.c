/*
 * bare_server: what fan-out costs when nothing but fan-out is done.
 *
 * The reference the daemon is measured against, in the same run: one thread,
 * one epoll, send().  What a connection sends is published to all connections,
 * the sender too.  A message is framed once into a ring; a consumer is a cursor
 * in it; after each batch of events everyone gets what is new with one send().
 * There is no channel, no history, no limit, no check of the text, no timer:
 * that is the point of it.
 *
 *   bare_server PORT
 *
 * - A socket that is full is watched for EPOLLOUT and left alone until then.
 * - A consumer overtaken by the ring is cut off.
 * - Whatever is not as expected ends the connection, without a word.
 */

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base64.h"
#include "proto/frame.h"

#define RING_BYTES (UINT64_C(16) << 20)
#define MESSAGE_BYTES_MAX (1u << 20)
#define SPAN_BYTES_MAX (1u << 20) /* one send() */
#define READ_BYTES (256u * 1024) /* the largest burst of the bench, whole */
#define EVENTS_MAX 512
#define ACCEPTS_MAX 64
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct peer {
	int fd;
	uint32_t index; /* in server.consumers, UINT32_MAX before the upgrade */
	bool waiting; /* for EPOLLOUT */
	bool ended;
	struct peer *next_ended;
	uint64_t cursor;
	uint8_t *rest; /* bytes of a frame that is not whole, or NULL */
	size_t rest_len;
};

static struct server {
	int listen_fd, epoll_fd;
	uint8_t *ring; /* mapped twice in a row: every range is contiguous */
	uint64_t head;
	bool dirty;
	struct peer **consumers;
	uint32_t count, size;
	struct peer *ended; /* freed when the events are done */
	uint8_t in[READ_BYTES];
} server;

/* --- the ring --- */

static int
ring_open(void)
{
	int fd = memfd_create("ring", MFD_CLOEXEC);
	uint8_t *at;

	if (fd < 0 || ftruncate(fd, (off_t)RING_BYTES) < 0)
		return -errno;
	at = mmap(NULL, 2 * RING_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
	    -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	for (int i = 0; i < 2; i++) {
		uint8_t *half = mmap(at + (uint64_t)i * RING_BYTES, RING_BYTES,
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);

		if (half == MAP_FAILED)
			return -errno;
	}
	(void)close(fd); /* the mappings keep it */
	server.ring = at;
	return 0;
}

static void
unmask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t key[4])
{
	uint64_t wide, word;
	size_t i = 0;

	memcpy(&wide, key, 4);
	memcpy((uint8_t *)&wide + 4, key, 4);
	for (; i + 8 <= len; i += 8) {
		memcpy(&word, in + i, 8);
		word ^= wide;
		memcpy(out + i, &word, 8);
	}
	for (; i < len; i++)
		out[i] = in[i] ^ key[i & 3];
}

static void
publish(const struct frame_header *frame, const uint8_t *payload)
{
	uint8_t *out = server.ring + server.head % RING_BYTES;
	size_t len = (size_t)frame->payload_bytes;
	size_t at = frame_put_header(out, true, 0, frame->opcode, len);

	unmask(out + at, payload, len, frame->mask);
	server.head += at + len;
	server.dirty = true;
}

/* --- consumers --- */

static void
peer_watch(struct peer *peer, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = peer };

	/* Fails for want of memory only: the peer is then not served. */
	(void)epoll_ctl(server.epoll_fd, operation, peer->fd, &event);
}

/* The last one takes its place: no hole, no order to keep. */
static void
peer_leave(struct peer *peer)
{
	struct peer *last;

	if (peer->index == UINT32_MAX)
		return;
	assert(server.count > 0 && server.consumers[peer->index] == peer);
	last = server.consumers[--server.count];
	server.consumers[peer->index] = last;
	last->index = peer->index;
	peer->index = UINT32_MAX;
}

/* Its struct lives on until this batch of events is done. */
static void
peer_end(struct peer *peer)
{
	if (peer->ended)
		return;
	peer->ended = true;
	peer_leave(peer);
	(void)close(peer->fd); /* nothing is owed to it */
	peer->next_ended = server.ended;
	server.ended = peer;
}

static void
free_ended(void)
{
	while (server.ended) {
		struct peer *peer = server.ended;

		server.ended = peer->next_ended;
		free(peer->rest);
		free(peer);
	}
}

static bool
peer_join(struct peer *peer)
{
	if (server.count == server.size) {
		uint32_t size = server.size ? 2 * server.size : 256;
		struct peer **consumers =
		    realloc(server.consumers, size * sizeof(*server.consumers));

		if (!consumers)
			return false;
		server.consumers = consumers;
		server.size = size;
	}
	peer->index = server.count;
	peer->cursor = server.head;
	server.consumers[server.count++] = peer;
	return true;
}

static void
peer_serve(struct peer *peer)
{
	while (peer->cursor < server.head) {
		uint64_t behind = server.head - peer->cursor;
		size_t len =
		    behind < SPAN_BYTES_MAX ? (size_t)behind : SPAN_BYTES_MAX;
		ssize_t sent;

		if (behind > RING_BYTES) {
			peer_end(peer);
			return;
		}
		sent = send(peer->fd, server.ring + peer->cursor % RING_BYTES,
		    len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN) {
			peer_end(peer);
			return;
		}
		if (sent > 0)
			peer->cursor += (uint64_t)sent;
		if (sent != (ssize_t)len) {
			if (!peer->waiting)
				peer_watch(
				    peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
			peer->waiting = true;
			return;
		}
	}
	if (peer->waiting)
		peer_watch(peer, EPOLL_CTL_MOD, EPOLLIN);
	peer->waiting = false;
}

static void
fan_out(void)
{
	uint32_t i = 0;

	server.dirty = false;
	while (i < server.count) {
		struct peer *peer = server.consumers[i];

		if (i + 4 < server.count)
			__builtin_prefetch(server.consumers[i + 4]);
		if (!peer->waiting)
			peer_serve(peer);
		/* Who leaves is replaced by the last one: not on then. */
		if (!peer->ended)
			i++;
	}
}

/* --- what a connection sends --- */

static bool
answer_upgrade(struct peer *peer, const char *key, size_t key_len)
{
	char text[128], accept[32] = { 0 }, answer[256];
	uint8_t digest[SHA_DIGEST_LENGTH];
	int len;

	if (key_len + sizeof(GUID) > sizeof(text))
		return false;
	memcpy(text, key, key_len);
	memcpy(text + key_len, GUID, sizeof(GUID) - 1);
	SHA1((uint8_t *)text, key_len + sizeof(GUID) - 1, digest);
	(void)base64_put(accept, digest, sizeof(digest));
	len = snprintf(answer, sizeof(answer),
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	    accept);
	return send(peer->fd, answer, (size_t)len, MSG_NOSIGNAL) == len &&
	       peer_join(peer);
}

/* Bytes taken, 0 when the request is not whole, -EPROTO. */
static ssize_t
take_request(struct peer *peer, const uint8_t *data, size_t len)
{
	static const char name[] = "Sec-WebSocket-Key: ";
	const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);
	const uint8_t *key, *stop;

	if (!end)
		return 0;
	key = memmem(data, (size_t)(end - data), name, sizeof(name) - 1);
	if (!key)
		return -EPROTO;
	key += sizeof(name) - 1;
	stop = memchr(key, '\r', (size_t)(end - key) + 1);
	if (!stop ||
	    !answer_upgrade(peer, (const char *)key, (size_t)(stop - key)))
		return -EPROTO;
	return end + 4 - data;
}

/* Bytes taken, 0 when the frame is not whole, -EPROTO. */
static ssize_t
take_frame(const uint8_t *data, size_t len)
{
	struct frame_header frame;
	int header = frame_get_header(data, len, &frame);

	if (header == -EAGAIN)
		return 0;
	if (header < 0 || !frame.masked || !frame.fin ||
	    frame.payload_bytes > MESSAGE_BYTES_MAX)
		return -EPROTO;
	if (len - (size_t)header < frame.payload_bytes)
		return 0;
	if (frame.opcode != FRAME_TEXT && frame.opcode != FRAME_BINARY)
		return -EPROTO; /* a close; nobody pings in a bench */
	publish(&frame, data + header);
	return header + (ssize_t)frame.payload_bytes;
}

/* Keeps what is not whole; frames that are whole were taken from in[]. */
static bool
keep_rest(struct peer *peer, const uint8_t *data, size_t len)
{
	uint8_t *rest = NULL;

	if (len > 0) {
		rest = malloc(len);
		if (!rest)
			return false;
		memcpy(rest, data, len);
	}
	free(peer->rest);
	peer->rest = rest;
	peer->rest_len = len;
	return true;
}

static bool
peer_take(struct peer *peer, const uint8_t *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = peer->index == UINT32_MAX
				? take_request(peer, data + at, len - at)
				: take_frame(data + at, len - at);

		if (n < 0)
			return false;
		if (n == 0)
			break;
		at += (size_t)n;
	}
	return keep_rest(peer, data + at, len - at);
}

static void
peer_read(struct peer *peer)
{
	ssize_t n = recv(peer->fd, server.in, sizeof(server.in), 0);
	uint8_t *whole;
	size_t len;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		peer_end(peer);
		return;
	}
	if (peer->rest_len == 0) {
		if (!peer_take(peer, server.in, (size_t)n))
			peer_end(peer);
		return;
	}
	len = peer->rest_len + (size_t)n;
	whole = len <= 2 * MESSAGE_BYTES_MAX ? malloc(len) : NULL;
	if (!whole) {
		peer_end(peer);
		return;
	}
	memcpy(whole, peer->rest, peer->rest_len);
	memcpy(whole + peer->rest_len, server.in, (size_t)n);
	if (!peer_take(peer, whole, len))
		peer_end(peer);
	free(whole);
}

/* --- the loop --- */

static void
accept_some(void)
{
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		int one = 1;
		int fd = accept4(server.listen_fd, (struct sockaddr *)&from,
		    &from_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct peer *peer;

		if (fd < 0)
			return;
		peer = calloc(1, sizeof(*peer));
		if (!peer) {
			(void)close(fd); /* nothing was promised */
			return;
		}
		*peer = (struct peer){ .fd = fd, .index = UINT32_MAX };
		/* Without it a burst waits for an acknowledgement. */
		(void)setsockopt(
		    fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		peer_watch(peer, EPOLL_CTL_ADD, EPOLLIN);
	}
}

static void
on_event(const struct epoll_event *event)
{
	struct peer *peer = event->data.ptr;

	if (!peer) {
		accept_some();
		return;
	}
	if (peer->ended)
		return;
	if (event->events & EPOLLOUT)
		peer_serve(peer);
	if (!peer->ended && event->events & ~(uint32_t)EPOLLOUT)
		peer_read(peer);
}

static int
serve_for_ever(void)
{
	struct epoll_event events[EVENTS_MAX];

	for (;;) {
		int n = epoll_wait(server.epoll_fd, events, EVENTS_MAX, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++)
			on_event(&events[i]);
		free_ended();
		if (server.dirty)
			fan_out();
		free_ended();
	}
}

static int
server_open(uint16_t port)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1;

	server.listen_fd =
	    socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	server.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server.listen_fd < 0 || server.epoll_fd < 0 ||
	    setsockopt(server.listen_fd, SOL_SOCKET, SO_REUSEADDR, &one,
		sizeof(one)) < 0 ||
	    bind(server.listen_fd, (struct sockaddr *)&address,
		sizeof(address)) < 0 ||
	    listen(server.listen_fd, SOMAXCONN) < 0 ||
	    epoll_ctl(
		server.epoll_fd, EPOLL_CTL_ADD, server.listen_fd, &event) < 0)
		return -errno;
	return ring_open();
}

static void
raise_descriptors(void)
{
	struct rlimit limit;

	/* Without it the server holds fewer, and the bench will say so. */
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int
main(int argc, char **argv)
{
	int r, port = argc == 2 ? atoi(argv[1]) : 0;

	if (port < 1 || port > UINT16_MAX) {
		(void)fputs("usage: bare_server PORT\n", stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail for SIGPIPE */
	raise_descriptors();
	r = server_open((uint16_t)port);
	if (r == 0)
		r = serve_for_ever();
	(void)fprintf(stderr, "bare_server: %s\n", strerror(-r));
	return 1;
}
