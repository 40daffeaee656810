#ifndef DAEMON_LOOP_STREAM_INTERNAL_H
#define DAEMON_LOOP_STREAM_INTERNAL_H

/*
 * stream_internal: what generators need of streams.
 */

#include "daemon/loop/stream.h"

/* The task that is cancelled when the reader leaves; takes the reference. */
void stream_set_producer(es_rx *rx, es_future *producer);

#endif
