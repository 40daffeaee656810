#ifndef DAEMON_CTL_KEEP_H
#define DAEMON_CTL_KEEP_H

/*
 * keep: when the state file is written.
 *
 * Life      keep_open -> keep_recall -> keep_start -> keep_look* ->
 *           keep_finish -> keep_end -> keep_close.
 * Promise   What is to be kept is on the disk a second later, or as soon as
 *           the disk takes it; never written on the loop's thread.
 * Memory    One text of the file.
 * Threads   LOOP_THREAD from keep_start to keep_end.
 */

#include "daemon/base/buffer.h"
#include "daemon/ctl/place.h"
#include "daemon/ctl/state.h"
#include "daemon/loop/loop.h"

#define KEEP_INTERVAL ES_S(1)

struct keep {
	const char *path; /* NULL: nothing is kept */
	struct places *places;
	struct state state; /* while saving: the executor's */
	struct buffer text; /* likewise */
	es_executor *executor;
	es_loop *loop;
	es_call *timer;
	es_usec saved_at;
	es_future *future; /* of the save that is under way */
	bool finishing;
	int error; /* of the last save */
	void (*done)(void *arg); /* after keep_finish() */
	void *arg;
};

/*
 * Opens and reads the file of that path; NULL: nothing is kept, and all else
 * does nothing.  An exit code; what goes wrong is said.
 */
int keep_open(struct keep *keep, const char *path) MAY_BLOCK;
/* How many channels it may have. */
size_t keep_channels_max(const struct keep *keep);
/* Puts into places, which has room for them, what the file says. */
int keep_recall(struct keep *keep, struct places *places) MAY_BLOCK;
void keep_close(struct keep *keep) MAY_BLOCK;

void keep_start(struct keep *keep, es_loop *loop, void (*done)(void *arg),
    void *arg) LOOP_THREAD;
void keep_end(struct keep *keep) LOOP_THREAD;

/* Something may be unsaved. */
void keep_look(struct keep *keep) LOOP_THREAD;

/*
 * The last save.  true: nothing is left to do; false: done() will say so.
 * keep->error then is that of the last save.
 */
bool keep_finish(struct keep *keep) LOOP_THREAD;

#endif
