/*
 * The room's frame: what is made at start, the hooks into the loop's
 * iteration, and the one switch that libwebsockets' callbacks come through.
 *
 * An iteration: descriptors are read (daemon/lws), messages published; then
 * on_after_batch(): what the library holds back, deadlines, and the flush that
 * writes to every consumer once what was published meanwhile.
 */

#include "daemon/net/net.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/net/access.h"
#include "daemon/net/http.h"
#include "daemon/net/net_internal.h"
#include "proto/frame.h"
#include "proto/v1.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#define RX_BUFFER_BYTES 1024 /* per connection; the glue repeats the read */
#define TICK_US ES_S(1)
#define GENERIC_TIMEOUT_MARGIN_S 5 /* the library's behind ours */

static int
on_gone(struct conn *conn) LOOP_THREAD
{
	struct net *net = conn->net;

	net->counts.closed++;
	drain_conn_gone(conn);
	conn_free(conn);
	listeners_resume(net);
	return 0;
}

/*
 * Whether the end came from the peer: its close or end of file, rather than a
 * timer of the library's own.
 */
static int
on_closed(struct conn *conn)
{
	conn->peer_ended = glue_serving_read(conn->net->glue);
	return 0;
}

/*
 * The library hangs up on a head it does not like without asking us.  Then
 * the peer has not ended, neither have we.
 */
static int
on_http_closed(struct conn *conn)
{
	char byte;
	ssize_t n;

	if (conn->state == CONN_SSE)
		return on_closed(conn);
	if ((conn->state != CONN_HANDSHAKE && conn->state != CONN_IDLE) ||
	    conn->hung_up || conn->cut || conn->net->closing)
		return 0;
	n = recv(conn->fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
	if (n > 0 || (n < 0 && errno == EAGAIN))
		conn->net->counts.refused_head_bytes++;
	return 0;
}

static int
http_on_writable(struct conn *conn) LOOP_THREAD
{
	if (conn->state == CONN_SSE)
		return conn_on_writable(conn);
	if (conn->slices != NULL)
		return slices_on_writable(conn);
	if (conn->awaited != NULL)
		return control_on_writable(conn);
	return publish_on_writable(conn);
}

static int
on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user,
    void *in, size_t len)
{
	struct conn *conn = wsi != NULL ? conn_of(wsi) : NULL;

	(void)user;
	if (conn == NULL) /* about the library itself */
		return 0;
	/* Asked of the context's first vhost about others' connections. */
	if (reason == LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION)
		return 0;
	glue_on_loop(conn->net->glue);
	conn->wsi = wsi; /* callbacks come before glue_adopt() returns */
	switch (reason) {
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		if (strcasecmp(in, "websocket") != 0)
			return 0; /* stays HTTP */
		/* Refused: the answer said Connection: close, so hang up. */
		conn->hung_up = ws_on_upgrade(conn) != 0;
		return conn->hung_up ? -1 : 0;
	case LWS_CALLBACK_CONFIRM_EXTENSION_OKAY:
		return conn->deflated ? 0 : 1;
	case LWS_CALLBACK_ADD_HEADERS:
		return ws_on_headers(conn, in);
	case LWS_CALLBACK_HTTP:
		return http_on_request(conn);
	case LWS_CALLBACK_RAW_RX:
		return http_on_connect(conn);
	case LWS_CALLBACK_HTTP_BODY:
		return body_on_data(conn, in, len);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return body_on_end(conn);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return http_on_writable(conn);
	case LWS_CALLBACK_ESTABLISHED:
		return ws_on_established(conn);
	case LWS_CALLBACK_RECEIVE:
		return ws_on_receive(conn, in, len);
	case LWS_CALLBACK_RECEIVE_PONG:
		conn->heard = true;
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return conn_on_writable(conn);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return ws_on_peer_close(conn, in, len);
	case LWS_CALLBACK_CLOSED_HTTP:
		return on_http_closed(conn);
	case LWS_CALLBACK_CLOSED:
		return on_closed(conn);
	case LWS_CALLBACK_WSI_DESTROY:
		return on_gone(conn);
	default:
		return 0;
	}
}

static void
on_before_poll(es_usec *wait, void *arg)
{
	struct net *net = arg;
	es_usec until;

	glue_on_loop(net->glue);
	glue_before_poll(net->glue, wait);
	until = wheel_next_us(&net->wheel);
	if (until != INT64_MAX) {
		const es_usec now = clock_now_us();

		until = until > now ? until - now : 0;
		if (until < *wait)
			*wait = until;
	}
	if (hub_flush_wanted(net->hub) || !list_empty(&net->out_waiting))
		*wait = 0;
}

static void
on_deadline(struct wheel_entry *entry, void *arg)
{
	struct net *net = arg;

	glue_on_loop(net->glue);
	if (entry == &net->drain.tick)
		drain_tick(net);
	else if (entry == &net->leases.tick)
		leases_tick(net);
	else
		conn_on_deadline(entry);
}

static void
on_after_batch(void *arg)
{
	struct net *net = arg;

	glue_on_loop(net->glue);
	glue_after_batch(net->glue);
	wheel_advance(&net->wheel, clock_now_us(), on_deadline, net);
	conn_flush_waiting(net);
	if (hub_flush_wanted(net->hub))
		(void)hub_flush(net->hub, clock_wall_us()); /* wanted says */
}

static void
on_second(void *arg)
{
	struct net *net = arg;

	glue_on_loop(net->glue);
	es_call_unref(net->tick);
	net->tick = NULL;
	hub_tick(net->hub, clock_wall_us());
	if (es_call_later(net->loop, TICK_US, "retention", on_second, net, NULL,
		&net->tick) < 0)
		log_error("retention by age stops: out of memory");
}

static int
open_glue(
    struct net *net, unsigned fds_max, struct net_fault *ret_fault) LOOP_THREAD
{
	const struct conf_limits *limits = &net->conf->limits;
	const struct glue_options options = {
		.fds_max = fds_max,
		/* heads_max counts what we know of; kept-alive ones come on. */
		.heads_max = (unsigned)(limits->connections_max < 65535
					    ? limits->connections_max
					    : 65535),
		/* 64K is one more than the library counts to. */
		.head_bytes_max = (unsigned)(limits->head_bytes_max < 65535
						 ? limits->head_bytes_max
						 : 65535),
		.request_timeout_s =
		    (unsigned)(limits->request_timeout / LIMITS_S) +
		    GENERIC_TIMEOUT_MARGIN_S,
	};
	int error = glue_open(net->loop, &options, &net->glue);

	if (error < 0)
		(void)snprintf(ret_fault->text, sizeof(ret_fault->text),
		    "libwebsockets does not start: %s", strerror(-error));
	return error;
}

/*
 * Its names are read by the library as long as it lives.  The first is spoken
 * when no subprotocol is asked for; with a space in it nobody can ask for it.
 */
static const struct lws_protocols *
protocols(const struct conf *conf)
{
	static struct lws_protocols list[] = {
		{ .name = "no subprotocol",
		    .callback = on_event,
		    .rx_buffer_size = RX_BUFFER_BYTES },
		{ .name = V1_SUBPROTOCOL,
		    .callback = on_event,
		    .rx_buffer_size = RX_BUFFER_BYTES },
		LWS_PROTOCOL_LIST_TERM,
	};

	/* Above what one write gives: else the library cuts and copies. */
	list[0].tx_packet_size =
	    (size_t)conf->limits.span_bytes_max + FRAME_FRAGMENT_BYTES;
	list[1].tx_packet_size = list[0].tx_packet_size;
	return list;
}

static int
open_hub(struct net *net)
{
	uint64_t seed;
	unsigned dice;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed) ||
	    getrandom(&dice, sizeof(dice), 0) != sizeof(dice))
		return -EIO;
	srandom(dice); /* for spreading, not for secrets */
	return hub_new(net->conf, seed, conn_hub_ops(), net, &net->hub);
}

static int
open_tables(struct net *net)
{
	net->slot_count = (uint32_t)net->conf->limits.connections_max +
			  CONTROL_CONNECTIONS_MAX;
	net->slots = memory_zalloc(net->slot_count * sizeof(*net->slots));
	net->generations =
	    memory_zalloc(net->slot_count * sizeof(*net->generations));
	if (net->slots == NULL || net->generations == NULL)
		return -ENOMEM;
	return 0;
}

static int
open_parts(
    struct net *net, unsigned fds_max, struct net_fault *ret_fault) LOOP_THREAD
{
	int error = tls_check(net->conf, ret_fault);

	if (error < 0)
		return error;
	(void)snprintf(
	    ret_fault->text, sizeof(ret_fault->text), "out of memory");
	error = open_tables(net);
	if (error == 0)
		error = open_hub(net);
	if (error == 0)
		error = open_glue(net, fds_max, ret_fault);
	if (error == 0)
		error = vhosts_open(net, protocols(net->conf), ret_fault);
	if (error == 0)
		error = es_loop_set_hooks(
		    net->loop, on_before_poll, on_after_batch, net);
	if (error == 0)
		error = es_call_later(net->loop, TICK_US, "retention",
		    on_second, net, NULL, &net->tick);
	return error;
}

int
net_open(struct conf *conf, struct keyring *keyring, es_loop *loop,
    unsigned fds_max, struct net **ret_net, struct net_fault *ret_fault)
{
	struct net *net = memory_zalloc(sizeof(*net));
	int error;

	*ret_fault = (struct net_fault){ .text = "out of memory" };
	if (net == NULL)
		return -ENOMEM;
	net->conf = conf_ref(conf);
	net->keyring = keyring != NULL ? keyring_ref(keyring) : NULL;
	net->born = conf->limits;
	net->loop = loop;
	net->started_us = clock_now_us();
	list_init(&net->conns);
	list_init(&net->out_waiting);
	wheel_init(&net->wheel, net->started_us);
	wheel_entry_init(&net->drain.tick);
	wheel_entry_init(&net->leases.tick);
	heap_init(&net->leases.heap);
	error = open_parts(net, fds_max, ret_fault);
	if (error < 0) {
		net_close(net);
		return error;
	}
	*ret_net = net;
	return 0;
}

int
net_listen(struct net *net, const struct net_socket *sockets, size_t count,
    struct net_fault *ret_fault)
{
	return listeners_open(net, sockets, count, ret_fault);
}

static void
cancel(es_call **call)
{
	if (*call == NULL)
		return;
	(void)es_call_cancel(*call); /* on its thread: it will not run */
	es_call_unref(*call);
	*call = NULL;
}

void
net_close(struct net *net)
{
	if (net == NULL)
		return;
	net->closing = true;
	if (es_loop_set_hooks(net->loop, NULL, NULL, NULL) < 0)
		log_debug("the loop closed before its hooks were taken off");
	cancel(&net->tick);
	listeners_close(net);
	control_close(net);
	glue_close(net->glue); /* frees every connection */
	assert(net->conn_count == 0);
	hub_free(net->hub);
	heap_fini(&net->leases.heap);
	keyring_unref(net->keyring);
	memory_free(net->slots);
	memory_free(net->generations);
	memory_free(net->listeners);
	conf_free(net->conf);
	buffer_fini(&net->inflated);
	memory_free(net);
}

struct glue *
net_glue(struct net *net)
{
	return net->glue;
}

struct hub *
net_hub(struct net *net)
{
	return net->hub;
}

uint32_t
net_slots(const struct net *net)
{
	return net->slot_count;
}

void
net_set_handlers(struct net *net, struct handlers *handlers)
{
	net->handlers = handlers;
}

void
net_add_metrics(struct net *net, net_metrics_fn fn, void *arg)
{
	assert(net->metrics_count < NET_METRICS_MAX);
	net->metrics[net->metrics_count].fn = fn;
	net->metrics[net->metrics_count].arg = arg;
	net->metrics_count++;
}

void
net_status(struct net *net, struct net_status *ret_status)
{
	const struct hub_counts *counts = hub_counts(net->hub);

	*ret_status = (struct net_status){
		.connections = net->conn_count,
		.consumers =
		    net->state_counts[CONN_WS] + net->state_counts[CONN_SSE],
		.channels = hub_channel_count(net->hub),
		.messages_in = counts->messages_in,
		.messages_out = counts->messages_out,
		.bytes_in = counts->bytes_in,
		.bytes_out = counts->bytes_out,
		.tapes_bytes = hub_memory_bytes(net->hub),
		.views_bytes = hub_views_bytes(net->hub),
		.intake_bytes = net->intake_bytes,
		.started_us = net->started_us,
		.closing = net->closing,
	};
}

const struct conf *
net_conf(const struct net *net)
{
	return net->conf;
}
