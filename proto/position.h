#ifndef PROTO_POSITION_H
#define PROTO_POSITION_H

/*
 * position: EPOCH:OFFSET, "I have this one and all before it".
 *
 * Shape    16 lower case hex digits, a colon, a decimal offset without sign or
 *          leading zeros.  Offset 0 is the place before the first message.
 * Threads  Pure functions: any thread.
 */

#include <stddef.h>
#include <stdint.h>

#define POSITION_TEXT_MAX 37 /* 16 + 1 + 19 digits + NUL */

struct position {
	uint64_t epoch;
	int64_t offset;
};

enum from_kind {
	FROM_LIVE, /* absent: what is published from now on */
	FROM_OLDEST, /* "oldest" */
	FROM_LAST, /* "-N": the last N, then live */
	FROM_POSITION, /* "EPOCH:OFFSET": continue after it */
};

struct from {
	enum from_kind kind;
	int64_t count; /* of FROM_LAST, 0 and more */
	struct position position; /* of FROM_POSITION */
};

/* Writes the text and its NUL to out, returns the length without NUL. */
size_t position_put(
    char out[static POSITION_TEXT_MAX], const struct position *position);

/* 0, or -EINVAL when text is not exactly a position. */
int position_get(const char *text, size_t len, struct position *ret_position);

/*
 * What a `from=` argument says.  len 0 is FROM_LIVE.  -EINVAL when it is none
 * of the four forms (expected text for the error: "oldest, -N or
 * EPOCH:OFFSET").
 */
int from_get(const char *text, size_t len, struct from *ret_from);

#endif
