#ifndef TESTS_LIB_PACKED_H
#define TESTS_LIB_PACKED_H

/*
 * packed: a peer that compresses, zlib's own way, and what it has on the wire.
 *
 * Life     wire_init -> (frames) -> wire_begin -> client_test_once ->
 *          wire_fini.
 */

#include "daemon/base/buffer.h"
#include "proto/frame.h"
#include "tests/lib/client_rig.h"
#include "tests/lib/peer.h"

#include <zlib.h>

#define FRAME_RSV1 4u /* of frame_put_header() */

struct wire {
	const char *headers; /* of the answer to the upgrade */
	uint16_t port; /* the peer's */
	struct buffer bytes;
	size_t cut; /* how much of them is read before the rest is sent */
	bool was_cut;
	z_stream stream;
	bool keep; /* the context */
	char head[2048]; /* what was asked */
	unsigned close_code; /* of the client */
};

void wire_init(struct wire *wire, const char *headers); /* 15 bits, kept */
void wire_fini(struct wire *wire);
/* A compressor from here on. */
void wire_window(struct wire *wire, int bits, bool keep);

/* The payload of a compressed message; its length. */
size_t wire_pack(
    struct wire *wire, const void *data, size_t len, uint8_t *out, size_t size);
void wire_frame(struct wire *wire, bool fin, unsigned rsv, unsigned opcode,
    const void *data, size_t len);
/* A whole message, compressed. */
void wire_packed(
    struct wire *wire, unsigned opcode, const void *data, size_t len);
void wire_close(struct wire *wire); /* 1000 */
/* A binary one, and what client_rig notes when it is heard. */
void wire_expect(
    struct wire *wire, struct buffer *expected, const void *data, size_t len);

/* One rig for all tests of a binary, and their setup and teardown. */
extern struct client_test wire_test;
int wire_set_up(void **state);
int wire_tear_down(void **state);

/* The next connection's peer plays it; compression is offered. */
void wire_begin(struct client_test *test, struct wire *wire);

/*
 * A script: agrees, says what is on the wire, and listens until the client's
 * close, which it answers.
 */
void wire_play(struct peer *peer, void *wire);

#endif
