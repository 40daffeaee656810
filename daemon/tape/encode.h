#ifndef DAEMON_TAPE_ENCODE_H
#define DAEMON_TAPE_ENCODE_H

/*
 * encode: one message as the bytes of a derived view.
 *
 * Promise  The same message gives the same bytes.
 * Memory   What encode() gives is the encoder's, or the message's payload
 *          itself, until the next call.
 * Threads  Quiet: the caller serialises.
 */

#include "daemon/base/buffer.h"
#include "daemon/tape/views.h"
#include "proto/frame.h"
#include "proto/message.h"

#include <stdbool.h>

/* Places within a block are 32 bits. */
#define ENCODED_BYTES_MAX (UINT32_MAX - (1u << 20))

struct deflate;

struct encoder { /* of zeroes, to begin with */
	struct deflate *deflate; /* NULL: none needed yet */
	struct buffer payload; /* what was fragments */
	struct buffer text, packed;
};

struct encoded {
	const uint8_t *data;
	size_t len;
	size_t bytes; /* what encoded_put() writes */
	size_t cost; /* of the work, in bytes of the budget */
	bool framed, compressed; /* tried to, that is */
	enum frame_opcode opcode;
	uint8_t rsv;
};

/* -ENOMEM. */
int encode(struct encoder *encoder, enum view_kind view,
    const struct message *message, struct encoded *ret_encoded);
void encoded_put(const struct encoded *encoded, uint8_t *out);

bool encode_framed(enum view_kind view); /* spans are whole frames */
bool encode_deflated(enum view_kind view);

/* Scratch that a long message left goes. */
void encoder_tidy(struct encoder *encoder);
void encoder_drop_deflate(struct encoder *encoder);
void encoder_fini(struct encoder *encoder);

#endif
