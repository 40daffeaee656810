/*
 * One connection, for ever.
 *
 * The happy path: dial_start() -> on_open -> messages -> it is lost -> after
 * a delay the next.
 *
 * What can go wrong:
 * - no connection: the next address at once, then full jitter (retry.h);
 * - the server says no (4xx, a policy's close code): told, and no more;
 * - it does not believe the token, which may have come to its end: with a new
 *   one, if there is a file to read it from, again;
 * - the server goes and says when to come back: not earlier, and without
 *   delays of ours if the connection has lasted a while;
 * - the server is gone and nobody says so: looked at three times in --silence
 *   seconds; nothing heard since the last time: a ping, since that: it is lost.
 */

#include "daemon/ctl/dial.h"
#include "daemon/ctl/words.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The longest message there can be, if all of it has to be escaped. */
#define MESSAGE_BYTES_MAX ((size_t)6 * 256 * 1024 * 1024 + 4096)
#define QUEUE_BYTES_MAX 65536
#define CLOSE_TIMEOUT ES_S(2)

static void connect_next(struct dial *dial) LOOP_THREAD;

static const char *
url_of(const struct dial *dial)
{
	return dial->session->options->url_text;
}

void
dial_tell(const struct dial *dial, const char *fmt, ...)
{
	char text[2 * CTL_TEXT_MAX];
	va_list args;

	if (!dial->states)
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ctl_say("%s", text);
}

static void
give_up(struct dial *dial, const char *text, const char *advice)
{
	ctl_say("%s: %s%s%s", url_of(dial), text, advice != NULL ? "; " : "",
	    advice != NULL ? advice : "");
	dial->ops->gave_up(dial->arg);
}

static void
on_again(void *arg)
{
	struct dial *dial = arg;

	es_loop_assert(dial->session->loop);
	es_call_unref(dial->again);
	dial->again = NULL;
	connect_next(dial);
}

static void
again_in(struct dial *dial, es_usec delay)
{
	es_loop_assert(dial->session->loop);
	assert(dial->again == NULL);
	assert(!dial->closing);
	if (es_call_later(dial->session->loop, delay, "dial.again", on_again,
		dial, NULL, &dial->again) < 0)
		give_up(dial, strerror(ENOMEM), NULL);
}

/*
 * An attempt, or a connection, has failed for that reason; the next one comes
 * not before `least`.
 */
static void
failed(struct dial *dial, const char *text, es_usec least)
{
	es_usec delay = retry_failed(&dial->retry, session_random());

	if (delay < 0) {
		give_up(dial, text, NULL);
		return;
	}
	if (delay < least)
		delay = least;
	dial_tell(dial, "%s: %s; again in %" PRId64 " ms", url_of(dial), text,
	    delay / 1000);
	again_in(dial, delay);
}

static void
forget(es_call **call) LOOP_THREAD
{
	if (*call == NULL)
		return;
	(void)es_call_cancel(*call); /* it may be the one running */
	es_call_unref(*call);
	*call = NULL;
}

/* The client has ended; true: so has everything. */
static bool
drop_client(struct dial *dial)
{
	es_loop_assert(dial->session->loop);
	forget(&dial->watch);
	client_free(dial->client);
	dial->client = NULL;
	if (dial->closing)
		dial->ops->over(dial->arg);
	return dial->closing;
}

/* Codes after which it would only end the same way. */
static bool
is_final(uint16_t code)
{
	switch (code) {
	case 1003:
	case 1007: /* these are ours: the server's text is not UTF-8, … */
	case 1008:
	case 1009: /* … its message is longer than we take */
	case 1010:
	case 4401:
	case 4403:
		return true;
	default:
		return false;
	}
}

/*
 * The token is not, or no more, believed.  A file may get another one, a moment
 * late too: for that a server that has believed one is asked again.
 */
static void
refused(struct dial *dial, const char *text, es_usec least)
{
	const struct ctl_options *options = dial->session->options;
	const bool again = options->token_path != NULL &&
			   dial->retry.ever_open &&
			   dial->refusals++ < CTL_REFUSALS_MAX;

	es_loop_assert(dial->session->loop);
	if (again)
		failed(dial, text, least);
	else if (options->token_path != NULL)
		give_up(dial, text, NULL);
	else if (options->token_text != NULL)
		give_up(dial, text,
		    "the token is that of EARSHOT_TOKEN; one in a file, "
		    "--token-file, can be renewed");
	else
		give_up(dial, text, DIAL_TOKEN_ADVICE);
}

/* A connection has ended in a way that another one may not. */
static void
lost(struct dial *dial, uint16_t code, const char *reason, size_t len,
    const char *text)
{
	const es_usec open_us =
	    es_loop_time(dial->session->loop) - dial->opened_at;

	es_loop_assert(dial->session->loop);
	retry_opened(&dial->retry, open_us);
	dial->ops->lost(code, reason, len, dial->arg);
	if (drop_client(dial))
		return;
	if (code == 4001) {
		refused(dial, text, dial->hint);
	} else if (is_final(code)) {
		give_up(dial, text, NULL);
	} else if (dial->hint >= 0 && open_us >= RETRY_STABLE_US) {
		dial_tell(dial, "%s: %s; again in %" PRId64 " ms", url_of(dial),
		    text, dial->hint / 1000);
		again_in(dial, dial->hint);
	} else {
		failed(dial, text, dial->hint);
	}
}

static int watch(struct dial *dial);

static void
on_watch(void *arg)
{
	struct dial *dial = arg;
	char text[CTL_TEXT_MAX];
	uint64_t heard;

	es_loop_assert(dial->session->loop);
	heard = client_heard(dial->client);
	if (heard != dial->heard || dial->paused || dial->closing) {
		dial->pinged = false;
	} else if (!dial->pinged) {
		dial->pinged = true;
		client_ping(dial->client);
	} else {
		(void)snprintf(text, sizeof(text),
		    "nothing heard for %" PRId64 " s",
		    dial->session->options->silence);
		lost(dial, 1006, "", 0, text);
		return;
	}
	dial->heard = heard;
	if (watch(dial) < 0)
		give_up(dial, strerror(ENOMEM), NULL);
}

static int
watch(struct dial *dial)
{
	const es_usec silence = ES_S(dial->session->options->silence);

	es_loop_assert(dial->session->loop);
	if (dial->watch != NULL)
		es_call_unref(dial->watch);
	dial->watch = NULL;
	return es_call_later(dial->session->loop, silence / 3, "dial.watch",
	    on_watch, dial, NULL, &dial->watch);
}

static void
on_open(struct client *client, void *arg)
{
	struct dial *dial = arg;

	es_loop_assert(dial->session->loop);
	dial->opened_at = es_loop_time(dial->session->loop);
	dial->heard = client_heard(client);
	dial->pinged = false;
	dial->hint = -1;
	dial->refusals = 0;
	retry_opened(&dial->retry, 0);
	if (dial->closing) {
		client_close(client, 1000, "");
		return;
	}
	if (dial->paused)
		client_pause(client);
	if (watch(dial) < 0) {
		give_up(dial, strerror(ENOMEM), NULL);
		return;
	}
	dial->ops->opened(client, dial->arg);
}

static void
on_message(struct client *client, enum client_kind kind, const void *data,
    size_t len, void *arg)
{
	struct dial *dial = arg;

	(void)client;
	dial->ops->message(kind, data, len, dial->arg);
}

static void
on_room(struct client *client, void *arg)
{
	struct dial *dial = arg;

	if (dial->ops->room != NULL)
		dial->ops->room(client, dial->arg);
}

static void
on_close(struct client *client, uint16_t code, const char *reason, size_t len,
    void *arg)
{
	struct dial *dial = arg;
	char words[CLIENT_REASON_MAX + 1], text[CTL_TEXT_MAX];

	(void)client;
	es_loop_assert(dial->session->loop);
	words_printable(words, sizeof(words), reason, len);
	if (code == 1001 && dial->hint < 0)
		dial->hint = retry_hint_us(reason, len);
	(void)snprintf(text, sizeof(text), "closed with %u%s%s", code,
	    words[0] != '\0' ? ": " : "", words);
	lost(dial, code, reason, len, text);
}

/* No answer of a server that knows what was asked for. */
static bool
is_foreign(unsigned status)
{
	return status == 101 || status == 400 || status == 404;
}

static void
on_error(struct client *client, const struct client_error *error, void *arg)
{
	struct dial *dial = arg;
	const unsigned status = error->status;
	char text[CTL_TEXT_MAX];

	(void)client;
	es_loop_assert(dial->session->loop);
	if (error->body_len == 0 ||
	    !session_error_text(error->body, error->body_len, text))
		(void)snprintf(text, sizeof(text), "%s", error->text);
	if (drop_client(dial))
		return;
	if (status == 0 && dial->addresses.next < dial->addresses.count)
		again_in(dial, 0);
	else if (status == 0 || status >= 500 || status == 408 || status == 429)
		failed(dial, text, 0);
	else if (status == 401)
		refused(dial, text, 0);
	else
		give_up(
		    dial, text, is_foreign(status) ? dial->ops->advice : NULL);
}

static const struct client_ops client_ops = {
	.on_open = on_open,
	.on_message = on_message,
	.on_close = on_close,
	.on_error = on_error,
	.on_room = on_room,
};

static void
connect_next(struct dial *dial)
{
	struct session *session = dial->session;
	const struct url *url = &session->options->url;
	char path[sizeof(url->path) + 512], below[512], text[CTL_TEXT_MAX];
	const char *headers[] = { NULL, NULL };
	struct client_options options = {
		.path = path,
		.subprotocol = dial->ops->subprotocol,
		.headers = headers,
		.wanted = dial->ops->wanted,
		.compression = session->options->compress,
		.message_bytes_max = MESSAGE_BYTES_MAX,
		.queue_bytes_max = QUEUE_BYTES_MAX,
		.connect_timeout = SESSION_CONNECT_TIMEOUT,
		.close_timeout = CLOSE_TIMEOUT,
	};
	int error;

	es_loop_assert(session->loop);
	if (dial->addresses.next >= dial->addresses.count &&
	    !addresses_find(&dial->addresses, url, text)) {
		failed(dial, text, 0);
		return;
	}
	(void)addresses_next(&dial->addresses, url, &options.peer);
	bearer_again(&session->bearer);
	headers[0] = bearer_header(&session->bearer);
	dial->ops->path(below, sizeof(below), dial->arg);
	(void)snprintf(path, sizeof(path), "%s%s", url->path, below);
	error = client_open(
	    session->outbound, &options, &client_ops, dial, &dial->client);
	if (error < 0)
		failed(dial, strerror(-error), 0);
}

void
dial_init(struct dial *dial, struct session *session,
    const struct dial_ops *ops, void *arg, bool states)
{
	assert(ops->path != NULL);
	*dial = (struct dial){ .session = session,
		.ops = ops,
		.arg = arg,
		.states = states,
		.hint = -1 };
	retry_init(
	    &dial->retry, session->options->retries, CTL_RETRIES_DEFAULT);
}

void
dial_start(struct dial *dial)
{
	connect_next(dial);
}

void
dial_close(struct dial *dial, uint16_t code, const char *reason)
{
	es_loop_assert(dial->session->loop);
	dial->closing = true;
	forget(&dial->again);
	if (dial->client != NULL)
		client_close(dial->client, code, reason);
}

void
dial_fini(struct dial *dial)
{
	if (dial->session == NULL) /* it never began */
		return;
	es_loop_assert(dial->session->loop);
	forget(&dial->again);
	forget(&dial->watch);
	client_free(dial->client);
	dial->client = NULL;
}

bool
dial_is_over(const struct dial *dial)
{
	return dial->closing && dial->client == NULL;
}

void
dial_pause(struct dial *dial, bool paused)
{
	es_loop_assert(dial->session->loop);
	dial->paused = paused;
	if (dial->client == NULL)
		return;
	if (paused)
		client_pause(dial->client);
	else
		client_resume(dial->client);
}
