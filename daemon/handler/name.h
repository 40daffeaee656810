#ifndef DAEMON_HANDLER_NAME_H
#define DAEMON_HANDLER_NAME_H

/*
 * name: what connections are called outside of the loop, slot and generation
 * and never 0; and how a plugin's futures are given back.
 *
 * Threads  Any.
 */

#include "daemon/handler/handler.h"

static inline es_conn
conn_name(uint32_t slot, uint32_t generation)
{
	return ((es_conn)generation + 1) << 32 | slot;
}
static inline uint32_t
conn_slot(es_conn name)
{
	return (uint32_t)name;
}
static inline uint32_t
conn_generation(es_conn name)
{
	return (uint32_t)(name >> 32) - 1;
}

/*
 * Gives a future of a plugin back.  A failure that the plugin does not look at
 * is its own business: nothing is reported, it could be one a message.
 */
static inline void
future_leave(es_future *f)
{
	if (f != NULL)
		(void)es_future_result(f, NULL);
	es_future_unref(f);
}

#endif
