/*
 * Opening consumers: connect, upgrade, check the answer.
 *
 * - All ports of one source address used: the next of 127.0.0.2 ... is taken.
 * - The answer is looked at with MSG_PEEK until it is whole and then read to
 *   its last byte, so frames that follow it stay in the socket.
 * - Stalled consumers ask for the smallest receive buffer and a segment size of
 *   a distant peer: on loopback the server's send buffer would else be 2.5 MB
 *   and nothing would ever stall.
 */

#include "tests/bench/loader.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOURCE_ADDRESS_MAX 15u
#define STALLED_SEGMENT_BYTES 536
#define ANSWER_BYTES_MAX 2048

/* The example of RFC 6455 section 1.3; the loader tests no randomness. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static int
set_options(struct loader *loader, const struct consumer *c)
{
	int one = 1, small = 1, segment = STALLED_SEGMENT_BYTES;
	struct sockaddr_in from = { .sin_family = AF_INET };

	if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -errno;
	if (c->stalled && (setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small,
			       sizeof(small)) < 0 ||
			      setsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG,
				  &segment, sizeof(segment)) < 0))
		return -errno;
	if (loader->source_address == 0)
		return 0;
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + loader->source_address);
	if (setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
		sizeof(one)) < 0 ||
	    bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		return -errno;
	return 0;
}

/* 0 also while the connection is on its way. */
static int
connect_once(struct loader *loader, struct consumer *c)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(loader->args.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int r;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	r = set_options(loader, c);
	if (r == 0 && connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 &&
	    errno != EINPROGRESS)
		r = -errno;
	if (r < 0) {
		(void)close(c->fd); /* nothing was sent */
		c->fd = -1;
	}
	return r;
}

static const char *
path_of(const struct loader *loader, const struct consumer *c)
{
	bool apart = loader_index(loader, c) >= loader->args.consumers;

	return apart ? loader->args.publish_path : loader->args.path;
}

/* -EAGAIN: the connection is not there yet. */
static int
send_request(struct loader *loader, struct consumer *c)
{
	char request[512];
	ssize_t sent;
	int len;

	len = snprintf(request, sizeof(request),
	    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
	    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
	    path_of(loader, c), loader->args.port);
	assert(len > 0);
	if ((size_t)len >= sizeof(request))
		return loader_fault(loader, "path too long");
	sent = send(c->fd, request, (size_t)len, MSG_NOSIGNAL);
	if (sent < 0)
		return errno == ENOTCONN ? -EAGAIN : -errno;
	if (sent != len)
		return loader_fault(loader, "half a request was sent");
	c->state = CONSUMER_ASKED;
	return 0;
}

static int
watch(struct loader *loader, struct consumer *c, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (epoll_ctl(loader->epoll_fd, operation, c->fd, &event) < 0)
		return loader_fault(loader, "epoll_ctl: %m");
	return 0;
}

/* Begins the next consumer's connection. */
int
loader_begin(struct loader *loader)
{
	struct consumer *c = &loader->consumers[loader->begun];
	int r;

	assert(loader->begun < loader->count);
	c->state = CONSUMER_CONNECTING;
	for (;;) {
		r = connect_once(loader, c);
		if (r != -EADDRNOTAVAIL ||
		    loader->source_address >= SOURCE_ADDRESS_MAX)
			break;
		loader->source_address++;
	}
	if (r < 0)
		return loader_fault(
		    loader, "connection %zu: %s", loader->begun, strerror(-r));
	loader->begun++;
	r = send_request(loader, c);
	if (r < 0 && r != -EAGAIN)
		return r == -EBADMSG
			   ? r
			   : loader_fault(loader, "request: %s", strerror(-r));
	return watch(loader, c, EPOLL_CTL_ADD, r < 0 ? EPOLLOUT : EPOLLIN);
}

static int
become_open(struct loader *loader, struct consumer *c)
{
	loader->opened++;
	if (loader_index(loader, c) >= loader->args.consumers) {
		c->state = CONSUMER_PUBLISHER;
		return 0;
	}
	c->state = c->stalled ? CONSUMER_STALLED : CONSUMER_LIVE;
	return c->stalled ? watch(loader, c, EPOLL_CTL_DEL, 0) : 0;
}

static int
check_answer(struct loader *loader, struct consumer *c, char *answer, char *end)
{
	char *accept;
	size_t len = (size_t)(end - answer) + 4;

	*end = '\0';
	accept = strcasestr(answer, "\r\nSec-WebSocket-Accept:");
	if (strncmp(answer, "HTTP/1.1 101", 12) != 0 || !accept ||
	    !strstr(accept, ACCEPT))
		return loader_fault(loader, "connection %zu: answer \"%.*s\"",
		    loader_index(loader, c), (int)strcspn(answer, "\r\n"),
		    answer);
	if (recv(c->fd, answer, len, 0) != (ssize_t)len)
		return loader_fault(loader, "the answer went away: %m");
	return become_open(loader, c);
}

static int
read_answer(struct loader *loader, struct consumer *c)
{
	char answer[ANSWER_BYTES_MAX + 1];
	ssize_t n = recv(c->fd, answer, ANSWER_BYTES_MAX, MSG_PEEK);
	char *end;

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return loader_fault(loader, "connection %zu: %s",
		    loader_index(loader, c),
		    n < 0 ? strerror(errno) : "closed before the upgrade");
	answer[n] = '\0';
	end = strstr(answer, "\r\n\r\n");
	if (end)
		return check_answer(loader, c, answer, end);
	if (n == ANSWER_BYTES_MAX)
		return loader_fault(loader, "the answer has no end");
	return 0;
}

/* Something happened on a connection that is not open yet. */
int
loader_opening(struct loader *loader, struct consumer *c)
{
	int r;

	if (c->state == CONSUMER_ASKED)
		return read_answer(loader, c);
	assert(c->state == CONSUMER_CONNECTING);
	r = send_request(loader, c);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return r == -EBADMSG
			   ? r
			   : loader_fault(loader, "connect: %s", strerror(-r));
	return watch(loader, c, EPOLL_CTL_MOD, EPOLLIN);
}

int
loader_open(struct loader *loader)
{
	int r = 0;

	while (r >= 0 && loader->opened < loader->count) {
		size_t max = loader->opened + loader->args.opening_max;

		while (r >= 0 && loader->begun < loader->count &&
		       loader->begun < max)
			r = loader_begin(loader);
		if (r >= 0)
			r = loader_poll(loader, 100);
	}
	return r;
}
