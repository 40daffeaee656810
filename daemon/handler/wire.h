#ifndef DAEMON_HANDLER_WIRE_H
#define DAEMON_HANDLER_WIRE_H

/*
 * wire: events and commands as the lines of exec.md.
 *
 * Memory   Putting appends to out; failed, it is as long as before.  Getting
 *          writes on the line, what it gives points into that.
 * Threads  Quiet: pure functions.
 */

#include "daemon/handler/session.h"

#define WIRE_FAULT_BYTES_MAX 96

enum wire_kind {
	WIRE_DONE,
	WIRE_SEND,
	WIRE_PUBLISH,
	WIRE_CLOSE,
	WIRE_REFUSE,
	WIRE_SUBSCRIBE,
	WIRE_UNSUBSCRIBE,
	WIRE_CHANGE
};

struct wire_command {
	enum wire_kind kind;
	int64_t id; /* -1: no reply is wanted */
	uint64_t done;
	es_conn conn;
	uint64_t seq; /* of an event; 0: not given */
	const char *channel; /* NULL: not given */
	size_t channel_len;
	struct from from;
	enum message_kind message_kind; /* of payload; NULL: not given */
	const uint8_t *payload;
	size_t payload_len;
	uint16_t code; /* 0: not given */
	const char *reason; /* NULL: not given */
	size_t reason_len;
};

/* The event's line, with its end.  -ENOMEM. */
int wire_put_event(struct buffer *out, const struct session *session,
    const struct event *event);

/* -EBADMSG: ret_fault says what is wrong with it; conn is set if it names
 * one. */
int wire_get_command(uint8_t *line, size_t len,
    struct wire_command *ret_command, char ret_fault[WIRE_FAULT_BYTES_MAX]);

/*
 * Replies: {"reply":id,"ok":{…}} and {"reply":id,"error":{…}}, with that text
 * or, NULL, the error's own.
 */
int wire_put_ok(struct buffer *out, int64_t id, const struct position *position,
    const struct hub_answer *answer);
int wire_put_error(struct buffer *out, int64_t id, int error, const char *text);

#endif
