#ifndef DAEMON_BASE_BUFFER_H
#define DAEMON_BASE_BUFFER_H

/*
 * buffer: bytes in one piece that grow up to a limit given with each append.
 *
 * Life      init -> (append | printf | consume | clear)* -> fini.  A buffer
 *           of zeroes is initialised.
 * Memory    data is the buffer's; a pointer into it is good until the next
 *           call.  It grows by doubling, never above the limit, and gives
 *           nothing back before fini().
 * Threads   Quiet: the caller serialises.
 */

#include <stddef.h>
#include <stdint.h>

struct buffer {
	uint8_t *data;
	size_t len, size; /* bytes in use, bytes there */
};

void buffer_init(struct buffer *b);
void buffer_fini(struct buffer *b); /* leaves it initialised and empty */

/*
 * Copies n bytes to the end.  p may be NULL when n is 0; it must not point
 * into b.  Failed: b is unchanged.
 * -EMSGSIZE: would be longer than max.  -ENOMEM.
 */
int buffer_append(struct buffer *b, const void *p, size_t n, size_t max);

/* Formatted text at the end, without a NUL.  Errors as buffer_append(). */
int buffer_printf(struct buffer *b, size_t max, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The first n bytes go away; n is at most len. */
void buffer_consume(struct buffer *b, size_t n);

void buffer_clear(struct buffer *b); /* empty, memory kept */

#endif
