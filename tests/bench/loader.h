#ifndef TESTS_BENCH_LOADER_H
#define TESTS_BENCH_LOADER_H

/*
 * loader: many WebSocket consumers and one publisher on one epoll.
 *
 * Life     init -> open -> (publish, poll)* -> fini.
 * Order    Every consumer must get every message made after loader_open(), in
 *          order, byte for byte, and nothing else; the first fault ends the
 *          run: the message is in loader.fault and the call answers -EBADMSG.
 * Memory   Per consumer one struct; no payload is kept.
 * Threads  One.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/frame.h"
#include "tests/bench/sample.h"
#include "tests/bench/source.h"

#define LOADER_FAULT_BYTES 256
#define LOADER_PATIENCE_US INT64_C(10000000) /* no progress: a fault */

enum consumer_state {
	CONSUMER_CONNECTING,
	CONSUMER_ASKED, /* the upgrade was sent */
	CONSUMER_LIVE,
	CONSUMER_STALLED, /* reads a few bytes a second, not in the epoll */
	CONSUMER_PUBLISHER, /* publishes only, expects nothing */
	CONSUMER_CLOSED,
};

struct consumer {
	int fd;
	enum consumer_state state;
	bool stalled; /* will be, once open */
	bool in_message; /* a fragment was not the last */
	bool in_frame; /* `frame` is valid, frame_left to come */
	uint8_t head_len; /* bytes of a split header */
	uint8_t control_len;
	struct frame_header frame;
	uint64_t frame_left;
	uint64_t next; /* the message it is at */
	size_t at; /* payload bytes of it that came */
	uint8_t head[FRAME_HEADER_MAX];
	uint8_t control[125];
};

struct loader_args {
	uint16_t port;
	const char *path; /* consumers */
	const char *publish_path; /* NULL: consumer 0 publishes too */
	size_t consumers; /* the stalled ones included */
	size_t stalled;
	size_t message_bytes;
	size_t opening_max; /* connects in flight */
};

struct loader {
	struct loader_args args;
	int epoll_fd;
	struct consumer *consumers;
	size_t count; /* consumers, and the publisher where it is apart */
	size_t live; /* consumers that must get everything */
	size_t opened;
	size_t begun;
	unsigned source_address; /* 127.0.0.N, 0: the kernel's choice */

	struct source source;
	uint32_t *pending; /* by message: live consumers without it */
	uint64_t completed; /* messages that all live consumers have */
	uint64_t deliveries;
	uint64_t latency_from; /* first message whose latency counts */
	struct sample_histogram latency;
	int64_t progress_us; /* when something last came */

	uint8_t *out; /* masked frames the publisher still has to send */
	size_t out_len, out_size;

	uint64_t stalled_bytes; /* that stalled consumers read */
	size_t stalled_closed; /* that the server gave up on */
	int64_t stalled_next_us; /* when they read again */

	uint8_t *scratch;
	char fault[LOADER_FAULT_BYTES];
};

/* 0, -ENOMEM or -errno of epoll.  tag marks this run's messages. */
int loader_init(
    struct loader *loader, const struct loader_args *args, uint32_t tag);

/* Resets every connection: no TIME_WAIT is left behind. */
void loader_fini(struct loader *loader);

/* Opens all consumers, opening_max at a time, and waits for the last. */
int loader_open(struct loader *loader);

/*
 * Waits up to timeout_ms (0: only looks) and handles what came; sends what the
 * publisher still has; lets stalled consumers read their few bytes.
 */
int loader_poll(struct loader *loader, int timeout_ms);

/* Sends `count` messages in one write; what is left goes out in polls. */
int loader_publish(struct loader *loader, size_t count, int64_t sent_us);

/* Polls without sleeping until every live consumer has every message. */
int loader_settle(struct loader *loader);

/* For the loader's own files. */
int loader_fault(struct loader *loader, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
size_t loader_index(const struct loader *loader, const struct consumer *c);
int loader_begin(struct loader *loader);
int loader_opening(struct loader *loader, struct consumer *c);
int loader_read(struct loader *loader, struct consumer *c, size_t max);
int loader_flush(struct loader *loader);
int loader_pong(struct loader *loader, struct consumer *c);

#endif
