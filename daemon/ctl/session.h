#ifndef DAEMON_CTL_SESSION_H
#define DAEMON_CTL_SESSION_H

/*
 * session: one run of a command: its loop, its connections' ground, its end.
 *
 * Life      session_run() makes them -> task.start -> calls and callbacks ->
 *           session_finish() -> task.end -> session_run() returns.
 * Threads   Everything on the thread of session_run(), which is the loop's.
 */

#include "daemon/ctl/bearer.h"

#include <netinet/in.h>

#define SESSION_ADDRESSES_MAX 8
#define SESSION_CONNECT_TIMEOUT ES_S(10) /* for each address */

struct session;

struct session_task {
	void (*start)(struct session *session, void *arg);
	void (*before_wait)(void *arg); /* nothing else to do; may be NULL */
	void (*end)(void *arg); /* frees what hangs on the loop */
};

struct session {
	const struct ctl_options *options;
	const struct session_task *task;
	void *arg;
	es_loop *loop;
	struct glue *glue;
	struct outbound *outbound;
	struct bearer bearer;
	int exit_code;
	bool finished;
};

/* The exit code.  What goes wrong here has been said. */
int session_run(const struct ctl_options *options,
    const struct session_task *task, void *arg);

/* Ends the run; the first call's code counts. */
void session_finish(struct session *session, int exit_code);

/* Where the server may be found, tried one after the other. */
struct addresses {
	char text[SESSION_ADDRESSES_MAX][INET6_ADDRSTRLEN];
	unsigned count, next; /* next: the one not tried yet */
};

/* Resolves, which may block.  false: no address, and text says why. */
bool addresses_find(struct addresses *addresses, const struct url *url,
    char text[static CTL_TEXT_MAX]);

/* The next one as a peer; false: all were tried. */
bool addresses_next(struct addresses *addresses, const struct url *url,
    struct outbound_peer *ret_peer);

uint64_t session_random(void);

/*
 * A server's {"error":{"code","message"}} as "CODE: MESSAGE", made printable;
 * false: it is none.
 */
bool session_error_text(
    const void *body, size_t len, char out[static CTL_TEXT_MAX]);

#endif
