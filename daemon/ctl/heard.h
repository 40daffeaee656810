#ifndef DAEMON_CTL_HEARD_H
#define DAEMON_CTL_HEARD_H

/*
 * heard: what an earshot.v1 server's words mean for `earshot sub`.
 *
 * Life      hearing_init -> for each connection: (hearing_ask, hear)*, then
 *           hearing_forget -> hearing_fini.
 * Shape     Command ids: the channel's index + 1; HEARING_PING_ID.
 * Promise   A message is HEARD_MESSAGE only if it is the next of its channel:
 *           what a server leaves out without a word is a HEARD_FAULT.
 * Threads   Quiet: the caller serialises.
 */

#include "daemon/ctl/ctl.h"
#include "daemon/ctl/place.h"
#include "proto/position.h"
#include "proto/v1_event.h"

#define HEARING_PING_ID 0

enum hearing_state {
	HEARING_NOT, /* to be asked for */
	HEARING_ASKED, /* not answered yet */
	HEARING_YES,
	HEARING_LATER, /* refused for now */
};

struct hearing {
	struct places *places; /* the first `count` are listened to */
	size_t count;
	struct from from; /* where to begin what has no position */
	struct hearing_channel {
		enum hearing_state state;
		struct from asked;
	} * channels;
	size_t asked; /* how many are HEARING_ASKED */
};

enum heard_kind {
	HEARD_NOTHING, /* of no interest */
	HEARD_MESSAGE, /* of that channel, the next one: take it */
	HEARD_BEGUN, /* that channel; the text, if any, is to be told */
	HEARD_NOTICE, /* the text is to be told */
	HEARD_LATER, /* that channel is to be asked for again */
	HEARD_REFUSED, /* that channel, or (HEARD_NO_CHANNEL) all: the end */
	HEARD_CLOSING, /* the connection will be closed */
	HEARD_FAULT, /* this is no earshot.v1: close with 1002 */
};

#define HEARD_NO_CHANNEL SIZE_MAX

struct heard {
	enum heard_kind kind;
	size_t index; /* of the channel, if there is one */
	struct place *place; /* likewise */
	int64_t retry_after_us; /* HEARD_CLOSING; -1: not told */
	bool no_token; /* HEARD_REFUSED, for want of one */
	char text[2 * CTL_TEXT_MAX]; /* a line to be said; "": none */
};

/* -ENOMEM. */
int hearing_init(struct hearing *hearing, struct places *places, size_t count,
    const struct from *from);
void hearing_fini(struct hearing *hearing); /* zeroes: no-op */

/* The connection is over: nothing is asked for or heard. */
void hearing_forget(struct hearing *hearing);

/* The command that asks for a channel from where it has to go on. */
void hearing_ask(
    struct hearing *hearing, size_t index, struct v1_command *ret_command);
/* It was not sent after all. */
void hearing_unask(struct hearing *hearing, size_t index);
/* What was refused for now is to be asked for. */
void hearing_retry(struct hearing *hearing, size_t index);

/*
 * Positions move as the server says, but for messages: what becomes of those
 * only their taker knows.  *ret: of the text only its first byte is written
 * where there is nothing to say.
 */
void hear(
    struct hearing *hearing, const struct v1_event *event, struct heard *ret);

#endif
