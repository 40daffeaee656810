#ifndef DAEMON_LWS_LWS_H
#define DAEMON_LWS_LWS_H

/*
 * lws: libwebsockets on our loop.
 *
 * Life     glue_open -> vhosts, glue_adopt, client_* -> glue_close; the last
 *          from a plain call on the loop, never from a libwebsockets callback.
 *          glue_before_poll() and glue_after_batch() are called by the owner
 *          of the loop's hooks, once an iteration.
 * Order    What glue_write() takes goes out in order; what libwebsockets
 *          itself writes (pongs, close) stands between frames, never inside.
 * Memory   About 150 bytes per descriptor, 128 more once it had to wait for
 *          writability.
 * Threads  Everything on the thread of the loop given to glue_open().
 */

#include "daemon/base/threads.h"
#include "daemon/loop/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct glue;
struct lws;
struct lws_context;
struct lws_extension;
struct lws_protocols;
struct lws_retry_bo;
struct lws_vhost;

/* How often a descriptor is read in one iteration while bytes are waiting. */
#define GLUE_READS_PER_ITERATION_MAX 64

struct glue_options {
	unsigned fds_max; /* descriptors, of the process: RLIMIT_NOFILE */
	unsigned heads_max; /* requests being read at once */
	unsigned head_bytes_max; /* of one request */
	unsigned request_timeout_s; /* the library's own, behind ours */
	bool client_only;
};

struct glue_stats {
	uint64_t reads, reads_repeated; /* of descriptors */
	uint64_t write_waits; /* times a socket was full */
	uint64_t writes_short,
	    bytes_kept; /* of a frame, copied by the library */
};

/*
 * A libwebsockets context whose descriptors and timers live on the loop.
 * -ENOMEM, or -EIO when the library refuses (its words are in the debug log).
 */
int glue_open(es_loop *loop, const struct glue_options *options,
    struct glue **ret_glue) LOOP_THREAD;

/* Every connection is closed and its callbacks have run when this returns. */
void glue_close(struct glue *glue) LOOP_THREAD; /* NULL: no-op */

/* First in every callback from libwebsockets: it runs on the loop's thread. */
void glue_on_loop(const struct glue *glue) PROVES_LOOP;

/*
 * For every vhost, which do not inherit it: the library arms no validity
 * timer, whose list takes O(n) per insert.
 */
const struct lws_retry_bo *glue_no_validity(void);

struct lws_context *glue_context(struct glue *glue);
es_loop *glue_loop(struct glue *glue);
const struct glue_stats *glue_stats(const struct glue *glue);

/* Runs the library's ripe timers and shortens *wait to its next one. */
void glue_before_poll(struct glue *glue, es_usec *wait) LOOP_THREAD;

/* Serves what the library has read and not yet parsed, TLS above all. */
void glue_after_batch(struct glue *glue) LOOP_THREAD;

/*
 * Gives an accepted socket to a vhost as an HTTP connection, with TLS or
 * without.  opaque is lws_get_opaque_user_data() from the first callback on.
 * The descriptor is the library's in any case.  -EIO: it was closed, and
 * LWS_CALLBACK_WSI_DESTROY has run if any callback had.
 */
int glue_adopt(struct glue *glue, struct lws_vhost *vhost, int fd, bool tls,
    void *opaque, struct lws **ret_wsi) LOOP_THREAD;

/*
 * Whole frames to an established WebSocket connection.  Returns how many bytes
 * were taken, a number of whole frames; the unsent rest of a frame that was
 * begun is kept by the library.  *ret_blocked: no more before the next
 * SERVER_WRITEABLE callback, which has been asked for.  < 0: broken, -errno;
 * the caller ends the connection (glue_kill()).
 */
int64_t glue_write(struct lws *wsi, const uint8_t *data, size_t len,
    bool *ret_blocked) LOOP_THREAD;

/* The same for bytes of an HTTP answer, which may be cut anywhere. */
int64_t glue_write_stream(struct lws *wsi, const uint8_t *data, size_t len,
    bool *ret_blocked) LOOP_THREAD;

/* End it without a close frame, soon, not now. */
void glue_kill(struct lws *wsi) LOOP_THREAD;

/*
 * Stop and go on reading a descriptor, without the library's knowledge (its
 * own flow control hides bytes that nobody can get at).  After a pause up to
 * one read's worth of messages may still come.
 */
void glue_pause_reading(struct glue *glue, int fd) LOOP_THREAD;
void glue_resume_reading(struct glue *glue, int fd) LOOP_THREAD;

/*
 * While held, a descriptor is not watched at all; what the library wants is
 * noted and can be read, for handing the socket to another process.
 */
void glue_hold(struct glue *glue, int fd) LOOP_THREAD;
void glue_release(struct glue *glue, int fd) LOOP_THREAD;
void glue_wants(
    struct glue *glue, int fd, bool *ret_read, bool *ret_write) LOOP_THREAD;

/*
 * Inside a callback that stems from bytes of the peer: what else waits there
 * is for the next iteration.  glue_round() tells such occasions apart.
 */
void glue_read_enough(struct glue *glue);
uint64_t glue_round(const struct glue *glue);

/* True inside callbacks that stem from bytes (or the end) of the peer. */
bool glue_serving_read(const struct glue *glue);

#endif
