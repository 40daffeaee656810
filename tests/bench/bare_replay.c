/*
 * bare_replay: what giving a file's bytes to a WebSocket client costs when
 * nothing else is done: the reference for a replay, in the same run.
 *
 *   bare_replay PORT FILE
 *
 * One thread, one epoll.  Whatever is asked, the answer is an upgrade for the
 * one key that the bench's loaders use, and then the file, which holds frames,
 * with send()s of what is left; at its end the client hangs up.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/dial.h"

#define EVENTS_MAX 64
#define SPAN_BYTES_MAX (1u << 20) /* one send(); 64 KiB cost it a third more */

static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Accept: " DIAL_ACCEPT "\r\n\r\n";

struct peer {
	int fd;
	bool asked;
	size_t at;
};

static struct server {
	int listen_fd, epoll_fd;
	const uint8_t *data;
	size_t len;
} server;

static int
map_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	void *data;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	server.len = (size_t)status.st_size;
	data = mmap(
	    NULL, server.len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	(void)close(fd); /* the mapping keeps it */
	server.data = data;
	return 0;
}

static void
end(struct peer *peer)
{
	(void)close(peer->fd); /* nothing is owed to it */
	free(peer);
}

static void
serve(struct peer *peer)
{
	while (peer->asked && peer->at < server.len) {
		size_t left = server.len - peer->at;
		ssize_t sent = send(peer->fd, server.data + peer->at,
		    left < SPAN_BYTES_MAX ? left : SPAN_BYTES_MAX,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0)
			return; /* full, or its end is an event of its own */
		peer->at += (size_t)sent;
	}
}

static void
on_event(struct peer *peer, uint32_t events)
{
	char request[4096];
	ssize_t n;

	if (events & EPOLLIN) {
		n = recv(peer->fd, request, sizeof(request), 0);
		if (n <= 0) {
			end(peer);
			return;
		}
		/* A request comes in one piece here; a pong is no request. */
		if (!peer->asked && memmem(request, (size_t)n, "\r\n\r\n", 4) &&
		    send(peer->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) ==
			(ssize_t)sizeof(answer) - 1)
			peer->asked = true;
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		end(peer);
		return;
	}
	serve(peer);
}

static void
accept_one(void)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	int fd =
	    accept4(server.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct peer *peer = fd >= 0 ? calloc(1, sizeof(*peer)) : NULL;
	int one = 1;

	if (!peer) {
		if (fd >= 0)
			(void)close(fd); /* nothing was promised */
		return;
	}
	peer->fd = fd;
	event.data.ptr = peer;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(server.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		end(peer);
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
			if (events[i].data.ptr)
				on_event(events[i].data.ptr, events[i].events);
			else
				accept_one();
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

	server.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
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
	return 0;
}

int
main(int argc, char **argv)
{
	int r, port = argc == 3 ? atoi(argv[1]) : 0;

	if (port < 1 || port > UINT16_MAX) {
		(void)fputs("usage: bare_replay PORT FILE\n", stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail for SIGPIPE */
	r = map_file(argv[2]);
	if (r == 0)
		r = server_open((uint16_t)port);
	if (r == 0)
		r = serve_for_ever();
	(void)fprintf(stderr, "bare_replay: %s\n", strerror(-r));
	return 1;
}
