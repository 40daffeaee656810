/*
 * socket: a unix socket that others write to; a datagram or a line is a
 * message.
 *
 * The happy path: a job binds it -> datagrams are read as they come, or
 * connections are accepted, each with lines of its own.
 *
 * What can go wrong:
 * - The path is taken, or cannot be made: tried again with back-off.
 * - More than connections_max: they wait in the kernel's queue.
 * - All of them shout: each has its share of what a feed may read at once.
 * - A datagram or line that is too long: its beginning is published, counted.
 * - The sink asks for patience: nothing is read; who writes waits, as the
 *   kernel has it.
 * - No descriptors for accept(): the listening socket rests for a while.
 * - Stopped: what the kernel holds by then is read, then all is closed and the
 *   path removed.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/feed/bind.h"
#include "daemon/feed/feed_internal.h"
#include "proto/lines.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_READ_BYTES 16384
#define SOCKET_SHARE_BYTES_MIN 256 /* of a peer, in an iteration */
#define SOCKET_DATAGRAMS_PER_ITERATION_MAX 256
#define SOCKET_ACCEPTS_PER_ITERATION_MAX 16
#define SOCKET_REST_US 100000 /* after accept() failed */
#define SOCKET_SAY_AGAIN_US 10000000

struct socket {
	struct feed feed;
	const struct conf_socket *conf;
	es_future *binding;
	es_call *timer; /* of the back-off, and of a rest */
	struct bound *bound;
	es_watch *watch;
	struct list peers;
	size_t peer_count;
	uint8_t *datagram; /* the longest there may be, and a byte */
	uint64_t lines;
	uint64_t cut, cut_bytes, lost; /* of peers that have gone */
	struct limiter cut_limiter;
};

struct peer {
	struct list node;
	struct socket *socket;
	int fd;
	es_watch *watch;
	struct lines lines;
};

static void socket_start(struct feed *feed);
static void socket_on_ready(void *arg);

static es_loop *
socket_net(const struct socket *socket)
{
	return socket->feed.host->options.net;
}

/* Of those who are connected, too. */
static uint64_t
socket_cut(const struct socket *socket)
{
	uint64_t cut = socket->cut;

	LIST_EACH_SAFE(node, next, &socket->peers)
	cut += LIST_ENTRY(node, struct peer, node)->lines.cut;
	return cut;
}

static void
socket_tell_cut(struct socket *socket)
{
	uint64_t held;

	if (limiter_allow(&socket->cut_limiter, clock_now_us(), &held))
		log_warn("socket's messages of more than %zu bytes are cut off,"
			 " %" PRIu64 " so far feed=%s channel=%s",
		    socket->feed.sink.message_bytes_max, socket_cut(socket),
		    socket->feed.conf->name, socket->feed.conf->channel);
}

/* Peers: connections of a stream socket */

static void
peer_publish(const uint8_t *line, size_t len, void *arg)
{
	struct socket *socket = arg;

	es_loop_assert(socket->feed.host->options.net);
	socket->lines++;
	sink_publish(&socket->feed.sink, SINK_ANY, line, len);
}

static void
peer_close(struct peer *peer)
{
	struct socket *socket = peer->socket;

	es_watch_free(peer->watch);
	(void)close(peer->fd); /* it was only read */
	lines_end(&peer->lines, peer_publish, socket);
	socket->cut += peer->lines.cut;
	socket->cut_bytes += peer->lines.dropped_bytes;
	socket->lost += peer->lines.lost;
	lines_fini(&peer->lines);
	list_remove(&peer->node);
	memory_free(peer);
	socket->peer_count--;
}

/* false: it has ended.  Reads `left` bytes, or less: sink, number of lines. */
static bool
peer_read(struct peer *peer, int64_t left, bool to_end) LOOP_THREAD
{
	struct socket *socket = peer->socket;
	uint8_t data[SOCKET_READ_BYTES];
	uint64_t cut = peer->lines.cut;
	const uint64_t before = socket->lines;
	bool open = true;

	while (left > 0 && (to_end || !sink_wait(&socket->feed.sink))) {
		const size_t most =
		    left < SOCKET_READ_BYTES ? (size_t)left : SOCKET_READ_BYTES;
		ssize_t n = recv(peer->fd, data, most, 0);

		if (n < 0 && errno == EINTR)
			continue;
		open = n > 0 || (n < 0 && errno == EAGAIN);
		if (n <= 0)
			break;
		lines_feed(&peer->lines, data, (size_t)n, peer_publish, socket);
		left -= n;
		if (!to_end &&
		    socket->lines - before >= SINK_MESSAGES_PER_ITERATION_MAX)
			left = 0;
	}
	if (left <= 0)
		socket->feed.sink.reads_cut++;
	if (peer->lines.cut != cut)
		socket_tell_cut(socket);
	return open;
}

static void socket_accept_again(struct socket *socket) LOOP_THREAD;

/* Of what the feed may read in an iteration. */
static int64_t
peer_share(const struct socket *socket)
{
	const int64_t share = socket->feed.owner->limits.feed_read_bytes_max /
			      (int64_t)socket->peer_count;

	assert(socket->peer_count > 0);
	return share > SOCKET_SHARE_BYTES_MIN ? share : SOCKET_SHARE_BYTES_MIN;
}

static void
peer_on_readable(int fd, unsigned what, void *arg)
{
	struct peer *peer = arg;
	struct socket *socket = peer->socket;

	(void)what;
	es_loop_assert(socket_net(socket));
	assert(fd == peer->fd);
	if (sink_wait(&socket->feed.sink)) {
		if (es_watch_set(peer->watch, 0) == 0)
			return;
	} else if (peer_read(peer, peer_share(socket), false)) {
		return;
	}
	peer_close(peer);
	socket_accept_again(socket);
}

/* -errno: there is no peer, and fd is closed. */
static int
peer_open(struct socket *socket, int fd) LOOP_THREAD
{
	struct peer *peer = memory_zalloc(sizeof(*peer));
	int r = -ENOMEM;

	if (peer)
		r = es_watch_new(socket_net(socket), "socket peer", fd, ES_READ,
		    peer_on_readable, peer, &peer->watch);
	if (r < 0) {
		memory_free(peer);
		(void)close(fd); /* nothing was read of it */
		return r;
	}
	list_init(&peer->node);
	peer->socket = socket;
	peer->fd = fd;
	lines_init(&peer->lines, socket->feed.sink.message_bytes_max);
	if (socket->conf->framing == CONF_FRAMING_NULL)
		peer->lines.end = '\0';
	list_append(&socket->peers, &peer->node);
	socket->peer_count++;
	return 0;
}

static bool
socket_is_full(const struct socket *socket)
{
	return socket->peer_count >= (size_t)socket->conf->connections_max;
}

static void
socket_on_rested(void *arg)
{
	struct socket *socket = arg;

	es_loop_assert(socket_net(socket));
	es_call_unref(socket->timer);
	socket->timer = NULL;
	if (socket->watch && !socket_is_full(socket))
		socket_on_ready(socket);
}

/* accept() has failed: its reason needs time to pass. */
static void
socket_rest(struct socket *socket, int error) LOOP_THREAD
{
	struct feed *feed = &socket->feed;

	feed_set_error(feed, "cannot accept: %s", strerrordesc_np(-error));
	feed_count_failure(feed);
	if (!socket->timer &&
	    es_call_later(socket_net(socket), SOCKET_REST_US, "socket rest",
		socket_on_rested, socket, NULL, &socket->timer) == 0 &&
	    es_watch_set(socket->watch, 0) < 0)
		es_call_forget(&socket->timer);
}

static void
socket_accept(struct socket *socket) LOOP_THREAD
{
	int i, fd, r = 0;

	for (i = 0; i < SOCKET_ACCEPTS_PER_ITERATION_MAX && r == 0 &&
		    !socket_is_full(socket);
	     i++) {
		fd = accept4(socket->bound->fd, NULL, NULL,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			r = errno == EINTR || errno == ECONNABORTED ? 0
								    : -errno;
		else
			r = peer_open(socket, fd);
	}
	if (r < 0 && r != -EAGAIN)
		socket_rest(socket, r);
	else if (socket_is_full(socket) && es_watch_set(socket->watch, 0) < 0)
		socket_rest(socket, -ENOMEM);
}

/* A peer has gone: there may be room for one that waits. */
static void
socket_accept_again(struct socket *socket)
{
	if (!socket->watch || socket->timer || socket_is_full(socket))
		return;
	if (es_watch_set(socket->watch, ES_READ) < 0)
		socket_rest(socket, -ENOMEM);
}

/* Datagrams */

/* How much of one that is too long is published: whole characters. */
static size_t
datagram_cut(const uint8_t *data, size_t max)
{
	size_t len = max;

	while (len > 0 && max - len < 3 && !utf8_valid(data, len))
		len--;
	return utf8_valid(data, len) ? len : max;
}

/* How long it was; < 0: there is none at present. */
static ssize_t
socket_read_datagram(struct socket *socket) LOOP_THREAD
{
	size_t max = socket->feed.sink.message_bytes_max;
	ssize_t n = recv(socket->bound->fd, socket->datagram, max, MSG_TRUNC);
	size_t len = (size_t)n;

	if (n < 0)
		return errno == EINTR ? 0 : -1;
	if (len > max) {
		len = datagram_cut(socket->datagram, max);
		socket->cut++;
		socket->cut_bytes += (uint64_t)n - len;
		socket_tell_cut(socket);
	}
	sink_publish(&socket->feed.sink, SINK_ANY, socket->datagram, len);
	return (ssize_t)len;
}

static void
socket_read_datagrams(struct socket *socket, bool to_end) LOOP_THREAD
{
	int64_t left = socket->feed.owner->limits.feed_read_bytes_max, n;
	int i;

	for (i = 0; i < SOCKET_DATAGRAMS_PER_ITERATION_MAX && left > 0; i++) {
		if ((!to_end && sink_wait(&socket->feed.sink)) ||
		    (n = socket_read_datagram(socket)) < 0)
			break;
		left -= to_end ? 0 : n;
	}
	if (left <= 0)
		socket->feed.sink.reads_cut++;
}

/* Both */

static void
socket_on_readable(int fd, unsigned what, void *arg)
{
	struct socket *socket = arg;

	(void)what;
	es_loop_assert(socket_net(socket));
	assert(fd == socket->bound->fd);
	if (socket->conf->kind == CONF_SOCKET_STREAM)
		socket_accept(socket);
	else
		socket_read_datagrams(socket, false);
	if (socket->conf->kind == CONF_SOCKET_DATAGRAM &&
	    sink_wait(&socket->feed.sink) && es_watch_set(socket->watch, 0) < 0)
		socket_rest(socket, -ENOMEM);
}

/* The sink takes messages again. */
static void
socket_on_ready(void *arg)
{
	struct socket *socket = arg;
	int r = 0;

	es_loop_assert(socket_net(socket));
	LIST_EACH_SAFE(node, next, &socket->peers)
	{
		struct peer *peer = LIST_ENTRY(node, struct peer, node);

		if (es_watch_set(peer->watch, ES_READ) < 0)
			peer_close(peer);
	}
	if (socket->watch && !socket->timer && !socket_is_full(socket))
		r = es_watch_set(socket->watch, ES_READ);
	if (r < 0)
		socket_rest(socket, r);
}

static void
socket_close(struct socket *socket)
{
	struct list *node;

	es_call_forget(&socket->timer);
	while ((node = list_first(&socket->peers)))
		peer_close(LIST_ENTRY(node, struct peer, node));
	es_watch_free(socket->watch);
	socket->watch = NULL;
	if (socket->bound)
		bound_drop(socket->bound);
	socket->bound = NULL;
}

static void
socket_on_timer(void *arg)
{
	struct socket *socket = arg;

	es_loop_assert(socket_net(socket));
	es_call_unref(socket->timer);
	socket->timer = NULL;
	socket_start(&socket->feed);
}

static void
socket_set_ended(struct socket *socket) LOOP_THREAD
{
	socket_close(socket);
	sink_flush(&socket->feed.sink);
	feed_set_ended(&socket->feed, FEED_STOPPED); /* last: may free us */
}

static void
socket_fail(struct socket *socket, int error) LOOP_THREAD
{
	struct feed *feed = &socket->feed;

	socket_close(socket);
	if (feed->stop) {
		socket_set_ended(socket);
		return;
	}
	feed_set_error(feed, "cannot be opened: %s", bind_words(error));
	if (es_call_later(socket_net(socket), feed_back_off(feed, 0),
		"socket timer", socket_on_timer, socket, NULL,
		&socket->timer) < 0)
		socket_set_ended(socket);
}

static void
socket_on_bound(es_future *f, void *arg)
{
	struct socket *socket = arg;
	struct feed *feed = &socket->feed;
	es_value value = ES_NOTHING;
	int r = es_future_take(f, &value);

	es_loop_assert(socket_net(socket));
	assert(f == socket->binding);
	es_future_unref(f);
	socket->binding = NULL;
	if (r == 0) {
		socket->bound = value.p;
		if (!feed->stop)
			r = es_watch_new(socket_net(socket), "socket feed",
			    socket->bound->fd, ES_READ, socket_on_readable,
			    socket, &socket->watch);
	}
	if (r < 0 || feed->stop) {
		socket_fail(socket, r);
		return;
	}
	backoff_init(&feed->backoff, feed->conf->backoff_min_us,
	    feed->conf->backoff_max_us);
	feed_set_state(feed, FEED_RUNNING);
	log_info("socket is open at %s feed=%s channel=%s", socket->conf->path,
	    feed->conf->name, feed->conf->channel);
}

static int
socket_submit(struct socket *socket)
{
	const struct feeds_options *options = &socket->feed.host->options;
	struct bind_request *request;
	es_future *f;
	int r = bind_request_new(socket->conf, &request);

	if (r < 0)
		return r;
	r = es_executor_submit(options->sys, 0, "bind socket", bind_job,
	    request, bind_request_free, options->net, &f);
	if (r < 0) {
		bind_request_free(request);
		return r;
	}
	r = es_future_add_done_callback(
	    f, options->net, socket_on_bound, socket, NULL);
	if (r < 0) {
		(void)es_future_cancel(f); /* or its value is dropped */
		es_future_unref(f);
		return r;
	}
	socket->binding = f;
	return 0;
}

static void
socket_start(struct feed *feed)
{
	struct socket *socket = (struct socket *)feed;
	int r;

	es_loop_assert(feed->host->options.net);
	feed->starts++;
	feed_set_state(feed, FEED_STARTING);
	r = socket_submit(socket);
	if (r < 0)
		socket_fail(socket, r);
}

static int
socket_new(const struct conf_feed *conf, struct conf *owner,
    struct feed_host *host, struct feed **ret_feed)
{
	struct socket *socket = memory_zalloc(sizeof(*socket));

	if (!socket)
		return -ENOMEM;
	socket->conf = (const struct conf_socket *)conf;
	list_init(&socket->peers);
	feed_init(&socket->feed, &socket_type, conf, owner, host);
	socket->feed.sink.waits = true;
	socket->feed.sink.ready = socket_on_ready;
	socket->feed.sink.arg = socket;
	limiter_init(&socket->cut_limiter, 1, SOCKET_SAY_AGAIN_US);
	if (socket->conf->kind == CONF_SOCKET_DATAGRAM) {
		socket->datagram =
		    memory_alloc(socket->feed.sink.message_bytes_max);
		if (!socket->datagram) {
			feed_fini(&socket->feed);
			memory_free(socket);
			return -ENOMEM;
		}
	}
	*ret_feed = &socket->feed;
	return 0;
}

/* What the kernel has taken is read first: its writers were told so. */
static void
socket_stop(struct feed *feed)
{
	struct socket *socket = (struct socket *)feed;
	const int64_t max = feed->owner->limits.feed_read_bytes_max;

	es_loop_assert(feed->host->options.net);
	assert(!feed->stop);
	feed->stop = true;
	sink_hurry(&feed->sink);
	if (socket->binding) { /* its end is ours */
		feed_set_state(feed, FEED_STOPPING);
		(void)es_future_cancel(socket->binding);
		return;
	}
	if (socket->bound && socket->conf->kind == CONF_SOCKET_DATAGRAM)
		socket_read_datagrams(socket, true);
	else if (socket->bound)
		socket_accept(socket);
	LIST_EACH_SAFE(node, next, &socket->peers)
	(void)peer_read(LIST_ENTRY(node, struct peer, node), max, true);
	socket_set_ended(socket);
}

static void
socket_free(struct feed *feed)
{
	struct socket *socket = (struct socket *)feed;

	if (socket->binding) {
		(void)es_future_remove_done_callback(
		    socket->binding, socket_on_bound, socket);
		(void)es_future_cancel(socket->binding); /* else: dropped */
		es_future_unref(socket->binding);
	}
	socket_close(socket);
	memory_free(socket->datagram);
	feed_fini(feed);
	memory_free(socket);
}

static void
socket_get_stats(const struct feed *feed, struct feed_stats *ret)
{
	const struct socket *socket = (const struct socket *)feed;

	feed_get_stats(feed, ret);
	ret->lines_cut = socket_cut(socket);
	ret->bytes_cut = socket->cut_bytes;
	ret->lines_refused += socket->lost;
	LIST_EACH_SAFE(node, next, &socket->peers)
	{
		const struct peer *peer = LIST_ENTRY(node, struct peer, node);

		ret->bytes_cut += peer->lines.dropped_bytes;
		ret->lines_refused += peer->lines.lost;
	}
}

const struct feed_type socket_type = {
	.kind = "socket",
	.new = socket_new,
	.start = socket_start,
	.stop = socket_stop,
	.free = socket_free,
	.get_stats = socket_get_stats,
};
