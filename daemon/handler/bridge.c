/*
 * bridge: what plugins call, from whatever thread, and what it does on the
 * net loop.
 *
 * The happy path: arguments and limits are looked at in the caller's thread ->
 * a request is a call onto the loop -> its work is done there -> its future
 * settles.  Calls of one thread happen in their order.
 *
 * What can go wrong:
 * - too much is on its way: -EAGAIN, at once;
 * - the connection has gone: -ENOTCONN at once, or, when it goes meanwhile,
 *   through the future;
 * - the future was cancelled before its turn: the request does nothing;
 * - the loop closes first: -ESHUTDOWN.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/handler/bridge_internal.h"
#include "daemon/handler/plugin.h"
#include "daemon/handler/upstream_internal.h"
#include "proto/channel.h"
#include "proto/json.h"
#include "proto/utf8.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define REQUEST_COST 256 /* counted for one beside its bytes */

/* Requests, any thread */

static int64_t
cost_of(size_t len)
{
	return (int64_t)len + REQUEST_COST;
}

/* May len bytes more be on their way? */
static int
take_room(_Atomic int64_t *bytes, int64_t add, int64_t max)
{
	const int64_t before = atomic_fetch_add(bytes, add);

	assert(add >= 0);
	/* One message longer than the limit passes when it is alone. */
	if (before <= 0 || before + add <= max)
		return 0;
	atomic_fetch_sub(bytes, add);
	return -EAGAIN;
}

void
request_free(struct request *request)
{
	atomic_fetch_sub(&request->handler->in_flight, cost_of(request->len));
	if (request->line != NULL)
		atomic_fetch_sub(&request->line->bytes, (int64_t)request->len);
	future_leave(request->f);
	memory_free(request->sending);
	memory_free(request);
}

int
request_new(struct handler *handler, const char *channel, const void *data,
    size_t len, bool answered, struct request **ret_request)
{
	es_loop *loop = handler->handlers->rooms.loop;
	const size_t name_bytes = channel != NULL ? strlen(channel) + 1 : 0;
	struct request *request;

	if (len > (size_t)atomic_load(&handler->handlers->message_bytes_max))
		return -EMSGSIZE;
	if (take_room(&handler->in_flight, cost_of(len),
		handler->conf->in_flight_bytes_max) < 0) {
		atomic_fetch_add(&handler->again, 1);
		return -EAGAIN;
	}
	request = memory_alloc(sizeof(*request) + len + name_bytes);
	if (request == NULL) {
		atomic_fetch_sub(&handler->in_flight, cost_of(len));
		return -ENOMEM;
	}
	*request = (struct request){ .handler = handler, .len = len };
	if (len > 0)
		memcpy(request->data, data, len);
	request->channel = (char *)request->data + len;
	if (channel != NULL)
		memcpy(request->channel, channel, name_bytes);
	if (answered) {
		request->f = es_future_new(loop);
		if (request->f == NULL) {
			request_free(request);
			return -ENOMEM;
		}
	}
	*ret_request = request;
	return 0;
}

void
request_fail(struct request *request, int error)
{
	if (request->f != NULL)
		(void)es_future_set_error(
		    request->f, error, "%s", strerrordesc_np(-error));
}

static void
request_run(struct post *post, bool dropped)
{
	struct request *request = LIST_ENTRY(post, struct request, post);

	if (dropped) {
		request_fail(request, -ESHUTDOWN);
		request_free(request);
		return;
	}
	es_loop_assert(request->handler->handlers->rooms.loop);
	/* Cancelled before its turn: it does not happen. */
	if (request->f == NULL || !es_future_done(request->f))
		request->fn(request, request->f);
	if (!request->kept)
		request_free(request);
}

int
request_post(struct request *request,
    void (*fn)(struct request *request, es_future *f), es_future **ret_future)
{
	es_future *f = NULL;
	int r;

	request->fn = fn;
	request->post.run = request_run;
	if (ret_future != NULL)
		f = es_future_ref(request->f);
	r = outbox_push(request->handler->handlers->outbox, &request->post);
	if (r < 0)
		future_leave(f);
	else if (ret_future != NULL)
		*ret_future = f;
	return r;
}

void
give(es_future *f, void *value, es_drop drop)
{
	es_value v = ES_PTR(value, drop);

	if (f == NULL || es_future_set_result(f, v) < 0)
		es_value_drop(&v);
}

void
give_nothing(struct request *request, int error)
{
	if (error < 0)
		request_fail(request, error);
	else
		give(request->f, NULL, NULL);
}

/* NULL: no connection has that name now. */
static struct line *
find_line(struct handler *handler, es_conn conn)
{
	struct handlers *handlers = handler->handlers;
	struct line *line;

	if (conn == 0 || conn_slot(conn) >= handlers_slots(handlers))
		return NULL;
	line = &handlers->lines[conn_slot(conn)];
	return atomic_load(&line->name) == conn ? line : NULL;
}

/* On the loop.  NULL: it has gone. */
static struct session *
find_session(const struct request *request)
{
	return session_find(request->handler->handlers, request->conn);
}

/* Sending */

int
check_payload(enum es_kind kind, const void *data, size_t len)
{
	if ((kind != ES_TEXT && kind != ES_JSON && kind != ES_BINARY) ||
	    (data == NULL && len > 0))
		return -EINVAL;
	if (kind == ES_TEXT && !utf8_valid(data, len))
		return -EILSEQ;
	if (kind == ES_JSON && json_check(data, len, NULL) < 0)
		return -EBADMSG;
	return 0;
}

static void
do_send(struct request *request, es_future *f) LOOP_THREAD
{
	struct session *session = find_session(request);
	struct sending *sending = request->sending;

	if (session == NULL) {
		request_fail(request, -ENOTCONN);
		return;
	}
	request->sending = NULL;
	request->line = NULL; /* its bytes are the session's now */
	if (sending != NULL)
		sending->f = es_future_ref(f);
	(void)session_send(/* the future tells */
	    session, request->kind, request->data, request->len, sending);
}

static int
bridge_send(void *self, es_conn conn, enum es_kind kind, const void *data,
    size_t len, es_future **ret_future)
{
	struct handler *handler = self;
	struct line *line = find_line(handler, conn);
	struct request *request;
	int r = check_payload(kind, data, len);

	if (r < 0)
		return r;
	if (line == NULL)
		return -ENOTCONN;
	if (take_room(&line->bytes, (int64_t)len,
		handler->conf->send_bytes_max) < 0) {
		atomic_fetch_add(&handler->again, 1);
		return -EAGAIN;
	}
	r = request_new(handler, NULL, data, len, ret_future != NULL, &request);
	if (r < 0) {
		atomic_fetch_sub(&line->bytes, (int64_t)len);
		return r;
	}
	request->conn = conn;
	request->kind = (enum message_kind)kind;
	request->line = line;
	if (ret_future != NULL) {
		request->sending = memory_zalloc(sizeof(*request->sending));
		if (request->sending == NULL) {
			(void)es_future_cancel(request->f); /* nobody has it */
			request_free(request);
			return -ENOMEM;
		}
		list_init(&request->sending->node);
	}
	return request_post(request, do_send, ret_future);
}

/* Connections */

static bool
code_is_ours_to_send(uint16_t code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 &&
		   code != 1006) ||
	       (code >= 3000 && code <= 4999);
}

static void
do_close(struct request *request, es_future *f)
{
	struct session *session = find_session(request);

	(void)f;
	if (session == NULL || session->conn == NULL)
		return;
	request->data[request->len - 1] = '\0';
	session->ops->close(
	    session->conn, request->code, (const char *)request->data);
}

static int
bridge_close(void *self, es_conn conn, uint16_t code, const char *reason)
{
	struct handler *handler = self;
	struct request *request;
	size_t len;
	int r;

	reason = reason != NULL ? reason : "";
	len = strnlen(reason, SESSION_REASON_BYTES_MAX + 1);
	if (!code_is_ours_to_send(code) || len > SESSION_REASON_BYTES_MAX)
		return -EINVAL;
	if (!utf8_valid(reason, len))
		return -EILSEQ;
	if (find_line(handler, conn) == NULL)
		return -ENOTCONN;
	r = request_new(handler, NULL, reason, len + 1, false, &request);
	if (r < 0)
		return r;
	request->conn = conn;
	request->code = code;
	return request_post(request, do_close, NULL);
}

static void
do_subscribe(struct request *request, es_future *f)
{
	struct session *session = find_session(request);
	struct es_subscribed *subscribed;
	struct hub_answer answer;
	int r = -ENOTCONN;

	if (session != NULL && session->conn != NULL)
		r = session->ops->subscribe(session->conn, request->channel,
		    strlen(request->channel), &request->from, &answer);
	subscribed = r < 0 ? NULL : memory_alloc(sizeof(*subscribed));
	if (subscribed == NULL) {
		request_fail(request, r < 0 ? r : -ENOMEM);
		return;
	}
	*subscribed = (struct es_subscribed){
		.position = { answer.position.epoch, answer.position.offset },
		.recovered = answer.recovered,
		.gap_from = answer.gap_from,
		.gap_to = answer.gap_to,
	};
	give(f, subscribed, memory_free);
}

static void
do_unsubscribe(struct request *request, es_future *f)
{
	struct session *session = find_session(request);
	int r = -ENOTCONN;

	(void)f;
	if (session != NULL && session->conn != NULL)
		r = session->ops->unsubscribe(
		    session->conn, request->channel, strlen(request->channel));
	give_nothing(request, r);
}

int
channel_request(struct handler *handler, const char *channel, const char *from,
    bool answered, struct request **ret_request)
{
	struct from parsed = { .kind = FROM_LIVE };
	size_t len;
	int r;

	if (channel == NULL)
		return -EINVAL;
	len = strnlen(channel, CHANNEL_NAME_MAX + 1);
	if (!channel_name_valid(channel, len) ||
	    (from != NULL && from_get(from, strlen(from), &parsed) < 0))
		return -EINVAL;
	r = request_new(handler, channel, NULL, 0, answered, ret_request);
	if (r < 0)
		return r;
	(*ret_request)->from = parsed;
	return 0;
}

static int
bridge_subscribe(void *self, es_conn conn, const char *channel,
    const char *from, es_future **ret_future)
{
	struct request *request;
	int r;

	if (find_line(self, conn) == NULL)
		return -ENOTCONN;
	r = channel_request(self, channel, from, ret_future != NULL, &request);
	if (r < 0)
		return r;
	request->conn = conn;
	return request_post(request, do_subscribe, ret_future);
}

static int
bridge_unsubscribe(
    void *self, es_conn conn, const char *channel, es_future **ret_future)
{
	struct request *request;
	int r;

	if (find_line(self, conn) == NULL)
		return -ENOTCONN;
	r = channel_request(self, channel, NULL, ret_future != NULL, &request);
	if (r < 0)
		return r;
	request->conn = conn;
	return request_post(request, do_unsubscribe, ret_future);
}

struct info {
	struct es_info info; /* first: it is what the plugin gets */
	void *memory;
};

static void
info_drop(void *arg)
{
	struct info *info = arg;

	memory_free(info->memory);
	memory_free(info);
}

static void
do_info(struct request *request, es_future *f)
{
	struct session *session = find_session(request);
	struct info *info;

	if (session == NULL || session->conn == NULL) {
		request_fail(request, -ENOTCONN);
		return;
	}
	info = memory_zalloc(sizeof(*info));
	if (info != NULL)
		info->memory = open_copy(&session->open, &info->info.open);
	if (info == NULL || info->memory == NULL) {
		memory_free(info);
		request_fail(request, -ENOMEM);
		return;
	}
	info->info.subscriptions = session->ops->subscriptions(session->conn);
	info->info.unsent_bytes = session->sent - session->written;
	info->info.queued_messages = (uint64_t)session->count;
	info->info.closing = session->ops->closing(session->conn);
	give(f, info, info_drop);
}

static int
bridge_info(void *self, es_conn conn, es_future **ret_future)
{
	struct request *request;
	int r;

	if (ret_future == NULL)
		return -EINVAL;
	if (find_line(self, conn) == NULL)
		return -ENOTCONN;
	r = request_new(self, NULL, NULL, 0, true, &request);
	if (r < 0)
		return r;
	request->conn = conn;
	return request_post(request, do_info, ret_future);
}

/* Other calls */

static const char *
bridge_option(void *self, const char *key)
{
	const struct conf_handler *conf = ((struct handler *)self)->conf;
	size_t i;

	for (i = 0; i < conf->option_count; i++)
		if (strcmp(conf->options[i].key, key) == 0)
			return conf->options[i].value;
	return NULL;
}

static void
bridge_log(void *self, enum es_log_level level, const char *text)
{
	const char *name = ((struct handler *)self)->conf->name;

	switch (level) {
	case ES_LOG_ERROR:
		log_error("%s handler=%s", text, name);
		break;
	case ES_LOG_WARN:
		log_warn("%s handler=%s", text, name);
		break;
	case ES_LOG_DEBUG:
		log_debug("%s handler=%s", text, name);
		break;
	default:
		log_info("%s handler=%s", text, name);
		break;
	}
}

static int
bridge_await(void *self, es_future *f, int64_t timeout_us)
{
	if (f == NULL)
		return -EINVAL;
	(void)outbox_flush(/* closed: f has settled, or does not need it */
	    ((struct handler *)self)->handlers->outbox);
	return es_await(f, timeout_us);
}

static const void *
bridge_result(void *self, const es_future *f)
{
	es_value value;

	(void)self;
	if (f == NULL || es_future_result(f, &value) < 0)
		return NULL;
	return value.p;
}

static int
bridge_cancel(void *self, es_future *f)
{
	(void)self;
	return es_future_cancel(f);
}

static void
bridge_unref(void *self, es_future *f)
{
	(void)self;
	es_future_unref(f);
}

void
bridge_init(struct handler *handler)
{
	handler->host = (struct es_host){
		.version = ES_PLUGIN_VERSION,
		.size = sizeof(handler->host),
		.self = handler,
		.option = bridge_option,
		.log = bridge_log,
		.send = bridge_send,
		.close = bridge_close,
		.subscribe = bridge_subscribe,
		.unsubscribe = bridge_unsubscribe,
		.info = bridge_info,
		.publish = bridge_publish,
		.history = bridge_history,
		.run = bridge_run,
		.await = bridge_await,
		.result = bridge_result,
		.cancel = bridge_cancel,
		.unref = bridge_unref,
		.change = bridge_change,
		.refuse = bridge_refuse,
	};
}
