#ifndef DAEMON_FEED_RESOLVE_H
#define DAEMON_FEED_RESOLVE_H

/*
 * resolve: a WebSocket address taken apart, its name looked up by a job.
 *
 * Threads  The job: an executor's.  All else: ANY_THREAD.
 */

#include "daemon/loop/loop.h"
#include "proto/url.h"

#define RESOLVE_ADDRESSES_MAX 8
#define RESOLVE_ADDRESS_BYTES 46 /* numeric, with its NUL */

struct resolved {
	size_t count;
	char addresses[RESOLVE_ADDRESSES_MAX][RESOLVE_ADDRESS_BYTES];
	char error[96]; /* count is 0: why */
};

/*
 * ws[s]://HOST[:PORT][/PATH][?QUERY].  *ret_path is what to ask for: it points
 * into text, or is the whole of room with a slash before what is there.
 * -EINVAL: no such address.
 */
int resolve_parse(const char *text, struct url *ret_url, char *room,
    size_t room_size, const char **ret_path) ANY_THREAD;

/* A future of a struct resolved.  -ENOMEM, -EAGAIN, -ESHUTDOWN. */
int resolve_submit(es_executor *sys, es_loop *home, const char *host,
    es_future **ret_future) ES_CHECK ANY_THREAD;

#endif
