/*
 * The control socket: a listener like others whose connections see further
 * routes, and who may come in.
 *
 * The happy path: connect, which the file's mode allows to the daemon's user
 * and group -> the peer is asked for again by SO_PEERCRED -> the route answers
 * at once, in pieces (inspect.c), or waits: drain and reload are the roof's,
 * which answers through net_control_answer().
 *
 * What can go wrong:
 * - somebody has opened the file to others: 403, logged;
 * - half a request and then nothing: handshake_timeout, as everywhere; more
 *   than CONTROL_CONNECTIONS_MAX at once: accepted and closed;
 * - the roof does not answer: cut after AWAIT_US;
 * - the client leaves before its answer: it is named by slot and generation,
 *   so the answer finds nobody.
 */

#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "daemon/net/net_internal.h"
#include "daemon/net/routes.h"
#include "proto/decimal.h"
#include "proto/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define AWAIT_US LIMITS_S * 60
#define ANSWER_BYTES_MAX (16 * (size_t)LIMITS_MIB)
#define GROUPS_MAX 1024

struct awaited {
	bool ready;
	unsigned status;
	struct buffer body;
};

/* Who may */

static bool
is_of_group(int fd, gid_t wanted)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);
	size_t i;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

static int
get_peer(const struct conn *conn, struct ucred *ret_peer)
{
	socklen_t len = sizeof(*ret_peer);

	return getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &len);
}

bool
control_may(struct conn *conn)
{
	struct ucred peer;

	if (get_peer(conn, &peer) == 0 &&
	    (peer.uid == 0 || peer.uid == geteuid() || peer.gid == getegid() ||
		is_of_group(conn->fd, getegid())))
		return true;
	conn->net->counts.refused_peers++;
	log_warn("control: refused, uid=%d gid=%d pid=%d is neither root nor "
		 "the daemon's user nor of its group",
	    (int)peer.uid, (int)peer.gid, (int)peer.pid);
	return false;
}

/* Who did what: one line for each thing that was done. */
__attribute__((format(printf, 2, 3))) static void
tell(const struct conn *conn, const char *fmt, ...)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	char text[320];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* cut is fine */
	va_end(args);
	(void)get_peer(conn, &peer); /* it was there a moment ago */
	log_info("control: %s, by uid=%d pid=%d", text, (int)peer.uid,
	    (int)peer.pid);
}

/* Answers */

static int
answer_buffer(struct conn *conn, struct buffer *out, int error) LOOP_THREAD
{
	int result;

	if (error == 0)
		error = buffer_append(out, "\n", 1, ANSWER_BYTES_MAX);
	result = error < 0 ? http_error(conn, 503, "no_memory", "out of memory")
			   : http_answer(conn, &(struct answer){ .status = 200,
						   .body = out->data,
						   .len = out->len });
	buffer_fini(out);
	return http_end(conn, result);
}

static int
on_status(struct conn *conn, const char *channel) LOOP_THREAD
{
	const struct net_control *roof = &conn->net->control.roof;
	struct buffer out;

	(void)channel;
	buffer_init(&out);
	return answer_buffer(conn, &out, roof->put_status(&out, roof->arg));
}

static int
on_feeds(struct conn *conn, const char *channel) LOOP_THREAD
{
	const struct net_control *roof = &conn->net->control.roof;
	struct buffer out;
	int error;

	(void)channel;
	buffer_init(&out);
	error = buffer_printf(&out, ANSWER_BYTES_MAX, "{\"feeds\":");
	if (error == 0)
		error = roof->put_feeds(&out, roof->arg);
	if (error == 0)
		error = buffer_append(&out, "}", 1, ANSWER_BYTES_MAX);
	return answer_buffer(conn, &out, error);
}

static int
on_root(struct conn *conn, const char *channel) LOOP_THREAD
{
	(void)channel;
	return http_text(conn, 200,
	    "earshot: control\n"
	    "\n"
	    "look  GET  /control/status /control/channels\n"
	    "           /control/connections /control/feeds\n"
	    "do    POST /control/kick?conn=CONN or ?channel=PATTERN\n"
	    "                        [&code=CODE][&reason=TEXT]\n"
	    "           /control/log-level?level=error|warn|info|debug\n"
	    "           /control/reload /control/drain\n"
	    "\n"
	    "earshot status, channels, connections, feeds, kick, log-level,\n"
	    "reload, drain, top do the same from a shell\n");
}

/* Kicking */

struct kick {
	const char *pattern; /* NULL: the one in slot */
	uint32_t slot, generation;
	int code;
	char reason[124];
	unsigned count;
};

static bool
hears(const struct conn *conn, const char *pattern)
{
	LIST_EACH_SAFE(node, next, &conn->subscriptions)
	{
		const char *name = hub_consumer_channel(
		    &LIST_ENTRY(node, struct subscription, node)->consumer);

		if (name != NULL && channel_pattern_match(pattern,
					strlen(pattern), name, strlen(name)))
			return true;
	}
	return false;
}

static bool
is_meant(const struct conn *conn, const struct kick *kick)
{
	if (kick->pattern != NULL)
		return hears(conn, kick->pattern);
	return conn->slot == kick->slot && conn->generation == kick->generation;
}

static void
kick_all(struct net *net, struct kick *kick) LOOP_THREAD
{
	LIST_EACH_SAFE(node, next, &net->conns)
	{
		struct conn *conn = LIST_ENTRY(node, struct conn, node);

		if (conn->cut || conn->listener->control ||
		    !is_meant(conn, kick))
			continue;
		if (conn_is_stream(conn))
			conn_close(
			    conn, (uint16_t)kick->code, "%s", kick->reason);
		else
			conn_cut(conn);
		kick->count++;
	}
}

/* What may stand in a close frame: RFC 6455 section 7.4, and our own. */
static bool
code_valid(int64_t code)
{
	return (code >= 1000 && code <= 1013 && code != 1004 && code != 1005 &&
		   code != 1006) ||
	       (code >= 3000 && code <= 4999);
}

static int
bad_argument(struct conn *conn, const char *expected) LOOP_THREAD
{
	return http_end(
	    conn, http_error(conn, 400, "bad_argument", "%s", expected));
}

/* "SLOT.GENERATION" */
static bool
get_name(const char *text, size_t len, struct kick *kick)
{
	const char *dot = memchr(text, '.', len);
	const size_t before = dot != NULL ? (size_t)(dot - text) : len;
	int64_t slot, generation;

	if (dot == NULL || decimal_get(text, before, &slot) < 0 ||
	    decimal_get(dot + 1, len - before - 1, &generation) < 0 ||
	    slot > UINT32_MAX || generation > UINT32_MAX)
		return false;
	kick->slot = (uint32_t)slot;
	kick->generation = (uint32_t)generation;
	return true;
}

/* NULL, or what was expected. */
static const char *
get_how(struct conn *conn, struct kick *kick)
{
	char text[16];
	int len = http_argument(conn, "code=", text, sizeof(text));

	kick->code = 1008;
	(void)strcpy(kick->reason, "kicked");
	if (len != -ENOENT) {
		int64_t code = 0;

		if (len < 0 || decimal_get(text, (size_t)len, &code) < 0 ||
		    !code_valid(code))
			return "code: expected 1000 to 1013 or 3000 to 4999, "
			       "one that may be sent";
		kick->code = (int)code;
	}
	len = http_argument(conn, "reason=", kick->reason, 124);
	if (len >= 0 ? !utf8_valid(kick->reason, (size_t)len) : len != -ENOENT)
		return "reason: expected at most 123 bytes of UTF-8";
	return NULL;
}

static int
on_kick(struct conn *conn, const char *channel) LOOP_THREAD
{
	char name[32], pattern[CHANNEL_NAME_MAX + 1], body[32];
	const int name_len = http_argument(conn, "conn=", name, sizeof(name));
	const int pattern_len =
	    http_argument(conn, "channel=", pattern, sizeof(pattern));
	struct kick kick = { .pattern = pattern_len > 0 ? pattern : NULL };
	const char *expected = get_how(conn, &kick);

	(void)channel;
	if (expected != NULL)
		return bad_argument(conn, expected);
	if ((name_len == -ENOENT) == (pattern_len == -ENOENT))
		return bad_argument(conn, "expected conn= or channel=");
	if (pattern_len != -ENOENT &&
	    (pattern_len < 0 ||
		!channel_pattern_valid(pattern, (size_t)pattern_len)))
		return bad_argument(
		    conn, "channel: expected a name or pattern");
	if (name_len != -ENOENT &&
	    (name_len < 0 || !get_name(name, (size_t)name_len, &kick)))
		return bad_argument(
		    conn, "conn: expected SLOT.GENERATION as in conn=3.0");
	kick_all(conn->net, &kick);
	tell(conn, "kick %s: %u with %d", kick.pattern ? pattern : name,
	    kick.count, kick.code);
	if (kick.count == 0)
		return http_end(conn,
		    http_error(conn, 404, "nobody", "there is none like that"));
	(void)snprintf(body, sizeof(body), "{\"kicked\":%u}\n", kick.count);
	return http_end(conn, http_answer(conn, &(struct answer){ .status = 200,
						    .body = body,
						    .len = strlen(body) }));
}

/* Level */

static int
on_log_level(struct conn *conn, const char *channel) LOOP_THREAD
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	const char *before = names[log_get_level()];
	char text[8], body[64];
	const int len = http_argument(conn, "level=", text, sizeof(text));
	int level = LOG_LEVEL_DEBUG;

	(void)channel;
	while (len > 0 && level >= 0 && strcmp(names[level], text) != 0)
		level--;
	if (len <= 0 || level < 0)
		return bad_argument(
		    conn, "level: expected error, warn, info or debug");
	tell(conn, "log-level %s, was %s", text, before);
	log_set_level((enum log_level)level);
	(void)snprintf(body, sizeof(body),
	    "{\"level\":\"%s\",\"before\":\"%s\"}\n", text, before);
	return http_end(conn, http_answer(conn, &(struct answer){ .status = 200,
						    .body = body,
						    .len = strlen(body) }));
}

/* What the roof answers */

static uint64_t
handle_of(const struct conn *conn)
{
	return (uint64_t)conn->generation << 32 | conn->slot;
}

void
control_abandon(struct conn *conn)
{
	if (conn->awaited == NULL)
		return;
	buffer_fini(&conn->awaited->body);
	memory_free(conn->awaited);
	conn->awaited = NULL;
}

static int
await_roof(struct conn *conn, const char *what,
    int (*begin)(uint64_t request, void *arg)) LOOP_THREAD
{
	const struct net_control *roof = &conn->net->control.roof;

	conn->awaited = memory_zalloc(sizeof(*conn->awaited));
	if (conn->awaited == NULL)
		return http_end(
		    conn, http_error(conn, 503, "no_memory", "out of memory"));
	tell(conn, "%s", what);
	if (begin(handle_of(conn), roof->arg) < 0) {
		control_abandon(conn);
		return http_end(
		    conn, http_error(conn, 503, "no_memory", "out of memory"));
	}
	conn_set_deadline(conn, AWAIT_US);
	lws_set_timeout(conn->wsi, NO_PENDING_TIMEOUT, 0); /* ours decides */
	return 0;
}

static int
on_drain(struct conn *conn, const char *channel) LOOP_THREAD
{
	(void)channel;
	return await_roof(conn, "drain", conn->net->control.roof.drain);
}

static int
on_reload(struct conn *conn, const char *channel) LOOP_THREAD
{
	(void)channel;
	return await_roof(conn, "reload", conn->net->control.roof.reload);
}

void
net_control_answer(struct net *net, uint64_t request, unsigned status,
    const void *body, size_t len)
{
	const uint32_t slot = (uint32_t)request;
	struct conn *conn;

	assert(slot < net->slot_count);
	conn = net->slots[slot];
	if (conn == NULL || handle_of(conn) != request ||
	    conn->awaited == NULL || conn->awaited->ready)
		return;
	conn->awaited->ready = true;
	conn->awaited->status = status;
	if (buffer_append(&conn->awaited->body, body, len, ANSWER_BYTES_MAX) <
	    0)
		conn->awaited->status = 503; /* and says no more than that */
	(void)lws_callback_on_writable(conn->wsi); /* or its end comes */
}

int
control_on_writable(struct conn *conn)
{
	const struct awaited *awaited = conn->awaited;
	int result;

	if (!awaited->ready)
		return 0;
	result = http_answer(conn, &(struct answer){ .status = awaited->status,
				       .body = awaited->body.data,
				       .len = awaited->body.len });
	control_abandon(conn);
	return http_end(conn, result);
}

/* The socket */

void
net_set_control(struct net *net, const struct net_control *control)
{
	static char name[] = "control";
	static char shown[] = "the control socket";
	static char host[] = "";

	net->control.roof = *control;
	net->control.conf = (struct conf_listener){
		.name = name,
		.kind = CONF_ADDRESS_UNIX,
		.host = host,
		/* Nobody writes on it: the type is that of configurations. */
		.path = (char *)(uintptr_t)control->path,
		.address = shown,
	};
}

static const struct route table[] = {
	{ "/", true, false, on_root, NULL },
	{ "/control/status", false, false, on_status, NULL },
	{ "/control/channels", false, false, inspect_channels, NULL },
	{ "/control/connections", false, false, inspect_connections, NULL },
	{ "/control/feeds", false, false, on_feeds, NULL },
	{ "/control/kick", false, false, NULL, on_kick },
	{ "/control/log-level", false, false, NULL, on_log_level },
	{ "/control/drain", false, false, NULL, on_drain },
	{ "/control/reload", false, false, NULL, on_reload },
};

const struct route *
control_routes(size_t *ret_count)
{
	*ret_count = sizeof(table) / sizeof(*table);
	return table;
}
