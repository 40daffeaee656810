#ifndef DAEMON_LWS_LINK_H
#define DAEMON_LWS_LINK_H

/*
 * link: one outgoing stream of bytes, TCP or TLS, for the files of this room.
 *
 * Life      link_open -> ready() as long as anything may have changed ->
 *           link_close, also from inside ready().
 * Order     ready() never comes from inside another function of the link.
 * Memory    A descriptor, a watch, an SSL.
 * Threads   LOOP_THREAD.  The process ignores SIGPIPE.
 * Errors    Also what connect(2), read(2) and write(2) say; -EPROTO: TLS.
 */

#include "daemon/lws/outbound_internal.h"

#include <stddef.h>
#include <stdint.h>

struct link;

typedef void (*link_ready_fn)(void *arg);

/*
 * -EINVAL: not a peer.  -ENOMEM, and what socket(2) and connect(2) say at
 * once; later faults come through link_read() and link_write().
 */
int link_open(struct outbound *outbound, const struct outbound_peer *peer,
    link_ready_fn ready, void *arg, struct link **ret_link) LOOP_THREAD;
void link_close(struct link *link) LOOP_THREAD; /* NULL: no-op */

/* Connected, the certificate checked; false: not yet or no more. */
bool link_is_open(const struct link *link);

/*
 * Bytes read; 0: the peer has ended its stream.  -EAGAIN: nothing now, ready()
 * comes when there is.  Else: broken, link_text() says why.
 */
int64_t link_read(struct link *link, void *data, size_t len) LOOP_THREAD;

/*
 * Bytes taken, at least one.  -EAGAIN: none now; ready() comes when it may be
 * tried again, with the same bytes.  more: others follow at once.
 */
int64_t link_write(
    struct link *link, const void *data, size_t len, bool more) LOOP_THREAD;

/* Why it is broken, for people. */
const char *link_text(const struct link *link);

#endif
