#ifndef DAEMON_LWS_CLIENT_INTERNAL_H
#define DAEMON_LWS_CLIENT_INTERNAL_H

/*
 * client_internal: a client's layout, for client.c (what its owner calls),
 * client_callback.c (what the library calls) and client_receive.c (what becomes
 * of what arrives).
 */

#include "daemon/base/buffer.h"
#include "daemon/base/list.h"
#include "daemon/lws/client.h"
#include "daemon/lws/outbound_internal.h"
#include "proto/deflate.h"
#include "proto/utf8.h"

struct outgoing {
	struct list node;
	enum client_kind kind;
	size_t len;
	uint8_t data[]; /* LWS_PRE bytes of room, then the payload */
};

struct kept_header {
	char name[64]; /* with its colon, as the library wants it */
	char value[CLIENT_HEADER_VALUE_MAX];
	bool there;
};

enum client_state { CONNECTING, OPEN, CLOSING, ENDED };

struct client {
	struct outbound *outbound;
	struct lws *wsi; /* NULL: not yet or no more */
	const struct client_ops *ops;
	void *arg;
	enum client_state state;
	bool opening; /* inside client_open() */
	bool was_open;
	es_call *deadline;

	char *headers; /* to be sent, with line ends */
	struct kept_header kept[CLIENT_WANTED_MAX];
	size_t kept_count;
	bool wants_subprotocol;

	/* What the library hands over, piece by piece */
	bool frame_open, arriving; /* there is more to come of it */
	struct list held; /* pieces that wait */
	es_call *again; /* goes on with them */
	bool paused; /* by the owner */
	bool resting; /* until again */
	bool unread; /* the glue was told not to read */

	size_t message_bytes_max;
	struct buffer message; /* the one that arrives */
	bool message_text, message_packed;
	struct utf8_state utf8;
	uint64_t heard;

	bool offers; /* permessage-deflate */
	struct inflate *inflate; /* NULL: not agreed on */
	bool keep_context;
	size_t since_rest; /* bytes that were inflated */
	uint64_t packed_bytes;

	struct list queue;
	size_t queue_bytes, queue_bytes_max;
	bool room_wanted, ping_wanted;

	es_usec close_timeout;
	uint16_t close_code; /* 0: nobody closes yet */
	bool close_sent;
	char reason[CLIENT_REASON_MAX];
	size_t reason_len;

	unsigned status; /* of the answer */
	char error[OUTBOUND_TEXT_MAX];
	struct buffer body;
};

/* The first error noted is the one that is told. */
void client_note_error(struct client *client, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void client_note_close(
    struct client *client, uint16_t code, const void *reason, size_t len);

/* Tells the owner; the client may be freed when this returns. */
void client_tell_end(struct client *client) LOOP_THREAD;
void client_clear_deadline(struct client *client) LOOP_THREAD;
void client_drop_outgoing(struct client *client, struct outgoing *outgoing);

/*
 * client_receive.c.  Where there is a result, < 0 means that the client was
 * freed by a callback.
 */
int client_receive(struct client *client, struct lws *wsi, const void *data,
    size_t len) LOOP_THREAD;
/* What waits is handed over now. */
int client_take_held(struct client *client, struct lws *wsi) LOOP_THREAD;
/* What waits is forgotten, nothing has to wait any more. */
void client_drop_held(struct client *client);
/* Lets the glue read if nothing has to wait. */
void client_sync_reading(struct client *client) LOOP_THREAD;
/* The peer broke the rules; what we still had to say is not said. */
void client_fail(
    struct client *client, uint16_t code, const char *why) LOOP_THREAD;

#endif
