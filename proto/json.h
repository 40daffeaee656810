#ifndef PROTO_JSON_H
#define PROTO_JSON_H

/*
 * json: is this one JSON text (RFC 8259)?  A scanner, not a parser: payloads
 * are embedded verbatim, a DOM would change numbers.
 *
 * Promise  No recursion; nesting is bounded by JSON_DEPTH_MAX.
 * Threads  Pure functions: any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 128
#define JSON_ENVELOPE_DEPTH_MAX 8 /* of what we put around a payload */

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

/* How many bytes at the start stand in a JSON string as they are. */
size_t json_plain_bytes(const void *data, size_t len);

/* Writes the escape of c, a byte that does not; returns its length. */
#define JSON_ESCAPE_MAX 6
size_t json_put_escape(char out[static JSON_ESCAPE_MAX], uint8_t c);

/*
 * Decodes the inside of a JSON string (json_member_string()) where it stands.
 * The new length, or -EILSEQ: an escape of half a surrogate pair, which is no
 * character; the text is then partly decoded.
 */
int64_t json_unescape(char *text, size_t len);

/*
 * The members of an object one after the other, as spans of the text, which
 * is UTF-8.  Each value is checked as it is passed, so that a fault is seen
 * when the walk comes to it.  Spans that were given out may be written on.
 */
struct json_members {
	uint8_t *text;
	size_t at, len;
	unsigned depth_max;
	bool first;
};

struct json_member {
	char *key; /* without quotes, still escaped */
	size_t key_len;
	uint8_t *value;
	size_t value_len;
};

/*
 * text is one object with optional white space around it; values may be
 * nested depth_max deep (JSON_DEPTH_MAX, and what an envelope adds).
 * -EBADMSG: it does not begin an object.
 */
int json_members_begin(
    struct json_members *members, void *text, size_t len, unsigned depth_max);

/*
 * 1: a member; 0: there are no more and nothing follows; -EBADMSG: not JSON,
 * members->at is the index of the first offending byte; -E2BIG: too deep.
 */
int json_members_next(
    struct json_members *members, struct json_member *ret_member);

/* Whether the value is a string; its inside, still escaped. */
bool json_member_string(
    const struct json_member *member, char **ret_text, size_t *ret_len);

/*
 * Whether the value is an integer within int64_t, written in digits alone:
 * neither 1.0 nor 1e3 nor -0.
 */
bool json_member_integer(const struct json_member *member, int64_t *ret_value);

#endif
