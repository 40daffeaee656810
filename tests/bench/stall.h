#ifndef TESTS_BENCH_STALL_H
#define TESTS_BENCH_STALL_H

/*
 * stall: consumers that stop reading and come back, each held to what its
 * channel's `overrun` says.
 *
 * Shape    Channels skip, latest and close; members of each in three forms:
 *          raw, raw with ?gap=silent, earshot.v1.
 * Promise  A member that reads gets every message, in order.  One that did not
 *          read gets every message up to a place, then once what its channel
 *          and form say: a gap that names exactly what is missing and all that
 *          follows, or a close with code and reason.
 * Errors   0, or run_fault()'s -EBADMSG.
 * Threads  One.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/buffer.h"
#include "tests/bench/sample.h"
#include "tests/bench/source.h"

enum stall_policy {
	STALL_SKIP,
	STALL_LATEST,
	STALL_CLOSE,
	STALL_POLICIES,
};

enum stall_form {
	STALL_RAW,
	STALL_SILENT,
	STALL_V1,
	STALL_FORMS,
};

enum stall_state {
	STALL_CONNECTING,
	STALL_ASKED,
	STALL_SUBSCRIBED, /* earshot.v1: not answered yet */
	STALL_READING,
	STALL_CLOSED,
};

struct stall_channel {
	char name[16];
	enum stall_policy policy;
	struct source source;
	char epoch[17]; /* empty: nobody was told yet */
	uint64_t base; /* the offset before the first message */
	uint64_t resumed_at; /* messages there when reading was resumed */
	uint64_t kept_bytes; /* its buffer_bytes */
	uint64_t latency_from; /* first message that counts */
	struct sample_histogram *latency;
};

struct stall_member {
	int fd;
	enum stall_form form;
	enum stall_state state;
	bool stalls; /* will stop reading */
	bool away; /* does not read */
	bool overtaken; /* has been told, or has seen it */
	struct stall_channel *channel;
	uint64_t next; /* message */
	uint64_t lost; /* messages */
	uint64_t deliveries;
	struct buffer in;
};

/* The answer to its upgrade; subscribes where that comes after. */
int stall_answered(struct stall_member *member, const char *answer);

/* Bytes that came, len 0: the end. */
int stall_take(struct stall_member *member, const uint8_t *data, size_t len);

/* Whether nothing is due to it any more. */
bool stall_is_done(const struct stall_member *member);

#endif
