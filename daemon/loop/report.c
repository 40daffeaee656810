/*
 * report: what nobody was waiting for, to the owner's function or the log;
 * and what a build with ES_DEBUG does besides.
 */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/loop/loop_internal.h"

#ifdef ES_DEBUG

#define REPORT_POISON 0xdb
#define PLACE_STEPS_MAX 64 /* from where a name should be */

/* A slot is filled once and for ever: no lock, none to be forked with. */
struct place {
	_Atomic int state;
	const char *name, *place;
	char text[ES_PLACE_BYTES_MAX];
};
enum { PLACE_FREE, PLACE_HALF, PLACE_FULL };

static struct place places[ES_PLACES_MAX];
static atomic_bool report_no_abort;

static bool
place_fill(struct place *p, const char *name, const char *place)
{
	int expected = PLACE_FREE;

	if (!atomic_compare_exchange_strong(&p->state, &expected, PLACE_HALF))
		return false;
	p->name = name;
	p->place = place;
	(void)snprintf(p->text, sizeof(p->text), "%s at %s",
	    name ? name : "unnamed", place); /* cut on purpose */
	refs_publish(&p->state);
	atomic_store(&p->state, PLACE_FULL);
	return true;
}

/* Whose slot is being filled goes on: a name may be there twice. */
static bool
place_is(struct place *p, const char *name, const char *place)
{
	if (atomic_load(&p->state) != PLACE_FULL)
		return false;
	refs_receive(&p->state);
	return p->name == name && p->place == place;
}

const char *
es_debug_name(const char *name, const char *place)
{
	uintptr_t key = (uintptr_t)name * 31 ^ (uintptr_t)place;
	size_t slot = (key * UINT64_C(0x9e3779b97f4a7c15)) >> 40, i;

	assert(place);
	for (i = 0; i < PLACE_STEPS_MAX; i++) {
		struct place *p = &places[(slot + i) % ES_PLACES_MAX];

		refs_are_atomic(&p->state, sizeof(p->state));
		if (place_is(p, name, place) || place_fill(p, name, place))
			return p->text;
	}
	return name;
}

void
es_debug_aborts(bool on)
{
	atomic_store(&report_no_abort, !on);
}

int
loop_misuse(const char *function)
{
	if (atomic_load(&report_no_abort))
		return -EPERM;
	log_error("%s: not on this thread, not in this place", function);
	abort();
}

void
loop_free_object(void *p, size_t n)
{
	memset(p, REPORT_POISON, n);
	__asm__ volatile("" : : "r"(p) : "memory"); /* it is to be seen */
	memory_free(p);
}

#else

int
loop_misuse(const char *function)
{
	(void)function;
	return -EPERM;
}

void
loop_free_object(void *p, size_t n)
{
	(void)n;
	memory_free(p);
}

#endif

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
