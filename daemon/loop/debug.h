#ifndef DAEMON_LOOP_DEBUG_H
#define DAEMON_LOOP_DEBUG_H

/*
 * debug: what a build with ES_DEBUG does besides (make DEBUG=1 B=...).
 *
 * Promise   A name given to a call, task, job, watch, generator or future
 *           carries the file and line it was given at: "NAME at FILE:LINE" in
 *           reports, in the log and in es_loop_stats.busy_with.  A future of
 *           es_future_new() has that for a name.  What would be -EPERM aborts,
 *           with the name of the function in the log.  Objects are
 *           overwritten when they are freed.
 * Memory    The texts are static: as many as there are places in the source,
 *           at most ES_PLACES_MAX; a name beyond stays as it was given.
 * Threads   ANY_THREAD.
 *
 * Without ES_DEBUG there is nothing here, and nothing is paid for it.
 */

#ifdef ES_DEBUG

#include "daemon/loop/future.h"

#define ES_PLACES_MAX 4096
#define ES_PLACE_BYTES_MAX 128

/* The text of name, which may be NULL, and place; both are static strings. */
const char *es_debug_name(const char *name, const char *place) ANY_THREAD;

/* For tests that misuse on purpose: false, and misuse is -EPERM again. */
void es_debug_aborts(bool on) ANY_THREAD;

static inline es_future *
es_debug_future(es_future *f, const char *name)
{
	if (f)
		es_future_set_name(f, name);
	return f;
}

#define ES_TEXT_OF(x) #x
#define ES_LINE_TEXT(line) ES_TEXT_OF(line)
#define ES_NAMED(name)                                                         \
	es_debug_name((name), __FILE__ ":" ES_LINE_TEXT(__LINE__))

#ifndef ES_INSIDE
#define es_call_soon(l, name, ...) es_call_soon(l, ES_NAMED(name), __VA_ARGS__)
#define es_call_later(l, delay, name, ...)                                     \
	es_call_later(l, delay, ES_NAMED(name), __VA_ARGS__)
#define es_call_at(l, when, name, ...)                                         \
	es_call_at(l, when, ES_NAMED(name), __VA_ARGS__)
#define es_loop_invoke(l, name, ...)                                           \
	es_loop_invoke(l, ES_NAMED(name), __VA_ARGS__)
#define es_spawn(l, name, ...) es_spawn(l, ES_NAMED(name), __VA_ARGS__)
#define es_group_spawn(g, name, ...)                                           \
	es_group_spawn(g, ES_NAMED(name), __VA_ARGS__)
#define es_stream_spawn(l, name, ...)                                          \
	es_stream_spawn(l, ES_NAMED(name), __VA_ARGS__)
#define es_executor_submit(e, key, name, ...)                                  \
	es_executor_submit(e, key, ES_NAMED(name), __VA_ARGS__)
#define es_run_in_executor(e, name, ...)                                       \
	es_run_in_executor(e, ES_NAMED(name), __VA_ARGS__)
#define es_watch_new(l, name, ...) es_watch_new(l, ES_NAMED(name), __VA_ARGS__)
#define es_future_set_name(f, name) es_future_set_name(f, ES_NAMED(name))
#define es_future_new(home)                                                    \
	es_debug_future((es_future_new)(home), ES_NAMED("future"))
#endif

#endif

#endif
