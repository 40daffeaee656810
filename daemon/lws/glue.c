/*
 * The event library that libwebsockets is given: its descriptors watched by
 * the loop's event_base, its timers run before the loop waits.
 *
 * The happy path: lws inserts a descriptor (sock_accept, io START READ) -> it
 * becomes readable -> on_read() lets lws read and parse it, again while bytes
 * are waiting, so that what arrived together is flushed together.
 *
 * What can go wrong:
 * - lws closes a descriptor inside its own service call: slots are found again
 *   by number and serial after each call;
 * - lws stops a descriptor it never announced, or after close(2): a no-op;
 * - lws announces a number again without having closed it (a failed client
 *   connect): the slot is reset;
 * - a descriptor shows bytes that lws will not read now (it defers): reading
 *   is repeated only while the number of waiting bytes changes.
 */

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/lws/lws.h"
#include "daemon/lws/lws_internal.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <libwebsockets.h>
#include <string.h>
#include <sys/ioctl.h>

#define WATCH_AGAIN_AFTER ES_MS(100)

/* One per watched descriptor; lws has no public per-connection area. */
struct slot {
	struct event read;
	struct event *write; /* made when first needed */
	uint32_t serial;
	bool wants_read, wants_write; /* what lws asked for */
	bool reads, writes; /* what libevent has been told */
	bool paused, held;
};

struct glue {
	es_loop *loop;
	struct event_base *base;
	struct lws_context *context;
	struct slot **slots; /* by descriptor */
	unsigned slot_count;
	uint32_t serial;
	bool serving_read;
	bool enough; /* said of the descriptor that is being read */
	bool unwatched; /* a watch could not be made, see watch_again() */
	struct glue_stats stats;
};

/* lws keeps one of these per service thread; there is one thread. */
struct per_thread {
	struct glue *glue;
};

static struct glue *
glue_of(struct lws *wsi)
{
	struct per_thread *pt = lws_evlib_wsi_to_evlib_pt(wsi);

	return pt->glue;
}

static struct slot *
slot_at(const struct glue *glue, int fd)
{
	if (fd < 0 || (unsigned)fd >= glue->slot_count)
		return NULL;
	return glue->slots[fd];
}

static void
service(struct glue *glue, int fd, short what)
{
	struct lws_pollfd poll = { .fd = fd, .events = what, .revents = what };

	(void)lws_service_fd(glue->context, &poll); /* closes by itself */
}

static bool
may_read_again(struct glue *glue, int fd, uint32_t serial, int *waiting)
{
	struct slot *slot = slot_at(glue, fd);
	int before = *waiting;

	if (slot == NULL || slot->serial != serial || !slot->reads)
		return false;
	if (ioctl(fd, FIONREAD, waiting) < 0)
		return false;
	return *waiting > 0 && *waiting != before;
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
	struct glue *glue = arg;
	struct slot *slot = slot_at(glue, fd);
	int waiting = -1;
	unsigned i;

	(void)what;
	es_loop_enter(glue->loop, "read");
	assert(slot != NULL);
	const uint32_t serial = slot->serial;

	glue->stats.reads++;
	glue->serving_read = true;
	glue->enough = false;
	service(glue, fd, LWS_POLLIN);
	for (i = 1; i < GLUE_READS_PER_ITERATION_MAX && !glue->enough; i++) {
		if (!may_read_again(glue, fd, serial, &waiting))
			break;
		glue->stats.reads_repeated++;
		service(glue, fd, LWS_POLLIN);
	}
	glue->serving_read = false;
	es_loop_leave(glue->loop);
}

static void
on_write(evutil_socket_t fd, short what, void *arg)
{
	struct glue *glue = arg;

	(void)what;
	es_loop_enter(glue->loop, "write");
	assert(slot_at(glue, fd) != NULL);
	service(glue, fd, LWS_POLLOUT);
	es_loop_leave(glue->loop);
}

static int
watch_write(struct glue *glue, struct slot *slot, int fd)
{
	if (slot->write == NULL) {
		slot->write = memory_alloc(sizeof(*slot->write));
		if (slot->write == NULL)
			return -ENOMEM;
		(void)event_assign(slot->write, glue->base, fd,
		    EV_WRITE | EV_PERSIST, on_write, glue);
	}
	glue->stats.write_waits++;
	return event_add(slot->write, NULL) < 0 ? -ENOMEM : 0;
}

/* Without memory a watch is tried again, until then nothing is heard. */
static void
watch_failed(struct glue *glue, int fd)
{
	if (!glue->unwatched)
		log_error("fd %d cannot be watched for want of memory", fd);
	glue->unwatched = true;
}

/* Makes libevent watch what lws wants, less what is paused or held. */
static void
slot_sync(struct glue *glue, struct slot *slot, int fd)
{
	const bool reads = slot->wants_read && !slot->paused && !slot->held;
	const bool writes = slot->wants_write && !slot->held;

	if (reads != slot->reads) {
		if (!reads)
			(void)event_del(&slot->read);
		if (!reads || event_add(&slot->read, NULL) == 0)
			slot->reads = reads;
		else
			watch_failed(glue, fd);
	}
	if (writes != slot->writes) {
		if (!writes)
			(void)event_del(slot->write);
		if (!writes || watch_write(glue, slot, fd) == 0)
			slot->writes = writes;
		else
			watch_failed(glue, fd);
	}
}

static void
watch_again(struct glue *glue)
{
	unsigned fd;

	glue->unwatched = false;
	for (fd = 0; fd < glue->slot_count; fd++)
		if (glue->slots[fd] != NULL)
			slot_sync(glue, glue->slots[fd], (int)fd);
}

static void
slot_free(struct glue *glue, int fd)
{
	struct slot *slot = slot_at(glue, fd);

	if (slot == NULL)
		return;
	if (slot->reads)
		(void)event_del(&slot->read);
	if (slot->writes)
		(void)event_del(slot->write);
	memory_free(slot->write);
	memory_free(slot);
	glue->slots[fd] = NULL;
}

static int
ops_init_pt(struct lws_context *context, void *loop, int tsi)
{
	struct per_thread *pt = lws_evlib_tsi_to_evlib_pt(context, tsi);

	pt->glue = loop;
	return 0;
}

static int
ops_sock_accept(struct lws *wsi)
{
	struct glue *glue = glue_of(wsi);
	const int fd = lws_get_socket_fd(wsi);
	struct slot *slot;

	glue_on_loop(glue);
	if (fd < 0 || (unsigned)fd >= glue->slot_count)
		return -1;
	slot_free(glue, fd);
	slot = memory_zalloc(sizeof(*slot));
	if (slot == NULL)
		return -1;
	slot->serial = ++glue->serial;
	(void)event_assign(
	    &slot->read, glue->base, fd, EV_READ | EV_PERSIST, on_read, glue);
	glue->slots[fd] = slot;
	return 0;
}

static void
ops_io(struct lws *wsi, unsigned int flags)
{
	struct glue *glue = glue_of(wsi);
	const int fd = lws_get_socket_fd(wsi);
	struct slot *slot = slot_at(glue, fd);

	glue_on_loop(glue);
	if (slot == NULL)
		return;
	if (flags & LWS_EV_READ)
		slot->wants_read = (flags & LWS_EV_START) != 0;
	if (flags & LWS_EV_WRITE)
		slot->wants_write = (flags & LWS_EV_START) != 0;
	slot_sync(glue, slot, fd);
}

static int
ops_init_listen(struct lws *wsi)
{
	if (ops_sock_accept(wsi) != 0)
		return -1;
	ops_io(wsi, LWS_EV_START | LWS_EV_READ);
	return 0;
}

static int
ops_logical_close(struct lws *wsi)
{
	slot_free(glue_of(wsi), lws_get_socket_fd(wsi));
	return 0;
}

static void
ops_destroy_wsi(struct lws *wsi)
{
	if (wsi != NULL)
		(void)ops_logical_close(wsi);
}

/*
 * LELOF_ISPOLL makes lws half-close and wait for the peer before close(2)
 * where it can.  No destroy_context1: with it lws_context_destroy() stops half
 * way and waits for a second call.
 */
static const struct lws_event_loop_ops glue_ops = {
	.name = "earshot",
	.init_pt = ops_init_pt,
	.init_vhost_listen_wsi = ops_init_listen,
	.sock_accept = ops_sock_accept,
	.io = ops_io,
	.wsi_logical_close = ops_logical_close,
	.destroy_wsi = ops_destroy_wsi,
	.flags = LELOF_ISPOLL,
	.evlib_size_pt = sizeof(struct per_thread),
};

static const lws_plugin_evlib_t glue_evlib = {
	.hdr = { "earshot", "lws_evlib_plugin", LWS_BUILD_HASH,
	    LWS_PLUGIN_API_MAGIC },
	.ops = &glue_ops,
};

/* The library's words are for its developers; peers can provoke most. */
static void
on_library_log(int level, const char *line)
{
	const size_t len = strcspn(line, "\n");

	(void)level;
	log_debug("libwebsockets: %.*s", (int)len, line);
}

static int
context_open(struct glue *glue, const struct glue_options *options)
{
	void *loops[1] = { glue };
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
			   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
		.foreign_loops = loops,
		.event_lib_custom = &glue_evlib,
		.fd_limit_per_thread = options->fds_max,
		.max_http_header_pool = (unsigned short)options->heads_max,
		.max_http_header_data2 = options->head_bytes_max,
		.timeout_secs = options->request_timeout_s,
		.pt_serv_buf_size = 65536,
		.retry_and_idle_policy = glue_no_validity(),
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
	};

	lws_set_log_level(LLL_ERR | LLL_WARN, on_library_log);
	glue->context = lws_create_context(&info);
	return glue->context != NULL ? 0 : -EIO;
}

int
glue_open(
    es_loop *loop, const struct glue_options *options, struct glue **ret_glue)
{
	struct glue *glue;
	int error;

	assert(es_loop_current() == loop);
	assert(options->fds_max > 0);
	glue = memory_zalloc(sizeof(*glue));
	if (glue == NULL)
		return -ENOMEM;
	glue->loop = es_loop_ref(loop);
	glue->base = es_loop_event_base(loop);
	glue->slot_count = options->fds_max;
	glue->slots = memory_zalloc(glue->slot_count * sizeof(*glue->slots));
	if (glue->slots == NULL) {
		error = -ENOMEM;
		goto err_free;
	}
	error = context_open(glue, options);
	if (error < 0)
		goto err_free;
	*ret_glue = glue;
	return 0;

err_free:
	es_loop_unref(glue->loop);
	memory_free(glue->slots);
	memory_free(glue);
	return error;
}

void
glue_close(struct glue *glue)
{
	unsigned fd;

	if (glue == NULL)
		return;
	assert(es_loop_current() == glue->loop);
	lws_context_destroy(glue->context);
	for (fd = 0; fd < glue->slot_count; fd++)
		slot_free(glue, (int)fd);
	es_loop_unref(glue->loop);
	memory_free(glue->slots);
	memory_free(glue);
}

void
glue_on_loop(const struct glue *glue)
{
	es_loop_assert(glue->loop);
}

const struct lws_retry_bo *
glue_no_validity(void)
{
	static const lws_retry_bo_t all_zero;

	return &all_zero;
}

struct lws_context *
glue_context(struct glue *glue)
{
	return glue->context;
}

es_loop *
glue_loop(struct glue *glue)
{
	return glue->loop;
}

const struct glue_stats *
glue_stats(const struct glue *glue)
{
	return &glue->stats;
}

void
glue_before_poll(struct glue *glue, es_usec *wait)
{
	const int most_ms = 1000 * 60;
	const int ms = lws_service_adjust_timeout(glue->context, most_ms, 0);
	es_usec next = ms < most_ms ? ES_MS(ms) : ES_FOREVER;

	assert(ms >= 0);
	if (glue->unwatched)
		watch_again(glue);
	if (glue->unwatched)
		next = next < WATCH_AGAIN_AFTER ? next : WATCH_AGAIN_AFTER;
	if (next < *wait)
		*wait = next;
}

void
glue_after_batch(struct glue *glue)
{
	if (lws_service_adjust_timeout(glue->context, 1, 0) != 0)
		return;
	glue->serving_read = true;
	(void)_lws_plat_service_forced_tsi(glue->context, 0);
	glue->serving_read = false;
}

int
glue_adopt(struct glue *glue, struct lws_vhost *vhost, int fd, bool tls,
    void *opaque, struct lws **ret_wsi)
{
	lws_adopt_desc_t desc = {
		.vh = vhost,
		.type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP,
		.fd = { .sockfd = fd },
		.opaque = opaque,
	};
	struct lws *wsi;

	assert(es_loop_current() == glue->loop);
	if (tls)
		desc.type |= LWS_ADOPT_ALLOW_SSL;
	wsi = lws_adopt_descriptor_vhost_via_info(&desc);
	if (wsi == NULL)
		return -EIO;
	*ret_wsi = wsi;
	return 0;
}

static struct slot *
slot_get(struct glue *glue, int fd)
{
	struct slot *slot = slot_at(glue, fd);

	assert(es_loop_current() == glue->loop);
	assert(slot != NULL);
	return slot;
}

void
glue_pause_reading(struct glue *glue, int fd)
{
	struct slot *slot = slot_get(glue, fd);

	slot->paused = true;
	slot_sync(glue, slot, fd);
}

void
glue_resume_reading(struct glue *glue, int fd)
{
	struct slot *slot = slot_get(glue, fd);

	slot->paused = false;
	slot_sync(glue, slot, fd);
}

void
glue_hold(struct glue *glue, int fd)
{
	struct slot *slot = slot_get(glue, fd);

	slot->held = true;
	slot_sync(glue, slot, fd);
}

void
glue_release(struct glue *glue, int fd)
{
	struct slot *slot = slot_get(glue, fd);

	slot->held = false;
	slot_sync(glue, slot, fd);
}

void
glue_wants(struct glue *glue, int fd, bool *ret_read, bool *ret_write)
{
	const struct slot *slot = slot_get(glue, fd);

	*ret_read = slot->wants_read;
	*ret_write = slot->wants_write;
}

void
glue_read_enough(struct glue *glue)
{
	glue->enough = true;
}

uint64_t
glue_round(const struct glue *glue)
{
	return glue->stats.reads;
}

bool
glue_serving_read(const struct glue *glue)
{
	return glue->serving_read;
}

void
glue_count_short(struct lws *wsi, size_t kept)
{
	struct glue *glue = glue_of(wsi);

	glue->stats.writes_short++;
	glue->stats.bytes_kept += kept;
}
