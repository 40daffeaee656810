#ifndef DAEMON_LOOP_GROUP_INTERNAL_H
#define DAEMON_LOOP_GROUP_INTERNAL_H

/*
 * group_internal: what tasks need to know of gathers to find rings.
 */

#include "daemon/loop/future_internal.h"

struct gather;

extern const struct future_ops gather_future_ops;

/* Whether one of its members is task, or waits for it on the same loop. */
bool gather_leads_to(const struct gather *gather, const es_task *task);

#endif
