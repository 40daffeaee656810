#ifndef TESTS_UNIT_RIG_HUB_H
#define TESTS_UNIT_RIG_HUB_H

/*
 * rig_hub: what a hub calls, for tests in which nobody hears.
 */

#include "daemon/hub/hub.h"

#include <errno.h>

static int64_t
rig_no_write(struct consumer *consumer, const struct span *span,
    bool *ret_blocked, void *arg)
{
	(void)consumer;
	(void)span;
	(void)ret_blocked;
	(void)arg;
	return -EPIPE;
}

static bool
rig_no_overrun(struct consumer *consumer, enum conf_overrun policy,
    int64_t from, int64_t to, bool inside, void *arg)
{
	(void)consumer;
	(void)policy;
	(void)from;
	(void)to;
	(void)inside;
	(void)arg;
	return false;
}

static const struct hub_ops rig_hub_ops = { rig_no_write, rig_no_overrun };

#endif
