#ifndef TESTS_LIB_RECEIVER_H
#define TESTS_LIB_RECEIVER_H

/*
 * receiver: the bytes of any view, read back into messages.
 *
 * Promise  What the standards forbid fails the test: a fragment out of place,
 *          RSV1 where it may not be, an event that no browser would read so.
 * Errors   Failed cmocka assertions.
 */

#include "daemon/base/buffer.h"
#include "daemon/tape/views.h"
#include "proto/deflate.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct received {
	struct message message; /* channel NULL, offset, epoch 0: not told */
	bool json_or_text; /* which of the two is not told */
	bool lines; /* line ends are LF now, whatever they were */
};

struct receiver { /* of zeroes, but for the view */
	enum view_kind view;
	struct buffer text; /* of a message that is not whole */
	bool inside, deflated;
	int opcode;
};

/* One for any number of receivers. */
struct receiver_tools {
	struct inflate *inflate;
	struct buffer plain;
};

void receiver_tools_init(struct receiver_tools *tools);
void receiver_tools_fini(struct receiver_tools *tools);

/* fn hears of every message that is whole now. */
void receiver_take(struct receiver *receiver, struct receiver_tools *tools,
    const uint8_t *data, size_t len,
    void (*fn)(const struct received *received, void *arg), void *arg);
void receiver_fini(struct receiver *receiver);

/* How many of len bytes a socket may take that takes at most max. */
size_t receiver_cut(
    enum view_kind view, const uint8_t *data, size_t len, size_t max);

#endif
