#ifndef TESTS_LIB_OUTBOUND_RIG_H
#define TESTS_LIB_OUTBOUND_RIG_H

/*
 * outbound_rig: a loop with a glue and an outbound, for tests of outgoing
 * connections.
 *
 * Life     rig_open -> rig_run* -> rig_close.  rig_run() calls fn on the loop
 *          and returns when rig_done() has been called; a test that takes
 *          longer than RIG_S fails.
 */

#include "daemon/lws/outbound.h"

#define RIG_S 20

struct rig {
	es_loop *loop;
	struct glue *glue;
	struct outbound *outbound;
	es_call *alarm;
	es_fn fn;
	void *arg;
	const struct outbound_options *options;
	bool late;
};

void rig_open(struct rig *rig, const struct outbound_options *options);
void rig_run(struct rig *rig, es_fn fn, void *arg);
void rig_done(struct rig *rig); /* at the end of this turn */
void rig_close(struct rig *rig);

#endif
