#ifndef DAEMON_LWS_CLIENT_H
#define DAEMON_LWS_CLIENT_H

/*
 * client: one outgoing WebSocket connection (RFC 6455).
 *
 * Life      client_open -> on_open -> on_message* -> on_close -> client_free;
 *           or client_open -> on_error -> client_free.  client_free() may come
 *           at any time, also from inside a callback; none comes after it.
 * Order     Messages arrive and leave in order, each whole.
 * Promise   Exactly one of on_close and on_error, and never from inside
 *           client_open(); on_close when the socket is gone.  Text that
 *           arrives is UTF-8.  What we send is never compressed; what arrives
 *           may be, if that was offered and agreed on (RFC 7692).
 * Memory    What is in the queue (queue_bytes_max), one message as it arrives
 *           (message_bytes_max, inflated); with compression 55 KiB, and one
 *           read's worth as it came while it is paused.
 * Threads   LOOP_THREAD; callbacks run on it, inside the library's: they must
 *           not close the glue or the outbound.
 */

#include "daemon/lws/outbound.h"

#include <stddef.h>
#include <stdint.h>

#define CLIENT_REASON_MAX 123 /* RFC 6455 section 5.5 */
#define CLIENT_WANTED_MAX 4 /* headers kept of one answer */
#define CLIENT_HEADER_VALUE_MAX 256 /* of a kept one, with its NUL */
#define CLIENT_BODY_MAX 4096 /* of an answer that is no 101 */

enum client_kind { CLIENT_TEXT, CLIENT_BINARY };

struct client;

struct client_error {
	unsigned status; /* of the answer, if there was one; else 0 */
	const char *text; /* what happened, the status included */
	const void *body; /* as much of the answer's as came with its head */
	size_t body_len;
};

struct client_ops {
	void (*on_open)(struct client *client, void *arg);
	void (*on_message)(struct client *client, enum client_kind kind,
	    const void *data, size_t len, void *arg);
	/*
	 * The code is the peer's, or ours if we closed first; 1005 when it
	 * sent none, 1006 when the connection just ended.
	 */
	void (*on_close)(struct client *client, uint16_t code,
	    const char *reason, size_t reason_len, void *arg);
	void (*on_error)(
	    struct client *client, const struct client_error *error, void *arg);
	void (*on_room)(struct client *client, void *arg); /* may be NULL */
	void (*on_pong)(struct client *client, void *arg); /* likewise */
	/* A message has left the queue, in its turn; may be NULL. */
	void (*on_sent)(struct client *client, size_t len, void *arg);
};

struct client_options {
	struct outbound_peer peer;
	const char *path; /* begins with '/', with its query */
	const char *subprotocol; /* NULL: none; else the peer must agree */
	const char *const *headers; /* "Name: value", NULL ends; may be NULL */
	const char *const *wanted; /* names in lower case; as headers */
	bool compression; /* permessage-deflate is offered */
	size_t message_bytes_max; /* a longer one: closed with 1009 */
	size_t queue_bytes_max; /* payload waiting to be sent */
	es_usec connect_timeout; /* until on_open */
	es_usec close_timeout; /* from client_close() to the end */
};

/*
 * Connects.  ops is borrowed for the client's life, options only for the call.
 * -EINVAL: an address that is not numeric, a path or header that would break
 * the request, more than CLIENT_WANTED_MAX wanted ones, TLS to a bare IPv6
 * address (whose certificate the library cannot check).  -ENOMEM, -ESHUTDOWN.
 */
int client_open(struct outbound *outbound, const struct client_options *options,
    const struct client_ops *ops, void *arg,
    struct client **ret_client) LOOP_THREAD;

/* Ends it without ceremony if it has not ended.  NULL: no-op. */
void client_free(struct client *client) LOOP_THREAD;

/*
 * Queues a copy.  -EAGAIN: the queue is full, on_room comes when half of it is
 * free.  -EMSGSIZE: longer than the whole queue.  -EILSEQ: text that is not
 * UTF-8.  -ENOTCONN: not open, or closing.  -ENOMEM.
 */
int client_send(struct client *client, enum client_kind kind, const void *data,
    size_t len) LOOP_THREAD;

/*
 * Close with that code and reason (cut at CLIENT_REASON_MAX) after what is
 * queued; what still arrives is dropped.  Before on_open: it ends, with
 * on_error.  The first call counts.
 */
void client_close(
    struct client *client, uint16_t code, const char *reason) LOOP_THREAD;

/* A ping, soon; on_pong comes if the peer answers.  Two in a row are one. */
void client_ping(struct client *client) LOOP_THREAD;

/*
 * Grows with every sign of life of the peer: bytes of a message, be it whole or
 * not, and pongs.
 */
uint64_t client_heard(const struct client *client) LOOP_THREAD;

/*
 * After a pause up to one read's worth of messages may still come, but none
 * where compression was agreed on; and none from inside client_resume().
 */
void client_pause(struct client *client) LOOP_THREAD;
void client_resume(struct client *client) LOOP_THREAD;

/*
 * Whether compression was agreed on, from on_open on; and how many bytes of
 * compressed payload have come.
 */
bool client_compresses(const struct client *client) LOOP_THREAD;
uint64_t client_packed_bytes(const struct client *client) LOOP_THREAD;

/* A wanted header's value from on_open on; NULL: the answer had none. */
const char *client_header(
    const struct client *client, const char *name) LOOP_THREAD;

#endif
