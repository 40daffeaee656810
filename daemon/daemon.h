#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

/*
 * daemon: what the files of the roof share; included by nobody below.
 *
 * Threads  Fields are the main thread's unless they say otherwise.
 */

#include "conf/conf.h"
#include "daemon/auth/token.h"
#include "daemon/feed/feed.h"
#include "daemon/handler/handler.h"
#include "daemon/loop/loop.h"
#include "daemon/net/net.h"
#include "systemd/listen.h"
#include "systemd/notify.h"

#define RELOAD_REQUESTS_MAX 16 /* waiting for one; above control's own */
#define RELOAD_NOBODY UINT64_MAX /* nobody waits for an answer */

#ifndef EARSHOT_VERSION
#define EARSHOT_VERSION "0.1.0"
#endif

struct daemon {
	struct conf *conf; /* the one that holds */
	struct keyring *keyring; /* until the net room has it */
	const char *conf_path;
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

	struct { /* control.c, the net loop's */
		char path[CONF_CONTROL_PATH_MAX];
		int64_t reloaded_us; /* tried last; 0: not yet */
		bool reload_failed;
		char fault[512]; /* the first one then */
	} control;

	struct { /* reload.c */
		bool running, again;
		es_future *task;
		uint64_t requests[RELOAD_REQUESTS_MAX]; /* for the next */
		unsigned request_count;
	} reload;

	struct { /* drain.c */
		bool running;
		bool stopping_due; /* STOPPING=1 is still to be told */
		es_usec began, cut_by; /* cut_by: the net loop's */
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
void drain_begin(struct daemon *daemon); /* or it has begun */

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

/*
 * Reads the configuration again and applies it, or tells why not; request,
 * unless it is RELOAD_NOBODY, gets the answer.
 */
void reload_begin(struct daemon *daemon, uint64_t request);
/* The drain is through, from its task: none runs any more. */
void reload_end(struct daemon *daemon);
void reload_fini(struct daemon *daemon);

/* On the net loop, between net_open() and net_listen(). */
void control_open(struct daemon *daemon);
void control_log_state(void *arg); /* daemon; a call on the net loop */
/* How the last reload went; fault: the first one, or "". */
void control_reloaded(struct daemon *daemon, bool ok, const char *fault);

/* Linked into the test build only, tests/lab/hooks.c; NULL in the product. */
void test_hooks(struct daemon *daemon) __attribute__((weak));

/*
 * upstreams.c: what feeds tell handlers of upstreams, for feeds_start(); and
 * the way back.
 */
const struct feed_hooks *upstreams_hooks(struct daemon *daemon) LOOP_THREAD;

/* metrics.c: the feeds in /metrics, for net_add_metrics(). */
int metrics_put_feeds(struct buffer *out, void *arg);

#endif
