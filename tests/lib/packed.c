/* A peer that compresses. */

#include "tests/lib/packed.h"

#include <arpa/inet.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#define WIRE_MAX ((size_t)64 << 20)
#define WAIT_S 10

struct client_test wire_test;

int
wire_set_up(void **state)
{
	(void)state;
	rig_open(&wire_test.rig, NULL);
	return 0;
}

int
wire_tear_down(void **state)
{
	(void)state;
	rig_close(&wire_test.rig);
	return 0;
}

void
wire_window(struct wire *wire, int bits, bool keep)
{
	(void)deflateEnd(&wire->stream); /* none the first time */
	memset(&wire->stream, 0, sizeof(wire->stream));
	wire->keep = keep;
	assert_int_equal(deflateInit2(&wire->stream, 9, Z_DEFLATED, -bits, 8,
			     Z_DEFAULT_STRATEGY),
	    Z_OK);
}

void
wire_init(struct wire *wire, const char *headers)
{
	memset(wire, 0, sizeof(*wire));
	wire->headers = headers;
	wire_window(wire, 15, true);
}

void
wire_fini(struct wire *wire)
{
	(void)deflateEnd(&wire->stream); /* that data is left is fine */
	buffer_fini(&wire->bytes);
}

size_t
wire_pack(
    struct wire *wire, const void *data, size_t len, uint8_t *out, size_t size)
{
	z_stream *stream = &wire->stream;
	uint8_t *copy = malloc(len + 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	stream->next_in = copy;
	stream->avail_in = (uInt)len;
	stream->next_out = out;
	stream->avail_out = (uInt)size;
	assert_int_equal(deflate(stream, Z_SYNC_FLUSH), Z_OK);
	assert_int_equal(stream->avail_in, 0);
	assert_true(stream->avail_out > 0);
	free(copy);
	size -= stream->avail_out;
	assert_memory_equal(out + size - 4, "\0\0\xff\xff", 4);
	if (!wire->keep)
		assert_int_equal(deflateReset(stream), Z_OK);
	return size - 4;
}

void
wire_frame(struct wire *wire, bool fin, unsigned rsv, unsigned opcode,
    const void *data, size_t len)
{
	uint8_t header[FRAME_HEADER_MAX];
	const size_t n = frame_put_header(
	    header, fin, (uint8_t)rsv, (enum frame_opcode)opcode, len);

	assert_int_equal(buffer_append(&wire->bytes, header, n, WIRE_MAX), 0);
	assert_int_equal(buffer_append(&wire->bytes, data, len, WIRE_MAX), 0);
}

void
wire_packed(struct wire *wire, unsigned opcode, const void *data, size_t len)
{
	const size_t size = len + len / 100 + 100;
	uint8_t *packed = malloc(size);
	size_t n;

	assert_non_null(packed);
	n = wire_pack(wire, data, len, packed, size);
	wire_frame(wire, true, FRAME_RSV1, opcode, packed, n);
	free(packed);
}

void
wire_close(struct wire *wire)
{
	wire_frame(wire, true, 0, FRAME_CLOSE, "\x03\xe8", 2);
}

void
wire_expect(
    struct wire *wire, struct buffer *expected, const void *data, size_t len)
{
	wire_packed(wire, FRAME_BINARY, data, len);
	assert_int_equal(buffer_append(expected, "b", 1, WIRE_MAX), 0);
	assert_int_equal(buffer_append(expected, data, len, WIRE_MAX), 0);
	assert_int_equal(buffer_append(expected, "|", 1, WIRE_MAX), 0);
}

void
wire_begin(struct client_test *test, struct wire *wire)
{
	client_test_next(test, wire_play, wire);
	test->options.compression = true;
	wire->port = test->options.peer.port;
}

/* The client's socket: it is in this process. */
static int
find_client(uint16_t port)
{
	for (int fd = 0; fd < 1024; fd++) {
		struct sockaddr_in address;
		socklen_t len = sizeof(address);

		if (getpeername(fd, (struct sockaddr *)&address, &len) == 0 &&
		    address.sin_family == AF_INET &&
		    ntohs(address.sin_port) == port)
			return fd;
	}
	return -1;
}

/* Until nothing is there that it could read. */
static bool
wait_read(uint16_t port)
{
	const time_t late = time(NULL) + WAIT_S;
	const int fd = find_client(port);
	int waiting = 1;

	while (fd >= 0 && time(NULL) < late) {
		if (ioctl(fd, FIONREAD, &waiting) < 0)
			return false;
		if (waiting == 0)
			return true;
		(void)sched_yield();
	}
	return false;
}

void
wire_play(struct peer *peer, void *arg)
{
	struct wire *wire = arg;
	char payload[2048];
	unsigned opcode;
	int64_t n;

	if (!peer_upgrade_heard(
		peer, wire->headers, wire->head, sizeof(wire->head)))
		return;
	wire->was_cut = wait_read(wire->port) &&
			peer_write(peer, wire->bytes.data, wire->cut) &&
			wait_read(wire->port);
	if (!peer_write(peer, wire->bytes.data + wire->cut,
		wire->bytes.len - wire->cut))
		return;
	do
		n = peer_read_frame(peer, &opcode, payload, sizeof(payload));
	while (n >= 0 && opcode != FRAME_CLOSE);
	if (n < 2)
		return;
	wire->close_code =
	    (unsigned)((uint8_t)payload[0] << 8 | (uint8_t)payload[1]);
	(void)peer_write_frame(peer, true, FRAME_CLOSE, payload, (size_t)n);
}
