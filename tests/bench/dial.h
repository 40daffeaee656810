#ifndef TESTS_BENCH_DIAL_H
#define TESTS_BENCH_DIAL_H

/*
 * dial: a connection to a server on this machine, and what is said first.
 *
 * Life     dial_connect -> dial_send until it is not -EAGAIN -> dial_answer
 *          until it is not -EAGAIN -> dial_reset.
 * Errors   A value >= 0 or -errno.
 * Threads  One.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/frame.h"

#define DIAL_ANSWER_MAX 2048
#define DIAL_SOURCES 8u /* addresses 127.0.0.2 ... in turn */

/* The example of RFC 6455 section 1.3; a bench tests no randomness. */
#define DIAL_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define DIAL_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct dial {
	uint16_t port;
	unsigned turn; /* whose address is next */
};

/*
 * A non-blocking socket on its way to the server; -errno.  narrow: with a
 * receive buffer and segments like those of a distant peer, so that little is
 * kept by the kernel when it does not read.
 */
int dial_connect(struct dial *dial, bool narrow);

/* All of it or -EAGAIN: not connected yet; -errno. */
int dial_send(int fd, const void *data, size_t len);

/*
 * Reads an answer's head to its last byte, never further.  Its length, the
 * text ended by NUL; -EAGAIN when it is not whole; -EPROTO, -ECONNRESET.
 */
ssize_t dial_answer(int fd, char answer[DIAL_ANSWER_MAX + 1]);

/* The request of an upgrade; more: further headers, each with its \r\n. */
int dial_put_upgrade(
    char *out, size_t size, const char *path, uint16_t port, const char *more);

/* Whether the answer is 101 and for our key. */
bool dial_is_upgraded(const char *answer);

/* A masked frame, FRAME_HEADER_MAX + len bytes of room; its length. */
size_t dial_put_frame(
    uint8_t *out, enum frame_opcode opcode, const void *payload, size_t len);

/* Ends the connection without TIME_WAIT. */
void dial_reset(int fd);

#endif
