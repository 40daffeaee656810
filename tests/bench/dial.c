/*
 * Connecting, asking and reading the answer's head, for loaders that do the
 * rest by themselves.  Source addresses take turns: a pair of addresses has
 * 28 000 ports, which ten thousand connections a second use up in no time.
 */

#include "tests/bench/dial.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NARROW_BYTES (8 * 1024) /* the kernel doubles it */
#define NARROW_SEGMENT_BYTES 1448

/* Masks differ from frame to frame; a fixed one would be half a test. */
#define MASK_SEED 0x5bd1e995u

static int
set_options(struct dial *dial, int fd, bool narrow)
{
	int one = 1, small = NARROW_BYTES, segment = NARROW_SEGMENT_BYTES;
	struct sockaddr_in from = {
		.sin_family = AF_INET,
		.sin_addr.s_addr =
		    htonl(INADDR_LOOPBACK + 1 + dial->turn++ % DIAL_SOURCES),
	};

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
		sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		return -errno;
	if (narrow &&
	    (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) < 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment,
		    sizeof(segment)) < 0))
		return -errno;
	return 0;
}

int
dial_connect(struct dial *dial, bool narrow)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(dial->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	r = set_options(dial, fd, narrow);
	if (r == 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 &&
	    errno != EINPROGRESS)
		r = -errno;
	if (r < 0) {
		(void)close(fd); /* nothing was sent */
		return r;
	}
	return fd;
}

int
dial_send(int fd, const void *data, size_t len)
{
	ssize_t sent = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0)
		return errno == ENOTCONN ? -EAGAIN : -errno;
	/* What is said first is short: half of it means something is wrong. */
	return (size_t)sent == len ? 0 : -EMSGSIZE;
}

ssize_t
dial_answer(int fd, char answer[DIAL_ANSWER_MAX + 1])
{
	ssize_t n = recv(fd, answer, DIAL_ANSWER_MAX, MSG_PEEK);
	size_t len;
	char *end;

	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	end = memmem(answer, (size_t)n, "\r\n\r\n", 4);
	if (!end)
		return n == DIAL_ANSWER_MAX ? -EPROTO : -EAGAIN;
	len = (size_t)(end - answer) + 4;
	if (recv(fd, answer, len, 0) != (ssize_t)len)
		return -EPROTO;
	answer[len] = '\0';
	return (ssize_t)len;
}

int
dial_put_upgrade(
    char *out, size_t size, const char *path, uint16_t port, const char *more)
{
	int len = snprintf(out, size,
	    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
	    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: " DIAL_KEY
	    "\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
	    path, port, more);

	assert(len > 0);
	return (size_t)len < size ? len : -EMSGSIZE;
}

bool
dial_is_upgraded(const char *answer)
{
	const char *accept = strcasestr(answer, "\r\nSec-WebSocket-Accept:");

	return strncmp(answer, "HTTP/1.1 101", 12) == 0 && accept &&
	       strstr(accept, DIAL_ACCEPT);
}

size_t
dial_put_frame(
    uint8_t *out, enum frame_opcode opcode, const void *payload, size_t len)
{
	static uint32_t mask = MASK_SEED;
	size_t at = frame_put_header(out, true, 0, opcode, len);
	const uint8_t *from = payload;
	uint8_t key[4];

	mask = mask * 1664525u + 1013904223u;
	memcpy(key, &mask, sizeof(key));
	out[1] |= 0x80;
	memcpy(out + at, key, sizeof(key));
	at += sizeof(key);
	for (size_t i = 0; i < len; i++)
		out[at + i] = from[i] ^ key[i & 3];
	return at + len;
}

void
dial_reset(int fd)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	/* At worst the connection is closed instead of reset. */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)close(fd);
}
