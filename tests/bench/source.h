#ifndef TESTS_BENCH_SOURCE_H
#define TESTS_BENCH_SOURCE_H

/*
 * source: the messages a bench publishes, and the check that they came back.
 *
 * Shape    TAG SEQUENCE TIME FILLER, all text: 8, 16 and 16 hex digits, a
 *          space after each, then printable filler that depends on SEQUENCE.
 *          TAG tells one run's messages from another's.
 * Order    Sequence numbers are dense, from 0.
 * Memory   What the last SOURCE_LAG_MAX messages began with is kept, so a
 *          consumer may be that far behind and still be checked.
 * Units    sent_us: CLOCK_MONOTONIC, microseconds.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_HEAD_BYTES 43u
#define SOURCE_BYTES_MIN 64u
#define SOURCE_BYTES_MAX (8u << 20)
#define SOURCE_LAG_MAX 65536u /* messages, a power of two */

struct source_head {
	char text[SOURCE_HEAD_BYTES];
	int64_t sent_us;
};

struct source {
	uint32_t tag;
	size_t message_bytes;
	uint64_t next; /* the sequence number of the next message */
	struct source_head *heads;
	char *filler;
};

/* message_bytes: SOURCE_BYTES_MIN to _MAX.  0 or -ENOMEM. */
int source_init(struct source *source, uint32_t tag, size_t message_bytes);
void source_fini(struct source *source);

/* Writes the next message to out (message_bytes of room). */
void source_make(struct source *source, int64_t sent_us, char *out);

/*
 * Whether the len bytes at `data` are the bytes from `at` on of message
 * `sequence`.  False too for one that was never made or is no longer kept.
 */
bool source_check(const struct source *source, uint64_t sequence, size_t at,
    const void *data, size_t len);

/* When that message was sent; it must still be kept. */
int64_t source_sent_us(const struct source *source, uint64_t sequence);

#endif
