/*
 * echo_loader: talks to a WebSocket server that sends back what it hears.
 *
 *   echo_loader PORT PATH CONNECTIONS IN_FLIGHT BYTES WARM_UP_MS MEASURE_MS
 *
 * Each connection has IN_FLIGHT messages of BYTES (at most 125) under way; one
 * that comes back is sent again.  Prints messages_per_s, p50_us and p99_us of
 * the time a message is under way, a line "name<TAB>value" each.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/sample.h"

#define IN_FLIGHT_MAX 64
#define BYTES_MAX 125
#define EVENTS_MAX 256

struct peer {
	int fd;
	size_t got; /* of the message that is coming */
	unsigned oldest; /* in sent_us: answers come in order */
	int64_t sent_us[IN_FLIGHT_MAX];
};

static struct sample_histogram histogram;
static uint8_t frame[6 + BYTES_MAX];
static size_t frame_len, answer_len;
static unsigned in_flight;
static uint64_t messages;
static int64_t measure_from_us;

static void
fail(const char *what)
{
	(void)fprintf(stderr, "echo_loader: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
upgrade(int fd, const char *path)
{
	char text[4096];
	size_t got = 0;
	ssize_t n;
	int len = snprintf(text, sizeof(text),
	    "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	    path);

	if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
		fail("send");
	/* Byte by byte: what follows the head may be a frame. */
	while (got < 4 || memcmp(text + got - 4, "\r\n\r\n", 4) != 0) {
		n = read(fd, text + got, 1);
		if (n <= 0 || ++got == sizeof(text) - 1)
			fail("upgrade");
	}
	text[got] = '\0';
	if (strncmp(text, "HTTP/1.1 101", 12) != 0)
		fail("upgrade refused");
}

static void
open_peer(struct peer *peer, int port, const char *path)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1;

	peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer->fd < 0 || connect(peer->fd, (const struct sockaddr *)&address,
				sizeof(address)) < 0)
		fail("connect");
	(void)setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	upgrade(peer->fd, path);
	if (fcntl(peer->fd, F_SETFL, O_NONBLOCK) < 0)
		fail("fcntl");
}

/* count messages in one write; what is under way fits the socket. */
static void
send_some(struct peer *peer, unsigned count, unsigned at)
{
	uint8_t bytes[IN_FLIGHT_MAX * sizeof(frame)];
	const int64_t now = sample_now_us();
	size_t len = 0;
	unsigned i;

	for (i = 0; i < count; i++) {
		memcpy(bytes + len, frame, frame_len);
		len += frame_len;
		peer->sent_us[(at + i) % in_flight] = now;
	}
	if (send(peer->fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
		fail("send");
}

static void
read_some(struct peer *peer)
{
	uint8_t bytes[65536];
	const ssize_t n = read(peer->fd, bytes, sizeof(bytes));
	unsigned back = 0;
	unsigned first = peer->oldest;
	int64_t now;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		fail("the server closed");
	peer->got += (size_t)n;
	now = sample_now_us();
	while (peer->got >= answer_len) {
		peer->got -= answer_len;
		if (now >= measure_from_us) {
			sample_add(
			    &histogram, now - peer->sent_us[peer->oldest]);
			messages++;
		}
		peer->oldest = (peer->oldest + 1) % in_flight;
		back++;
	}
	if (back > in_flight)
		fail("more came back than was sent");
	if (back > 0)
		send_some(peer, back, first);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS_MAX];
	unsigned count, i;
	size_t bytes;
	int64_t until_us, took_us;
	struct peer *peers;
	int poll = epoll_create1(EPOLL_CLOEXEC);

	if (argc != 8 || poll < 0) {
		(void)fputs("usage: echo_loader PORT PATH CONNECTIONS "
			    "IN_FLIGHT BYTES WARM_UP_MS MEASURE_MS\n",
		    stderr);
		return 1;
	}
	count = (unsigned)atoi(argv[3]);
	in_flight = (unsigned)atoi(argv[4]);
	bytes = (size_t)atoi(argv[5]);
	assert(in_flight > 0 && in_flight <= IN_FLIGHT_MAX);
	assert(bytes > 0 && bytes <= BYTES_MAX);
	frame[0] = 0x81;
	frame[1] = (uint8_t)(0x80 | bytes);
	memset(frame + 6, 'e', bytes); /* the mask is zero */
	frame_len = 6 + bytes;
	answer_len = 2 + bytes;
	peers = calloc(count, sizeof(*peers));
	if (!peers)
		fail("memory");
	for (i = 0; i < count; i++) {
		open_peer(&peers[i], atoi(argv[1]), argv[2]);
		events[0] =
		    (struct epoll_event){ EPOLLIN, { .ptr = &peers[i] } };
		if (epoll_ctl(poll, EPOLL_CTL_ADD, peers[i].fd, events) < 0)
			fail("epoll_ctl");
	}
	measure_from_us = sample_now_us() + atoi(argv[6]) * 1000;
	until_us = measure_from_us + atoi(argv[7]) * 1000;
	for (i = 0; i < count; i++)
		send_some(&peers[i], in_flight, 0);
	while (sample_now_us() < until_us) {
		int n = epoll_wait(poll, events, EVENTS_MAX, 10000);

		if (n <= 0)
			fail("nothing comes back");
		while (n-- > 0)
			read_some(events[n].data.ptr);
	}
	took_us = sample_now_us() - measure_from_us;
	printf("messages_per_s\t%" PRIu64 "\n",
	    messages * 1000000 / (uint64_t)took_us);
	printf("p50_us\t%" PRId64 "\n", sample_percentile(&histogram, 0.5));
	printf("p99_us\t%" PRId64 "\n", sample_percentile(&histogram, 0.99));
	if (fflush(stdout) != 0)
		return 1;
	for (i = 0; i < count; i++)
		(void)close(peers[i].fd);
	free(peers);
	return 0;
}
