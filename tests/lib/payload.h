#ifndef TESTS_LIB_PAYLOAD_H
#define TESTS_LIB_PAYLOAD_H

/*
 * payload: messages of every kind that can be made again from their numbers.
 *
 * Shape    They begin with the channel and the offset, so that one that is in
 *          the wrong place differs; then come runs that compress and such
 *          that do not, escapes, line ends of every sort, UTF-8 of all
 *          lengths.  JSON and text are valid.
 */

#include "daemon/base/buffer.h"
#include "proto/message.h"

#define PAYLOAD_MIN 16 /* of JSON: 40 */

/* Replaces what is in out. */
void payload_make(struct buffer *out, enum message_kind kind,
    const char *channel, int64_t offset, size_t len);

/* The same, with every line end as LF. */
void payload_lines(struct buffer *payload);

#endif
