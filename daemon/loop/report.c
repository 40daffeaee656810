/*
 * report: what nobody was waiting for, to the owner's function or the log.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/loop/loop_internal.h"

#define REPORT_POISON 0xdb

static atomic_bool report_debugging;

void
es_debug(bool on)
{
	atomic_store(&report_debugging, on);
}

int
loop_misuse(const char *function)
{
	if (!atomic_load(&report_debugging))
		return -EPERM;
	log_error("%s: not on this thread, not in this place", function);
	abort();
}

void
loop_free_object(void *p, size_t n)
{
	if (atomic_load_explicit(&report_debugging, memory_order_relaxed))
		memset(p, REPORT_POISON, n);
	memory_free(p);
}

/* A busy machine makes many calls slow: the log hears of one a second. */
static bool
slow_is_news(es_loop *loop)
{
	const es_usec now = es_loop_time(loop);

	if (loop->slow_told != 0 && now - loop->slow_told < ES_S(1))
		return false;
	loop->slow_told = now;
	return true;
}

static void
report_to_log(const char *where, es_report_kind kind, const char *what,
    int code, const char *message, es_usec took)
{
	switch (kind) {
	case ES_R_ERROR:
		log_error("loop=%s failed=\"%s\" code=%d nobody looked: %s",
		    where, what, code, message ? message : "no message");
		return;
	case ES_R_SLOW:
		log_warn("loop=%s slow=\"%s\" took_us=%lld", where, what,
		    (long long)took);
		return;
	case ES_R_STUCK:
		log_error("loop=%s stuck=\"%s\" running for us=%lld", where,
		    what, (long long)took);
		return;
	case ES_R_STARVED:
		log_warn("loop=%s starved=\"%s\" for us=%lld: every worker "
			 "waits and work is queued",
		    where, what, (long long)took);
		return;
	case ES_R_LEFTOVER:
		log_error("loop=%s leftover=\"%s\": did not end in time", where,
		    what);
		return;
	}
	assert(!"no such kind");
}

void
loop_report(es_loop *loop, es_report_kind kind, const char *what, int code,
    const char *message, es_usec took)
{
	if (!what)
		what = "unnamed";
	if (loop && !loop->report && kind == ES_R_SLOW && !slow_is_news(loop))
		return; /* counted all the same */
	if (loop && loop->report)
		loop->report(
		    loop, kind, what, code, message, took, loop->report_arg);
	else
		report_to_log(loop ? loop->name : "none", kind, what, code,
		    message, took);
}
