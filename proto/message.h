#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

/*
 * message: what a published message is, whatever encodes it.
 *
 * Memory   channel and payload are lent.
 * Units    time_us: wall clock, microseconds.
 */

#include <stddef.h>
#include <stdint.h>

enum message_kind { MESSAGE_TEXT, MESSAGE_JSON, MESSAGE_BINARY };

struct message {
	const char *channel; /* not NUL-terminated */
	size_t channel_len;
	uint64_t epoch;
	int64_t offset, time_us;
	enum message_kind kind;
	const uint8_t *payload;
	size_t len;
};

#endif
