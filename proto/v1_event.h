#ifndef PROTO_V1_EVENT_H
#define PROTO_V1_EVENT_H

/*
 * v1_event: what an earshot.v1 server sends, as a client reads it.
 *
 * Promise  Members and objects of a later version are passed over: what is
 *          known of an object is read, an unknown one is V1_EVENT_UNKNOWN.
 * Memory   As v1.h: parsed in place, results point into the text.
 * Threads  Pure functions: any thread.
 */

#include "proto/message.h"
#include "proto/position.h"
#include "proto/v1.h"

enum v1_event_kind {
	V1_EVENT_MESSAGE,
	V1_EVENT_OK,
	V1_EVENT_ERROR,
	V1_EVENT_GAP,
	V1_EVENT_CLOSING,
	V1_EVENT_NOTICE,
	V1_EVENT_UNKNOWN,
};

struct v1_text {
	const char *text; /* NULL: not there */
	size_t len;
};

struct v1_event {
	enum v1_event_kind kind;
	int64_t id; /* ok, error; V1_NO_ID: none */
	struct message message; /* message; its epoch is not told: 0 */
	struct v1_text channel; /* ok, gap */
	bool has_position; /* ok of a subscribe or publish */
	struct position position;
	bool recovered; /* ok of a subscribe */
	struct v1_text code, text; /* error: for programs, for people */
	int64_t gap_from, gap_to; /* gap */
	struct v1_text reason; /* closing */
	int64_t retry_after_ms; /* closing; -1: not told */
	struct v1_text upstream, state; /* notice */
};

/*
 * One text message of the server.  -EBADMSG: not JSON, or a member that is
 * known is not of its type: this is no earshot.v1.
 */
int v1_parse_event(uint8_t *text, size_t len, struct v1_event *ret_event);

#endif
