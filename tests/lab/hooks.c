/*
 * What the test build of earshotd can do and the product cannot: SIGUSR2 makes
 * the net loop stand still in a call named "test hook", for ever or for
 * EARSHOT_TEST_BLOCK_MS.
 *
 * The test build is the product's own objects and this one: daemon/main.c
 * calls test_hooks() where it is linked.
 */

#include "daemon/daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void
stand_still(void *arg)
{
	const char *text = getenv("EARSHOT_TEST_BLOCK_MS");
	const long ms = text ? strtol(text, NULL, 10) : 0;
	const struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	(void)arg;
	do {
		(void)nanosleep(
		    ms > 0 ? &time : &(struct timespec){ 3600, 0 }, NULL);
	} while (ms == 0);
}

static void
on_usr2(int signo, const struct signalfd_siginfo *info, void *arg)
{
	struct daemon *daemon = arg;

	(void)signo;
	(void)info;
	if (es_call_soon(daemon->net_loop, "test hook", stand_still, daemon,
		NULL, NULL) < 0)
		abort();
}

void
test_hooks(struct daemon *daemon)
{
	static const int signals[] = { SIGUSR2, 0 };

	if (es_signals_block(signals) < 0 ||
	    es_add_signal_handler(daemon->main_loop, SIGUSR2, on_usr2, daemon) <
		0)
		abort();
}
