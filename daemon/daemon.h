#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

/*
 * daemon: what the files of the roof share; included by nobody below.
 *
 * Threads  Fields are the main thread's unless they say otherwise.
 */

#include "conf/conf.h"
#include "daemon/feed/feed.h"
#include "daemon/handler/handler.h"
#include "daemon/loop/loop.h"
#include "daemon/net/net.h"
#include "systemd/listen.h"
#include "systemd/notify.h"

struct daemon {
	struct conf *conf; /* unchanged once threads run */
	es_loop *main_loop, *net_loop;
	es_loop_thread *net_thread;
	es_executor *sys, *work;
	unsigned fds_max;

	struct net *net; /* the net loop's */
	struct feeds *feeds; /* the net loop's */
	struct handlers *handlers; /* the net loop's */
	struct net_fault fault;
	struct listen_sockets passed; /* by systemd; unchanged, as conf is */

	struct { /* heartbeat.c */
		es_call *timer;
		bool asking; /* the net loop owes an answer */
		es_usec asked_at, told_at;
		es_usec stuck_since; /* of the call that was named last */
		uint64_t messages_out; /* when told */
		bool ready_due; /* READY=1 is still to be told */
		char status[NOTIFY_STATUS_BYTES_MAX]; /* as told last */
	} heartbeat;

	struct { /* drain.c */
		bool running;
		bool stopping_due; /* STOPPING=1 is still to be told */
		es_usec began;
		uint64_t consumers; /* when it began; 0: not known yet */
		es_future *task, *step; /* step: settled on the net loop */
		bool forced;
		struct net_drained result;
		uint64_t callbacks_left; /* that time was up for */
	} drain;
};

/*
 * SIGTERM and SIGINT: the first begins to drain, one 200 ms later or more
 * skips the waiting.  Ends with es_loop_stop() on the main loop.
 */
void drain_on_signal(struct daemon *daemon);

/* What the drain came to: the process' exit code, 0 or 3. */
int drain_exit_code(const struct daemon *daemon);

/* The main loop has ended, and the drain's task with it. */
void drain_fini(struct daemon *daemon);

/* STOPPING=1; again later when the manager does not take it. */
void drain_tell(struct daemon *daemon);

/* STATUS and watchdog, as long as the net loop answers.  -ENOMEM. */
int heartbeat_start(struct daemon *daemon);
void heartbeat_ready(struct daemon *daemon); /* every listener accepts */
void heartbeat_hasten(struct daemon *daemon); /* more often, from now on */
void heartbeat_stop(struct daemon *daemon);

/* Linked into the test build only, tests/lab/hooks.c; NULL in the product. */
void test_hooks(struct daemon *daemon) __attribute__((weak));

/* metrics.c: the feeds in /metrics, for net_add_metrics(). */
int metrics_put_feeds(struct buffer *out, void *arg);

#endif
