#ifndef PROTO_BASE64_H
#define PROTO_BASE64_H

/*
 * base64: RFC 4648 section 4, with padding, one line.
 *
 * Threads  Pure functions: any thread.
 */

#include <stddef.h>
#include <stdint.h>

/* Bytes that base64_put() writes for len bytes; no NUL is added. */
size_t base64_bytes(size_t len);
size_t base64_put(char *out, const void *data, size_t len);

/*
 * Decodes into out (len / 4 * 3 bytes of room), which may be text itself.  The
 * length, or -EINVAL: not the one spelling that base64_put() gives; out is
 * then partly written.
 */
int64_t base64_get(void *out, const char *text, size_t len);

#endif
