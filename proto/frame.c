/*
 * Frame headers and messages as bytes.  Writing is for servers only: no mask.
 * Reading takes masked headers too, since the tests and the command line look
 * at what clients send.
 *
 * A header is refused at its first byte that cannot be right, so a reader that
 * gets bytes one at a time learns of a fault as early as one that gets all.
 */

#include "proto/frame.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define FIN 0x80
#define MASKED 0x80
#define LENGTH_16 126 /* two bytes of length follow */
#define LENGTH_64 127 /* eight bytes of length follow */
#define CONTROL_PAYLOAD_MAX 125

_Static_assert(FRAME_FRAGMENT_BYTES > CONTROL_PAYLOAD_MAX &&
		   FRAME_FRAGMENT_BYTES <= UINT16_MAX,
    "a full fragment has a header of four bytes");

size_t
frame_header_bytes(uint64_t payload_bytes)
{
	if (payload_bytes < LENGTH_16)
		return 2;
	return payload_bytes <= UINT16_MAX ? 4 : 10;
}

static void
put_big_endian(uint8_t *out, uint64_t value, size_t len)
{
	for (size_t i = len; i-- > 0; value >>= 8)
		out[i] = (uint8_t)value;
}

static uint64_t
get_big_endian(const uint8_t *data, size_t len)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len; i++)
		value = value << 8 | data[i];
	return value;
}

size_t
frame_put_header(uint8_t *out, bool fin, uint8_t rsv, enum frame_opcode opcode,
    uint64_t payload_bytes)
{
	size_t len = frame_header_bytes(payload_bytes);

	assert(rsv <= 7);
	assert((unsigned)opcode <= 0xf);
	assert(payload_bytes <= INT64_MAX);

	out[0] = (uint8_t)((fin ? FIN : 0) | rsv << 4 | (int)opcode);
	if (len == 2) {
		out[1] = (uint8_t)payload_bytes;
	} else {
		out[1] = len == 4 ? LENGTH_16 : LENGTH_64;
		put_big_endian(out + 2, payload_bytes, len - 2);
	}
	return len;
}

static bool
opcode_known(unsigned opcode)
{
	return opcode <= FRAME_BINARY ||
	       (opcode >= FRAME_CLOSE && opcode <= FRAME_PONG);
}

/* How many bytes of length follow the seven bits of the second byte. */
static size_t
extended_bytes(uint64_t seven_bits)
{
	if (seven_bits == LENGTH_16)
		return 2;
	return seven_bits == LENGTH_64 ? 8 : 0;
}

int
frame_get_header(
    const uint8_t *data, size_t len, struct frame_header *ret_header)
{
	struct frame_header header = { 0 };
	size_t length_bytes, need;
	bool control;

	if (len < 1)
		return -EAGAIN;
	header.fin = data[0] & FIN;
	header.rsv = data[0] >> 4 & 7;
	header.opcode = data[0] & 0xf;
	control = header.opcode >= FRAME_CLOSE;
	if (!opcode_known(header.opcode) || (control && !header.fin))
		return -EPROTO;

	if (len < 2)
		return -EAGAIN;
	header.masked = data[1] & MASKED;
	header.payload_bytes = data[1] & 0x7f;
	if (control && header.payload_bytes > CONTROL_PAYLOAD_MAX)
		return -EPROTO;
	length_bytes = extended_bytes(header.payload_bytes);
	if (length_bytes == 8 && len > 2 && data[2] & 0x80)
		return -EPROTO;
	if (len < 2 + length_bytes)
		return -EAGAIN;
	if (length_bytes > 0)
		header.payload_bytes = get_big_endian(data + 2, length_bytes);
	if (frame_header_bytes(header.payload_bytes) != 2 + length_bytes)
		return -EPROTO;

	need = 2 + length_bytes + (header.masked ? sizeof(header.mask) : 0);
	assert(need <= FRAME_HEADER_MAX);
	if (len < need)
		return -EAGAIN;
	if (header.masked)
		memcpy(
		    header.mask, data + 2 + length_bytes, sizeof(header.mask));
	header.header_bytes = need;
	*ret_header = header;
	return (int)need;
}

size_t
frame_message_bytes(size_t payload_bytes)
{
	size_t full, rest;

	if (payload_bytes <= FRAME_FRAGMENT_BYTES)
		return frame_header_bytes(payload_bytes) + payload_bytes;
	full = payload_bytes / FRAME_FRAGMENT_BYTES;
	rest = payload_bytes % FRAME_FRAGMENT_BYTES;
	return full * frame_header_bytes(FRAME_FRAGMENT_BYTES) + payload_bytes +
	       (rest > 0 ? frame_header_bytes(rest) : 0);
}

size_t
frame_put_message(uint8_t *out, enum frame_opcode opcode, const void *payload,
    size_t payload_bytes)
{
	return frame_put_message_rsv(out, opcode, 0, payload, payload_bytes);
}

size_t
frame_put_message_rsv(uint8_t *out, enum frame_opcode opcode, uint8_t rsv,
    const void *payload, size_t payload_bytes)
{
	size_t taken = 0, at = 0;

	assert(opcode == FRAME_TEXT || opcode == FRAME_BINARY);
	assert(payload || payload_bytes == 0);

	/* An empty message is a frame as well: at least one turn. */
	do {
		size_t left = payload_bytes - taken;
		size_t n =
		    left < FRAME_FRAGMENT_BYTES ? left : FRAME_FRAGMENT_BYTES;

		at += frame_put_header(out + at, n == left, rsv, opcode, n);
		if (n > 0)
			memcpy(out + at, (const uint8_t *)payload + taken, n);
		at += n;
		taken += n;
		opcode = FRAME_CONTINUATION;
		rsv = 0;
	} while (taken < payload_bytes);

	assert(at == frame_message_bytes(payload_bytes));
	return at;
}

size_t
frame_first_bytes(const uint8_t *data, size_t len)
{
	struct frame_header header;

	if (frame_get_header(data, len, &header) < 0)
		return 0;
	if (header.payload_bytes > SIZE_MAX - header.header_bytes)
		return 0;
	return header.header_bytes + (size_t)header.payload_bytes;
}

size_t
frame_whole_bytes(const uint8_t *data, size_t len, size_t max)
{
	size_t limit = len < max ? len : max;
	size_t at = 0;

	while (at < limit) {
		size_t n = frame_first_bytes(data + at, limit - at);

		if (n == 0 || n > limit - at)
			break;
		at += n;
	}
	assert(at <= limit);
	return at;
}
