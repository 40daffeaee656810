#ifndef CONF_LIMITS_H
#define CONF_LIMITS_H

/*
 * limits: every named limit of the daemon, once.
 *
 * Shape  CONF_LIMITS(X): X(name, kind, default, min, max, what).  kind is
 *        COUNT, BYTES or TIME (microseconds).  Each is a key of [limits] and
 *        is printed by `earshotd --limits`; what it does when reached stands in
 *        its text, and each has a counter in /metrics.
 */

#include <stdint.h>

#define LIMITS_KIB INT64_C(1024)
#define LIMITS_MIB (INT64_C(1024) * 1024)
#define LIMITS_TIB (INT64_C(1024) * 1024 * LIMITS_MIB)
#define LIMITS_MS INT64_C(1000)
#define LIMITS_S INT64_C(1000000)

/* clang-format off */
#define CONF_LIMITS(X) \
	X(connections_max, COUNT, 10000, 1, 1000000, \
	    "connections at once; one more is accepted and closed") \
	X(channels_max, COUNT, 10000, 1, 1000000, \
	    "channels at once; a publish or subscribe to one more is refused") \
	X(tapes_bytes_max, BYTES, 1024 * LIMITS_MIB, LIMITS_MIB, LIMITS_TIB, \
	    "memory of all tapes; a publish beyond it is refused") \
	X(message_bytes_max, BYTES, LIMITS_MIB, 1, 256 * LIMITS_MIB, \
	    "one message; longer: 413, close 1009, a feed's line is cut off") \
	X(body_bytes_max, BYTES, 16 * LIMITS_MIB, 1, 1024 * LIMITS_MIB, \
	    "one HTTP request body; longer: 413") \
	X(intake_bytes_max, BYTES, 256 * LIMITS_MIB, LIMITS_MIB, LIMITS_TIB, \
	    "unfinished messages and bodies of all; beyond: 503, close 1013") \
	X(head_bytes_max, BYTES, 8 * LIMITS_KIB, LIMITS_KIB, 64 * LIMITS_KIB, \
	    "request line and headers of one request; longer: closed") \
	X(heads_max, COUNT, 256, 1, 65536, \
	    "requests whose headers are being read at once; one more waits") \
	X(handshake_timeout, TIME, 10 * LIMITS_S, 10 * LIMITS_MS, \
	    600 * LIMITS_S, \
	    "from accept to a complete request; then closed") \
	X(request_timeout, TIME, 60 * LIMITS_S, 10 * LIMITS_MS, \
	    3600 * LIMITS_S, \
	    "for a request's body or a WebSocket message to end; then closed") \
	X(keepalive_timeout, TIME, 30 * LIMITS_S, 10 * LIMITS_MS, \
	    3600 * LIMITS_S, \
	    "an HTTP connection without a request; then closed") \
	X(close_timeout, TIME, 5 * LIMITS_S, 10 * LIMITS_MS, 600 * LIMITS_S, \
	    "from our close frame to the peer's; then cut") \
	X(ping_interval, TIME, 25 * LIMITS_S, 10 * LIMITS_MS, 3600 * LIMITS_S, \
	    "between two pings to a consumer that keeps up") \
	X(pong_timeout, TIME, 10 * LIMITS_S, 10 * LIMITS_MS, 3600 * LIMITS_S, \
	    "from a ping to anything heard of the peer; then cut") \
	X(accepts_per_iteration_max, COUNT, 64, 1, 65536, \
	    "connections accepted in one loop iteration; the rest waits") \
	X(flushes_per_iteration_max, COUNT, 1024, 1, 1000000, \
	    "consumers written to in one loop iteration; the rest waits") \
	X(span_bytes_max, BYTES, 64 * LIMITS_KIB, 16 * LIMITS_KIB + 64, \
	    LIMITS_MIB, "what one write gives one consumer; the rest waits") \
	X(views_bytes_max, BYTES, 256 * LIMITS_MIB, LIMITS_MIB, \
	    1024 * 1024 * LIMITS_MIB, \
	    "memory of views other than the raw ones; the oldest go first") \
	X(view_build_bytes_per_iteration_max, BYTES, LIMITS_MIB, \
	    64 * LIMITS_KIB, 1024 * LIMITS_MIB, \
	    "encoded for views in one loop iteration; the rest waits") \
	X(out_bytes_max, BYTES, 64 * LIMITS_KIB, 4 * LIMITS_KIB, \
	    16 * LIMITS_MIB, \
	    "replies a connection has not read; beyond: close 1008") \
	X(inflaters_max, COUNT, 4096, 1, 1000000, \
	    "connections that have sent compressed; one more: close 1013") \
	X(subscriptions_max, COUNT, 128, 1, 65536, \
	    "subscriptions of one connection; one more is refused") \
	X(violations_max, COUNT, 10, 1, 1000000, \
	    "faulty commands of one connection; then close 1008") \
	X(history_limit_max, COUNT, 10000, 1, 10000000, \
	    "messages in one history answer; more are left out") \
	X(work_threads, COUNT, 4, 1, 256, \
	    "threads that run plugins' callbacks; one more callback waits") \
	X(feed_read_bytes_max, BYTES, 256 * LIMITS_KIB, 4 * LIMITS_KIB, \
	    16 * LIMITS_MIB, \
	    "read from one feed in one loop iteration; the rest waits")
/* clang-format on */

struct conf_limits {
#define CONF_LIMITS_FIELD(name, kind, def, min, max, what) int64_t name;
	CONF_LIMITS(CONF_LIMITS_FIELD)
#undef CONF_LIMITS_FIELD
};

#endif
