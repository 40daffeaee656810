#ifndef PROTO_JSON_H
#define PROTO_JSON_H

/*
 * json: is this one JSON text (RFC 8259)?  A scanner, not a parser: payloads
 * are embedded verbatim, a DOM would change numbers.
 *
 * Promise  No recursion; nesting is bounded by JSON_DEPTH_MAX.
 * Threads  Pure functions: any thread.
 */

#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 128

/*
 * 0 when the bytes are exactly one JSON value with optional white space
 * around it.  -EBADMSG: not JSON (or not UTF-8); *ret_at, if not NULL, is
 * then the index of the first offending byte (len: it ended too early).
 * -E2BIG: deeper than JSON_DEPTH_MAX.
 */
int json_check(const void *data, size_t len, size_t *ret_at);

/*
 * Writes text as a JSON string with its quotes, to out of out_size bytes; out
 * may be NULL with out_size 0 to learn the length.  text must be UTF-8.
 * Returns the bytes needed; nothing is written past out_size, no NUL added.
 */
size_t json_put_string(
    char *out, size_t out_size, const char *text, size_t text_len);

#endif
