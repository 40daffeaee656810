#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

/*
 * daemon: what the files of the roof share; included by nobody below.
 *
 * Threads  Fields are the main thread's unless they say otherwise.
 */

#include "conf/conf.h"
#include "daemon/feed/feed.h"
#include "daemon/loop/loop.h"
#include "daemon/net/net.h"

struct daemon {
	struct conf *conf; /* unchanged once threads run */
	es_loop *main_loop, *net_loop;
	es_loop_thread *net_thread;
	es_executor *sys;
	unsigned fds_max;

	struct net *net; /* the net loop's */
	struct feeds *feeds; /* the net loop's */
	struct net_fault fault;

	es_call *heartbeat;
	uint64_t messages_out; /* at the last heartbeat */
	es_usec heartbeat_at;

	struct { /* drain.c */
		bool running;
		es_usec began;
		uint64_t consumers; /* when it began; 0: not known yet */
		es_call *deadline, *last_resort;
		struct net_drained result;
	} drain;
};

/*
 * SIGTERM and SIGINT: the first begins to drain, one 200 ms later or more
 * skips the waiting.  Ends with es_loop_stop() on the main loop.
 */
void drain_on_signal(struct daemon *daemon);

/* What the drain came to: the process' exit code, 0 or 3. */
int drain_exit_code(const struct daemon *daemon);

/* The main loop has ended: no timer of the drain comes any more. */
void drain_fini(struct daemon *daemon);

/* STATUS and watchdog, as long as the net loop answers. */
int heartbeat_start(struct daemon *daemon);
void heartbeat_stop(struct daemon *daemon);

#endif
