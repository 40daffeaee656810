/*
 * 001_46b09f09b7115f18.txt, "another common use" of stop(), the listing that
 * is cut to its last line: on SIGINT or SIGTERM stop the loop, then close it.
 * The signal comes while the loop waits, and its handler is a call like any
 * other: nothing runs in signal context.
 *
 * > SIGINT: stop
 * > stopped
 * > listener: cancelled, said goodbye
 * > closed
 * > SIGTERM: stop
 * > stopped
 * > listener: cancelled, said goodbye
 * > closed
 */

#include "tests/seeds/seeds.h"

#include <pthread.h>
#include <signal.h>

static int
listener(void *arg, es_value *ret)
{
	int r = es_sleep(ES_FOREVER);

	(void)arg;
	(void)ret;
	es_shield_begin(ES_S(5));
	if (es_sleep(ES_MS(1)) == 0)
		say("listener: %s, said goodbye",
		    r == -ECANCELED ? "cancelled" : "?");
	es_shield_end();
	return r;
}

static void
stop_on_signal(int signo, const struct signalfd_siginfo *info, void *arg)
{
	(void)info;
	say("%s: stop", signo == SIGINT ? "SIGINT" : "SIGTERM");
	es_loop_stop(arg);
}

/* Somebody, some time later. */
static void *
kill_us(void *arg)
{
	block_for(SECOND);
	(void)kill(getpid(), *(const int *)arg);
	return NULL;
}

static void
serve_until(int signo)
{
	es_loop *loop = new_loop();
	pthread_t thread;

	(void)must(es_add_signal_handler(loop, SIGINT, stop_on_signal, loop),
	    "SIGINT");
	(void)must(es_add_signal_handler(loop, SIGTERM, stop_on_signal, loop),
	    "SIGTERM");
	es_future_unref(spawn(loop, "listener", listener, NULL));
	(void)must(
	    -pthread_create(&thread, NULL, kill_us, &signo), "pthread_create");
	(void)must(es_loop_run(loop), "run");
	say("stopped");
	close_loop(loop);
	say("closed");
	(void)pthread_join(thread, NULL); /* it has ended */
}

int
main(void)
{
	static const int signos[] = { SIGINT, SIGTERM, 0 };

	(void)must(es_signals_block(signos), "es_signals_block");
	serve_until(SIGINT);
	serve_until(SIGTERM);
	return 0;
}
