/*
 * earshotd: arguments, start order, signals, and the order of the end.
 *
 * The happy path: read and check the configuration -> systemd's sockets -> log
 * writer -> two loops, two executors -> on the net loop: hub and glue ->
 * plugins -> on the net loop: listeners, feeds -> READY=1 ->
 * the main loop runs until the drain stops it -> executors, net loop, main
 * loop, log, in that order -> exit 0.
 *
 * What can go wrong: exit 1 for the configuration, every fault told; 2 for
 * what cannot be started; 3 when the drain was forced (daemon/drain.c).
 */

#include "daemon/base/clock.h"
#include "daemon/base/events.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/daemon.h"
#include "systemd/journal.h"
#include "systemd/notify.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define EXIT_CONFIGURATION 1
#define EXIT_START 2
#define EXIT_FORCED 3
#define FDS_RESERVE 256 /* beside connections, feeds and processes */
#define NET_SLOW_US ES_MS(20)
#define WORK_JOBS_MAX 4096 /* plugins' own, beside one a connection */
#define WORK_END_US ES_S(1) /* the drain has had its time before */

static const char *arg_conf = "/etc/earshot/earshot.conf";
static bool arg_check, arg_limits;

static void
usage(FILE *out)
{
	(void)fputs(
	    "earshotd [-c FILE] [--check] [--limits] [--version] [--help]\n"
	    "\n"
	    "  -c, --config FILE  read FILE and FILE's .d folder\n"
	    "                     (/etc/earshot/earshot.conf)\n"
	    "      --check        tell every fault of the configuration, end\n"
	    "      --limits       print every limit and what happens there, "
	    "end\n"
	    "      --version      print the version, end\n"
	    "\n"
	    "Runs in the foreground. SIGTERM and SIGINT drain, a second one\n"
	    "hurries. Exit: 0 clean, 1 configuration, 2 could not start,\n"
	    "3 drain forced. See earshotd(8), earshot.conf(5).\n",
	    out);
}

/* 0: go on; else the exit code plus 1. */
static int
parse_arguments(int argc, char **argv)
{
	enum { CHECK = 256, LIMITS, VERSION };
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, CHECK },
		{ "limits", no_argument, NULL, LIMITS },
		{ "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
		switch (option) {
		case 'c':
			arg_conf = optarg;
			break;
		case CHECK:
			arg_check = true;
			break;
		case LIMITS:
			arg_limits = true;
			break;
		case VERSION:
			(void)puts("earshotd " EARSHOT_VERSION);
			return EXIT_SUCCESS + 1;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS + 1;
		default:
			usage(stderr);
			return EXIT_CONFIGURATION + 1;
		}
	if (optind == argc)
		return 0;
	(void)fprintf(
	    stderr, "earshotd: %s: expected no argument\n", argv[optind]);
	return EXIT_CONFIGURATION + 1;
}

struct faults {
	char first[512]; /* what the service manager shows */
	unsigned count;
};

static void
on_fault(const char *text, void *arg)
{
	struct faults *faults = arg;

	log_error("%s", text);
	if (faults->count++ == 0)
		(void)snprintf(
		    faults->first, sizeof(faults->first), "%s", text);
}

static void
tell_faults(const struct faults *faults)
{
	if (arg_check || arg_limits)
		return;
	(void)notify_errno(EINVAL, "%s", faults->first);
	if (journal_sink() == NULL)
		return; /* the faults say it all to who reads them */
	log_event(LOG_LEVEL_ERROR,
	    &(struct log_about){ .event = EVENT_CONFIGURATION_FAULT },
	    "not started: %u fault%s in the configuration", faults->count,
	    faults->count == 1 ? "" : "s");
}

/* The configuration that holds and the keys it names; NULL: faults, told. */
static struct conf *
load(struct keyring **ret_keyring)
{
	struct conf *conf = conf_new();
	struct faults faults = { .count = 0 };
	struct net_fault fault = { .configuration = true };
	int files = -ENOMEM, whole = -ENOMEM, keys;

	if (conf != NULL)
		files = conf_read_files(conf, arg_conf, on_fault, &faults);
	if (files >= 0)
		whole = conf_finish(conf, on_fault, &faults);
	if (files == 0 && whole == 0 && net_check(conf, &fault) < 0)
		on_fault(fault.text, &faults);
	keys =
	    whole >= 0 ? keyring_new(conf, on_fault, &faults, ret_keyring) : 0;
	if (files == 0 && whole == 0 && keys == 0 && faults.count == 0)
		return conf;
	if (keys == 0)
		keyring_unref(*ret_keyring);
	if (files < 0 || whole < 0 || keys < 0)
		on_fault("configuration: out of memory", &faults);
	tell_faults(&faults);
	conf_free(conf);
	return NULL;
}

static void
put_limit(const char *line, void *arg)
{
	(void)fprintf(arg, "%s\n", line);
}

/* What a connection and everything else may take; the limit is raised. */
static unsigned
raise_descriptors(const struct conf *conf)
{
	const rlim_t wanted = (rlim_t)conf->limits.connections_max +
			      (rlim_t)conf_descriptors(conf) + FDS_RESERVE;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_cur < wanted) {
		limit.rlim_cur =
		    wanted < limit.rlim_max ? wanted : limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* told below */
	}
	if (limit.rlim_cur < wanted)
		log_warn("limits.connections_max = %" PRId64
			 ", feeds and handlers need %" PRIu64
			 " descriptors, there are %" PRIu64 " (LimitNOFILE=)",
		    conf->limits.connections_max, (uint64_t)wanted,
		    (uint64_t)limit.rlim_cur);
	return limit.rlim_cur < wanted ? (unsigned)limit.rlim_cur
				       : (unsigned)wanted;
}

static void
on_term(int signo, const struct signalfd_siginfo *info, void *arg)
{
	(void)signo;
	(void)info;
	drain_on_signal(arg);
}

static void
on_hup(int signo, const struct signalfd_siginfo *info, void *arg)
{
	struct daemon *daemon = arg;

	(void)signo;
	(void)info;
	reload_begin(daemon, RELOAD_NOBODY);
}

static void
on_usr1(int signo, const struct signalfd_siginfo *info, void *arg)
{
	struct daemon *daemon = arg;

	(void)signo;
	(void)info;
	if (es_call_soon(daemon->net_loop, "state", control_log_state, daemon,
		NULL, NULL) < 0)
		log_warn("state: the net loop is closed");
}

static int
add_signals(struct daemon *daemon)
{
	static const struct {
		int signo;
		es_signal_fn fn;
	} signals[] = { { SIGTERM, on_term }, { SIGINT, on_term },
		{ SIGHUP, on_hup }, { SIGUSR1, on_usr1 } };
	size_t i;
	int error = 0;

	for (i = 0; i < sizeof(signals) / sizeof(*signals) && error == 0; i++)
		error = es_add_signal_handler(
		    daemon->main_loop, signals[i].signo, signals[i].fn, daemon);
	return error;
}

/* What systemd passed goes over to the net room. */
static int
listen_on_net(struct daemon *daemon) LOOP_THREAD
{
	const struct listen_sockets *passed = &daemon->passed;
	struct net_socket *sockets =
	    memory_alloc((passed->count + 1) * sizeof(*sockets));
	size_t i;
	int error;

	if (sockets == NULL)
		return -ENOMEM;
	for (i = 0; i < passed->count; i++)
		sockets[i] = (struct net_socket){ passed->items[i].fd,
			passed->items[i].name };
	error = net_listen(daemon->net, sockets, passed->count, &daemon->fault);
	memory_free(sockets);
	return error;
}

static void
on_notice(
    const char *channel, const char *upstream, const char *state, void *arg)
{
	struct daemon *daemon = arg;

	es_loop_assert(daemon->net_loop);
	net_notice(daemon->net, channel, upstream, state);
}

static int
open_handlers(struct daemon *daemon) LOOP_THREAD
{
	const struct handlers_rooms rooms = {
		.conf = daemon->conf,
		.hub = net_hub(daemon->net),
		.loop = daemon->net_loop,
		.work = daemon->work,
		.sys = daemon->sys,
		.ops = net_handler_ops(),
		.net = daemon->net,
		.slots = net_slots(daemon->net),
	};
	int error = handlers_new(&rooms, &daemon->handlers);

	if (error < 0) {
		(void)snprintf(daemon->fault.text, sizeof(daemon->fault.text),
		    "handlers: out of memory");
		return error;
	}
	net_set_handlers(daemon->net, daemon->handlers);
	net_add_metrics(daemon->net, handlers_put_metrics, daemon->handlers);
	return 0;
}

/* On the net loop; what fails is told through daemon->fault. */
static int
open_on_net(void *arg, es_value *ret)
{
	struct daemon *daemon = arg;
	int error;

	(void)ret;
	es_loop_assert(daemon->net_loop);
	error = net_open(daemon->conf, daemon->keyring, daemon->net_loop,
	    daemon->fds_max, &daemon->net, &daemon->fault);
	keyring_unref(daemon->keyring); /* the net room has its own */
	daemon->keyring = NULL;
	if (error == 0)
		error = open_handlers(daemon);
	if (error < 0)
		return error;
	control_open(daemon);
	return 0;
}

/* Plugins are loaded; what they do with what comes is theirs. */
static int
listen_and_feed(void *arg, es_value *ret)
{
	struct daemon *daemon = arg;
	int error;

	(void)ret;
	es_loop_assert(daemon->net_loop);
	error = listen_on_net(daemon);
	if (error < 0)
		return error;
	(void)snprintf(daemon->fault.text, sizeof(daemon->fault.text),
	    "feeds: out of memory");
	error = feeds_start(daemon->conf,
	    &(struct feeds_options){
		.hub = net_hub(daemon->net),
		.net = daemon->net_loop,
		.sys = daemon->sys,
		.glue = net_glue(daemon->net),
		.notice = on_notice,
		.hooks = upstreams_hooks(daemon),
		.arg = daemon,
	    },
	    &daemon->feeds);
	if (error == 0)
		net_add_metrics(daemon->net, metrics_put_feeds, daemon);
	return error;
}

static int
close_on_net(void *arg, es_value *ret)
{
	struct daemon *daemon = arg;

	(void)ret;
	es_loop_assert(daemon->net_loop);
	feeds_free(daemon->feeds);
	daemon->feeds = NULL; /* handlers still tell of their ends */
	net_close(daemon->net);
	handlers_free(daemon->handlers);
	return 0;
}

static int
disarm_on_net(void *arg, es_value *ret)
{
	struct daemon *daemon = arg;

	(void)ret;
	es_loop_assert(daemon->net_loop);
	handlers_disarm(daemon->handlers);
	return 0;
}

static int
run_on_net(struct daemon *daemon, const char *name, es_body_fn fn)
{
	es_future *f;
	const int error =
	    es_loop_invoke(daemon->net_loop, name, fn, daemon, NULL, &f);

	if (error < 0)
		return error;
	return es_await_take(f, ES_FOREVER, NULL);
}

static int
start_threads(struct daemon *daemon)
{
	int error;

	error = es_loop_new(&daemon->main_loop,
	    &(es_loop_opts){ .name = "main", .slow = NET_SLOW_US });
	if (error == 0)
		error = es_loop_new(&daemon->net_loop,
		    &(es_loop_opts){ .name = "net", .slow = NET_SLOW_US });
	if (error == 0)
		error = es_executor_new(&daemon->sys,
		    &(es_executor_opts){ .name = "sys", .threads = 4 });
	if (error == 0)
		error = es_executor_new(&daemon->work,
		    &(es_executor_opts){
			.name = "work",
			.background = true, /* the loops go first */
			.threads = (unsigned)daemon->conf->limits.work_threads,
			.queue_max =
			    (unsigned)daemon->conf->limits.connections_max +
			    WORK_JOBS_MAX,
		    });
	if (error == 0)
		error = add_signals(daemon);
	if (error == 0 && test_hooks != NULL)
		test_hooks(daemon);
	if (error == 0)
		error =
		    es_loop_thread_start(daemon->net_loop, &daemon->net_thread);
	if (error < 0)
		(void)snprintf(daemon->fault.text, sizeof(daemon->fault.text),
		    "threads: %s", strerror(-error));
	return error;
}

/* Some time there is always: who has ended must be able to say so. */
static es_usec
rest_until(es_usec end_us)
{
	const es_usec rest_us = end_us - clock_now_us();

	return rest_us > WORK_END_US / 10 ? rest_us : WORK_END_US / 10;
}

/*
 * The plugins, then their workers, while the net loop still runs.  How many
 * are left in the user's code.  end() is for a forced drain as well: a plugin
 * whose callbacks have come back may have threads, and they have the host.
 */
static int
stop_work(struct daemon *daemon)
{
	const es_usec end_us = clock_now_us() + WORK_END_US;
	int left = 0;

	if (daemon->work == NULL)
		return 0;
	left += handlers_unload(daemon->handlers, WORK_END_US);
	if (daemon->net_thread != NULL)
		(void)run_on_net(daemon, "disarm",
		    disarm_on_net); /* closed: nothing runs there */
	left += handlers_stop_threads(daemon->handlers, rest_until(end_us));
	left += es_executor_shutdown(
	    daemon->work, ES_EXEC_CANCEL, rest_until(end_us));
	return left;
}

/*
 * Workers may wait for what only the net loop settles: they end first.  Where
 * one does not, what it uses stays as it is, and the process ends with it.
 */
static int
stop_threads(struct daemon *daemon)
{
	int left = stop_work(daemon);

	if (left > 0)
		return left;
	left += es_executor_shutdown(daemon->sys, ES_EXEC_CANCEL, ES_S(2));
	if (daemon->net_thread != NULL) {
		if (run_on_net(daemon, "close", close_on_net) < 0)
			left++;
		left += es_loop_thread_stop(daemon->net_thread, ES_S(1)) != 0;
	}
	if (daemon->main_loop != NULL)
		left += es_loop_close(daemon->main_loop, 0) != 0;
	es_loop_unref(daemon->net_loop);
	es_loop_unref(daemon->main_loop);
	return left;
}

static int
start(struct daemon *daemon)
{
	int error = start_threads(daemon);

	if (error == 0)
		error = run_on_net(daemon, "open", open_on_net);
	if (error == 0)
		error = handlers_start(daemon->handlers, daemon->fault.text,
		    sizeof(daemon->fault.text));
	if (error == 0)
		error = run_on_net(daemon, "listen", listen_and_feed);
	if (error == 0)
		error = heartbeat_start(daemon);
	return error;
}

static void
leave(int code)
{
	log_error("threads are left behind, blocked");
	log_stop(ES_S(1));
	_exit(code);
}

static int
serve(struct daemon *daemon)
{
	int error = start(daemon), code;

	if (error < 0) {
		log_event(LOG_LEVEL_ERROR,
		    &(struct log_about){ .event = EVENT_START_FAILED }, "%s",
		    daemon->fault.text);
		(void)notify_errno(-error, "%s", daemon->fault.text);
		code = daemon->fault.configuration ? EXIT_CONFIGURATION
						   : EXIT_START;
		if (stop_threads(daemon) > 0)
			leave(code);
		return code;
	}
	heartbeat_ready(daemon);
	log_event(LOG_LEVEL_INFO, &(struct log_about){ .event = EVENT_READY },
	    "ready");
	error = es_loop_run(daemon->main_loop);
	heartbeat_stop(daemon);
	drain_fini(daemon);
	reload_fini(daemon);
	if (stop_threads(daemon) > 0)
		leave(EXIT_FORCED);
	return error < 0 ? EXIT_START : drain_exit_code(daemon);
}

static void
on_unusable_socket(const char *text, void *arg)
{
	(void)arg;
	log_event(LOG_LEVEL_WARN,
	    &(struct log_about){ .event = EVENT_SOCKET_UNUSABLE }, "%s", text);
}

int
main(int argc, char **argv)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0 };
	struct daemon daemon = { .fault = { .text = "could not start" } };
	int code = parse_arguments(argc, argv);

	if (code != 0)
		return code - 1;
	log_set_sink(journal_sink());
	daemon.conf_path = arg_conf;
	daemon.conf = load(&daemon.keyring);
	if (daemon.conf == NULL)
		return EXIT_CONFIGURATION;
	if (arg_limits)
		conf_print_limits(daemon.conf, put_limit, stdout);
	if (arg_check || arg_limits) {
		keyring_unref(daemon.keyring);
		conf_free(daemon.conf);
		return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_START;
	}
	log_set_level((enum log_level)daemon.conf->log_level);
	if (listen_take(&daemon.passed, on_unusable_socket, NULL) < 0 ||
	    es_signals_block(signals) < 0 || log_start() < 0) {
		log_error("sockets, signals or log writer: cannot start");
		keyring_unref(daemon.keyring);
		conf_free(daemon.conf);
		return EXIT_START;
	}
	/* The journal asks who we are at our first line: let it be early. */
	log_info("earshotd " EARSHOT_VERSION);
	daemon.fds_max = raise_descriptors(daemon.conf);
	code = serve(&daemon);
	listen_free(&daemon.passed);
	log_info("exit %d", code);
	log_stop(ES_S(1));
	keyring_unref(daemon.keyring);
	conf_free(daemon.conf);
	return code;
}
