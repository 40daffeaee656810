#ifndef DAEMON_CTL_DIAL_H
#define DAEMON_CTL_DIAL_H

/*
 * dial: one connection to the server, made again whenever it is lost.
 *
 * Life      dial_init -> dial_start -> (opened -> message* -> lost)* ->
 *           dial_close -> over -> dial_fini; or gave_up, which has been said,
 *           and then dial_close.
 * Threads   LOOP_THREAD, the callbacks too.
 */

#include "daemon/ctl/retry.h"
#include "daemon/ctl/session.h"
#include "daemon/lws/client.h"

struct dial_ops {
	const char *subprotocol; /* NULL: none */
	const char *const *wanted; /* headers of the answer, or NULL */
	const char *advice; /* where the server does not know this; or NULL */
	/* What to ask for, below the URL's own path. */
	void (*path)(char *out, size_t size, void *arg);
	void (*opened)(struct client *client, void *arg);
	void (*message)(
	    enum client_kind kind, const void *data, size_t len, void *arg);
	void (*room)(struct client *client, void *arg); /* as client_ops */
	void (*lost)(uint16_t code, const char *reason, size_t len, void *arg);
	void (*gave_up)(void *arg);
	void (*over)(void *arg); /* there is no connection, and will be none */
};

/* For who shows none where one is wanted. */
#define DIAL_TOKEN_ADVICE "a token is given with --token-file"

struct dial {
	struct session *session;
	const struct dial_ops *ops;
	void *arg;
	bool states; /* tell them on stderr */
	struct client *client; /* NULL: waiting to connect, or over */
	struct addresses addresses;
	struct retry retry;
	unsigned refusals; /* of tokens, in a row */
	es_call *again;
	es_call *watch; /* while there is a connection that is open */
	uint64_t heard; /* as the last watch saw it */
	bool pinged; /* and nothing came since */
	es_usec opened_at;
	es_usec hint; /* when to come back, said by the server; -1: not */
	bool paused, closing;
};

void dial_init(struct dial *dial, struct session *session,
    const struct dial_ops *ops, void *arg, bool states) LOOP_THREAD;
void dial_start(struct dial *dial) LOOP_THREAD;
/* Says goodbye if it is connected, with that code; tries no more. */
void dial_close(
    struct dial *dial, uint16_t code, const char *reason) LOOP_THREAD;
void dial_fini(struct dial *dial) LOOP_THREAD; /* no callback comes after it */

bool dial_is_over(const struct dial *dial) LOOP_THREAD;
void dial_pause(struct dial *dial, bool paused) LOOP_THREAD;

/* A line about the connection, if states are to be told. */
void dial_tell(const struct dial *dial, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
