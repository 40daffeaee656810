#ifndef PROTO_V1_H
#define PROTO_V1_H

/*
 * v1: the objects of subprotocol earshot.v1 (earshot.v1.md), both ways.
 *
 * Promise  The same message gives the same bytes, for ever.  Parsers take any
 *          bytes, without recursion.
 * Memory   Putting appends to out, which then has at most max bytes; failed:
 *          out is as long as before.  Parsing allocates nothing: strings are
 *          unescaped and base64 is decoded where they stand.  The text is the
 *          parser's to write on, results point into it.
 * Shape    What is put is one JSON object without a line end; a WebSocket
 *          frame around it is the caller's.
 * Threads  Pure functions: any thread.
 * Errors   v1_put_*: 0, -EMSGSIZE (longer than max), -ENOMEM.
 */

#include "daemon/base/buffer.h"
#include "proto/message.h"
#include "proto/position.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define V1_SUBPROTOCOL "earshot.v1"
#define V1_ID_MAX ((INT64_C(1) << 53) - 1)
#define V1_NO_ID INT64_C(-1) /* none could be read */
#define V1_FAULT_TEXT_MAX 192

/*
 * The longest command, so that a payload of that many bytes fits as JSON, as
 * base64 and as a text of which most is escaped.  A longer one is closed 1009.
 */
#define V1_COMMAND_BYTES_MAX(message_bytes_max) (3 * (message_bytes_max) + 4096)

/*
 * X(name, code, violation): a violation is the client's fault alone, and
 * counts towards the limit that closes the connection with 1008.
 */
#define V1_ERRORS(X)                                                           \
	X(BAD_JSON, "bad_json", true)                                          \
	X(BAD_COMMAND, "bad_command", true)                                    \
	X(UNKNOWN_COMMAND, "unknown_command", true)                            \
	X(BAD_ID, "bad_id", true)                                              \
	X(UNKNOWN_FIELD, "unknown_field", true)                                \
	X(MISSING_FIELD, "missing_field", true)                                \
	X(DUPLICATE_FIELD, "duplicate_field", true)                            \
	X(BAD_TYPE, "bad_type", true)                                          \
	X(BAD_CHANNEL, "bad_channel", true)                                    \
	X(BAD_FROM, "bad_from", true)                                          \
	X(BAD_UTF8, "bad_utf8", true)                                          \
	X(BAD_BASE64, "bad_base64", true)                                      \
	X(ALREADY_SUBSCRIBED, "already_subscribed", true)                      \
	X(NOT_SUBSCRIBED, "not_subscribed", false)                             \
	X(TOO_MANY_SUBSCRIPTIONS, "too_many_subscriptions", false)             \
	X(TOO_MANY_CHANNELS, "too_many_channels", false)                       \
	X(TOO_LARGE, "too_large", false)                                       \
	X(NOT_ALLOWED, "not_allowed", false)                                   \
	X(NO_TOKEN, "no_token", false)                                         \
	X(NO_ROOM, "no_room", false)                                           \
	X(NO_MEMORY, "no_memory", false)                                       \
	X(REFUSED, "refused", false)                                           \
	X(FILTER_FAILED, "filter_failed", false)                               \
	X(CLOSING, "closing", false)

enum v1_error {
#define V1_ERROR_NAME(name, code, violation) V1_ERROR_##name,
	V1_ERRORS(V1_ERROR_NAME)
#undef V1_ERROR_NAME
	    V1_ERROR_MAX
};

const char *v1_error_code(enum v1_error error);
bool v1_error_violation(enum v1_error error);

enum v1_command_kind { V1_SUBSCRIBE, V1_UNSUBSCRIBE, V1_PUBLISH, V1_PING };

struct v1_command {
	enum v1_command_kind kind;
	int64_t id;
	const char *channel; /* a valid name; NULL in a ping */
	size_t channel_len;
	struct from from; /* subscribe */
	enum message_kind message_kind; /* publish, and the two below */
	const uint8_t *payload; /* known to be UTF-8, JSON where it should */
	size_t payload_len;
};

struct v1_fault {
	int64_t id; /* V1_NO_ID: none could be read */
	enum v1_error error;
	char text[V1_FAULT_TEXT_MAX]; /* names the field */
};

/*
 * What a client sent, as the server reads it.  -EBADMSG: *ret_fault says why,
 * to be put by v1_put_error().  Of the two results one is written.
 */
int v1_parse_command(uint8_t *text, size_t len, struct v1_command *ret_command,
    struct v1_fault *ret_fault);

/* The command as a client sends it: v1_parse_command() reads the same. */
int v1_put_command(
    struct buffer *out, size_t max, const struct v1_command *command);

/* {"channel","offset","time","data" | "text" | "base64"} */
int v1_put_message(
    struct buffer *out, size_t max, const struct message *message);

/* Answers to the four commands. */
int v1_put_subscribed(struct buffer *out, size_t max, int64_t id,
    const char *channel, size_t channel_len, const struct position *position,
    bool recovered);
int v1_put_unsubscribed(struct buffer *out, size_t max, int64_t id,
    const char *channel, size_t channel_len);
int v1_put_published(struct buffer *out, size_t max, int64_t id,
    const struct position *position);
int v1_put_pong(struct buffer *out, size_t max, int64_t id);

/* id: V1_NO_ID for none.  text is UTF-8. */
int v1_put_error(struct buffer *out, size_t max, int64_t id,
    enum v1_error error, const char *text);

/* What no command asked for. */
int v1_put_gap(struct buffer *out, size_t max, const char *channel,
    size_t channel_len, int64_t from, int64_t to);
int v1_put_closing(
    struct buffer *out, size_t max, const char *reason, int64_t retry_after_ms);
int v1_put_notice(
    struct buffer *out, size_t max, const char *upstream, const char *state);

#endif
