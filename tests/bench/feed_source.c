/*
 * feed_source: a WebSocket server that says so many messages as fast as they
 * are taken, then closes, then ends.
 *
 *   feed_source COUNT BYTES
 *
 * Prints its port, and when all has arrived at the peer's socket:
 * "COUNT MICROSECONDS".  One connection; the messages are framed once, 64 KiB
 * of them, and sent again and again: what is measured is who reads.
 */

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base64.h"
#include "proto/frame.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define BLOCK_BYTES 65536

static int64_t
now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* always there */
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static int
wait_for_peer(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0), peer, yes = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 ||
	    listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		fail("listen");
	(void)printf("%u\n", ntohs(address.sin_port));
	(void)fflush(stdout);
	peer = accept(fd, NULL, NULL);
	if (peer < 0)
		fail("accept");
	(void)setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return peer;
}

static void
upgrade(int peer)
{
	char head[8192] = "", key[256], accept_key[64], answer[256];
	unsigned char digest[SHA_DIGEST_LENGTH];
	size_t len = 0;
	const char *at;
	int n;

	while (!strstr(head, "\r\n\r\n")) {
		ssize_t got = read(peer, head + len, sizeof(head) - 1 - len);

		if (got <= 0)
			fail("request");
		len += (size_t)got;
		head[len] = '\0';
	}
	at = strcasestr(head, "Sec-WebSocket-Key:");
	if (!at || sscanf(at + 18, " %60[^\r ]", key) != 1)
		fail("key");
	strcat(key, GUID);
	SHA1((const unsigned char *)key, strlen(key), digest);
	(void)base64_put(accept_key, digest, sizeof(digest)); /* 28 */
	accept_key[28] = '\0';
	n = snprintf(answer, sizeof(answer),
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	    accept_key);
	if (write(peer, answer, (size_t)n) != n)
		fail("answer");
}

/* As many frames as fit in a block; how many that is. */
static size_t
fill(uint8_t *block, size_t *ret_len, size_t bytes)
{
	size_t count = 0, len = 0;

	while (len + FRAME_HEADER_MAX + bytes <= BLOCK_BYTES) {
		len +=
		    frame_put_header(block + len, true, 0, FRAME_TEXT, bytes);
		memset(block + len, 'x', bytes);
		len += bytes;
		count++;
	}
	*ret_len = len;
	return count;
}

static void
send_all(int peer, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(peer, data, len);

		if (n <= 0)
			fail("write");
		data += n;
		len -= (size_t)n;
	}
}

int
main(int argc, char **argv)
{
	static uint8_t block[BLOCK_BYTES];
	static const uint8_t end[] = { 0x88, 2, 0x03, 0xe8 };
	size_t count, bytes, each, len, sent = 0;
	int64_t began_us;
	int peer, left;

	if (argc != 3)
		return 2;
	count = strtoul(argv[1], NULL, 10);
	bytes = strtoul(argv[2], NULL, 10);
	each = fill(block, &len, bytes);
	assert(each > 0);
	peer = wait_for_peer();
	upgrade(peer);
	began_us = now_us();
	for (; sent + each <= count; sent += each)
		send_all(peer, block, len);
	do {
		if (ioctl(peer, TIOCOUTQ, &left) < 0)
			fail("TIOCOUTQ");
		if (left > 0)
			(void)usleep(200); /* the last few */
	} while (left > 0);
	(void)printf("%zu %lld\n", sent, (long long)(now_us() - began_us));
	(void)fflush(stdout);
	(void)getchar(); /* until told to end */
	send_all(peer, end, sizeof(end));
	(void)close(peer);
	return 0;
}
