#ifndef DAEMON_HANDLER_UPSTREAM_INTERNAL_H
#define DAEMON_HANDLER_UPSTREAM_INTERNAL_H

/*
 * upstream_internal: sessions of upstreams, for those who have all sessions.
 *
 * Threads  The net loop's.
 */

#include "daemon/handler/session.h"

/* Names have slots below that: of connections, then of upstreams. */
static inline uint32_t
handlers_slots(const struct handlers *handlers)
{
	return handlers->rooms.slots + CONF_SECTIONS_MAX;
}

#define UPSTREAM_LINKS_MAX CONF_SECTIONS_MAX /* upstreams with a session */
/* What a message to an upstream is counted as while it waits there. */
static inline uint64_t
upstream_cost(size_t len)
{
	return (uint64_t)len + 64;
}
struct session *upstream_find(
    const struct handlers *handlers, uint32_t index, uint32_t generation);
/* The handler serves no more: its upstreams are connected anew. */
void upstream_retire(struct handler *handler) LOOP_THREAD;
void upstream_on_idle(struct session *session);
void upstream_on_free(struct session *session);

#endif
