#ifndef PROTO_BASE64_H
#define PROTO_BASE64_H

/*
 * base64: RFC 4648 section 4, with padding, one line.
 *
 * Threads  Pure functions: any thread.
 */

#include <stddef.h>

/* Bytes that base64_put() writes for len bytes; no NUL is added. */
size_t base64_bytes(size_t len);
size_t base64_put(char *out, const void *data, size_t len);

#endif
