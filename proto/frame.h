#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

/*
 * frame: WebSocket frame headers and messages as bytes (RFC 6455 section 5).
 *
 * Shape    A server frame carries no mask, so its bytes serve every consumer.
 *          A message of at most FRAME_FRAGMENT_BYTES is one frame; a longer
 *          one is fragments of that size (section 5.4), the last one shorter.
 * Threads  Pure functions: any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_opcode {
	FRAME_CONTINUATION = 0x0,
	FRAME_TEXT = 0x1,
	FRAME_BINARY = 0x2,
	FRAME_CLOSE = 0x8,
	FRAME_PING = 0x9,
	FRAME_PONG = 0xa,
};

#define FRAME_HEADER_MAX 14 /* bytes: 2 + 8 of length + 4 of mask */
#define FRAME_FRAGMENT_BYTES 16384u /* payload of one frame on a tape */

struct frame_header {
	bool fin;
	uint8_t rsv; /* the three reserved bits, RSV1 is 4 */
	enum frame_opcode opcode;
	bool masked;
	uint8_t mask[4];
	uint64_t payload_bytes;
	size_t header_bytes;
};

/* Bytes of an unmasked header for a payload of that many bytes: 2, 4 or 10. */
size_t frame_header_bytes(uint64_t payload_bytes);

/*
 * Writes an unmasked header to out (frame_header_bytes() of room) and returns
 * its length.  rsv as in struct frame_header.
 */
size_t frame_put_header(uint8_t *out, bool fin, uint8_t rsv,
    enum frame_opcode opcode, uint64_t payload_bytes);

/*
 * Reads a header from the first len bytes.  Its length, or -EAGAIN when more
 * bytes are needed, -EPROTO for what section 5.2 forbids: a length that is not
 * minimal or has its top bit set, a control frame that is fragmented or longer
 * than 125, a reserved opcode.
 */
int frame_get_header(
    const uint8_t *data, size_t len, struct frame_header *ret_header);

/* Bytes on the wire of a message with that payload, fragments included. */
size_t frame_message_bytes(size_t payload_bytes);

/*
 * Writes the whole message, fragmented where it must be, to out
 * (frame_message_bytes() of room) and returns its length.  opcode is
 * FRAME_TEXT or FRAME_BINARY.
 */
size_t frame_put_message(uint8_t *out, enum frame_opcode opcode,
    const void *payload, size_t payload_bytes);

/*
 * The same with reserved bits on the first frame: rsv 4 is RSV1, payload is
 * compressed (RFC 7692).
 */
size_t frame_put_message_rsv(uint8_t *out, enum frame_opcode opcode,
    uint8_t rsv, const void *payload, size_t payload_bytes);

/*
 * The length of the longest run of whole frames at the start of data that is
 * not longer than max; 0 when not even the first frame fits or is whole.
 * data holds frames as frame_put_message() writes them.
 */
size_t frame_whole_bytes(const uint8_t *data, size_t len, size_t max);

/* The length of the first frame, whole or not; 0 if its header is not whole. */
size_t frame_first_bytes(const uint8_t *data, size_t len);

#endif
