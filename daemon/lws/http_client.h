#ifndef DAEMON_LWS_HTTP_CLIENT_H
#define DAEMON_LWS_HTTP_CLIENT_H

/*
 * http_client: POSTs to one server, one after the other on a kept connection.
 *
 * Life      http_client_open -> (http_client_post -> done)* ->
 *           http_client_close, at any time, also from inside done.
 * Promise   Every accepted post is answered by one done, never from inside
 *           http_client_post(); none comes after http_client_close().  A post
 *           is sent at most once: whether to repeat it is its owner's
 *           decision, who is told if the server may have seen any of it.
 * Memory    A head, an answer's body (answer_bytes_max).
 * Threads   LOOP_THREAD.  The process ignores SIGPIPE.
 */

#include "daemon/lws/outbound.h"

#include <stddef.h>

/* A connection that was idle for longer is not trusted to be alive. */
#define HTTP_CLIENT_IDLE_MAX ES_S(2)

struct http_client;

struct http_client_options {
	struct outbound_peer peer;
	es_usec connect_timeout; /* TLS included */
	es_usec answer_timeout; /* without a byte sent or received */
	size_t answer_bytes_max;
};

struct http_result {
	unsigned status; /* 0: no answer */
	const char *text; /* of the status line; without an answer: why */
	const void *body;
	size_t len;
	bool begun; /* without an answer: the server may have seen it */
};

/* The result's pointers are good until it returns. */
typedef void (*http_done_fn)(const struct http_result *result, void *arg);

/*
 * Connects when there is something to post.
 * -EINVAL: not a peer.  -ENOMEM.
 */
int http_client_open(struct outbound *outbound,
    const struct http_client_options *options,
    struct http_client **ret_client) LOOP_THREAD;
void http_client_close(struct http_client *client) LOOP_THREAD;

/*
 * header is one more, "Name: value", or NULL.  The body is borrowed until
 * done; path, header and type are not.
 * -EBUSY: one is under way.  -EINVAL: a path, header or type that would break
 * the request.  -ENOMEM, -ESHUTDOWN.
 */
int http_client_post(struct http_client *client, const char *path,
    const char *header, const char *type, const void *body, size_t len,
    http_done_fn done, void *arg) LOOP_THREAD;

#endif
