#ifndef TESTS_SEEDS_SEEDS_H
#define TESTS_SEEDS_SEEDS_H

/*
 * seeds: what the programs of the texts share.
 *
 * Each program begins with the text and the listing it comes from, and with
 * the lines it prints, marked "> ".  A second of the texts is SECOND here.
 */

#include "daemon/loop/loop.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND ES_MS(100)

/* A line of output; seen at once, also by who reads a pipe. */
static inline void say(const char *fmt, ...) ES_PRINTF(1, 2);
static inline void
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	flockfile(stdout);
	(void)vprintf(fmt, ap); /* a closed stdout is the reader's affair */
	(void)putchar('\n');
	(void)fflush(stdout);
	funlockfile(stdout);
	va_end(ap);
}

/* Ends the program where something fails that the text takes for granted. */
static inline int
must(int r, const char *what)
{
	if (r >= 0)
		return r;
	(void)fprintf(stderr, "%s: %s\n", what, strerror(-r));
	exit(1);
}

static inline es_usec
now(void)
{
	return es_loop_time(NULL);
}

static inline es_future *
spawn(es_loop *loop, const char *name, es_body_fn fn, void *arg)
{
	es_future *f = NULL;

	(void)must(es_spawn(loop, name, fn, arg, NULL, &f), name);
	return f;
}

static inline es_loop *
new_loop(void)
{
	es_loop *loop = NULL;

	(void)must(es_loop_new(&loop, NULL), "es_loop_new");
	return loop;
}

static inline void
close_loop(es_loop *loop)
{
	(void)must(es_loop_close(loop, ES_S(10)), "es_loop_close");
	es_loop_unref(loop);
}

/* Blocks the thread, whatever runs on it: time.sleep(). */
static inline void
block_for(es_usec duration)
{
	struct timespec left = { .tv_sec = duration / 1000000,
		.tv_nsec = duration % 1000000 * 1000 };

	while (nanosleep(&left, &left) < 0)
		;
}

#endif
