/*
 * bad: misbehaves.  option.how: init_fails, init_exits, init_blocks, version,
 * nothing (fills in nothing); else it works, and each message makes it misuse
 * the host in every way that it can; what it is answered goes back as text.
 */

#include "daemon/handler/earshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct es_host *host;

static const char *
name_of(int r)
{
	switch (r) {
	case 0:
		return "ok";
	case -EINVAL:
		return "EINVAL";
	case -ENOTCONN:
		return "ENOTCONN";
	case -EAGAIN:
		return "EAGAIN";
	case -EILSEQ:
		return "EILSEQ";
	case -EBADMSG:
		return "EBADMSG";
	case -EMSGSIZE:
		return "EMSGSIZE";
	case -ECANCELED:
		return "ECANCELED";
	case -ETIMEDOUT:
		return "ETIMEDOUT";
	case -EDEADLK:
		return "EDEADLK";
	case -ENOENT:
		return "ENOENT";
	default:
		return "?";
	}
}

static void
put(char *out, size_t size, const char *what, int r)
{
	size_t len = strlen(out);

	(void)snprintf(out + len, size - len, "%s=%s ", what, name_of(r));
}

static void
nothing(void *arg)
{
	(void)arg;
}

static int
await(int r, es_future *f, int64_t timeout_us)
{
	if (r < 0)
		return r;
	r = es_await(host, f, timeout_us);
	es_unref(host, f);
	return r;
}

static void
misuse_connections(char *out, size_t size, es_conn conn)
{
	static char large[2 << 20];
	es_future *f;
	int r;

	put(out, size, "none", es_send(host, 0, ES_TEXT, "x", 1, NULL));
	put(out, size, "stale",
	    es_send(host, conn + (1ull << 32), ES_TEXT, "x", 1, NULL));
	put(out, size, "wild", es_close(host, UINT64_MAX, 1000, ""));
	put(out, size, "kind",
	    es_send(host, conn, (enum es_kind)7, "x", 1, NULL));
	put(out, size, "utf8", es_send(host, conn, ES_TEXT, "\xff", 1, NULL));
	put(out, size, "json", es_send(host, conn, ES_JSON, "{", 1, NULL));
	put(out, size, "null", es_send(host, conn, ES_TEXT, NULL, 1, NULL));
	put(out, size, "large",
	    es_send(host, conn, ES_BINARY, large, sizeof(large), NULL));
	put(out, size, "code", es_close(host, conn, 1006, ""));
	put(out, size, "channel",
	    es_subscribe(host, conn, "no/channel", NULL, NULL));
	put(out, size, "from", es_subscribe(host, conn, "c", "never", NULL));
	r = es_unsubscribe(host, conn, "c", &f);
	put(out, size, "unsubscribe", await(r, f, ES_WAIT_FOREVER));
	put(out, size, "info", es_info(host, conn, NULL));
}

static void
misuse_futures(char *out, size_t size)
{
	es_future *f;
	int r;

	put(out, size, "publish",
	    es_publish(host, NULL, ES_TEXT, "x", 1, NULL));
	put(out, size, "history", es_history(host, "none", NULL, 0, &f));
	r = es_history(host, "none", NULL, 9, &f);
	put(out, size, "nochannel", await(r, f, ES_WAIT_FOREVER));
	put(out, size, "await", es_await(host, NULL, 0));
	put(out, size, "run", es_run(host, NULL, NULL, NULL, NULL));
	r = es_call_later(host, 60000000, nothing, NULL, NULL, &f);
	if (r == 0) {
		put(out, size, "early", es_await(host, f, 1000));
		(void)es_cancel(host, f);
		(void)es_cancel(host, f);
	}
	put(out, size, "cancelled", await(r, f, ES_WAIT_FOREVER));
	/* With one worker, which is this one, it could never end. */
	r = es_run(host, nothing, NULL, NULL, &f);
	put(out, size, "deadlock", await(r, f, ES_WAIT_FOREVER));
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	char out[1024] = "";

	(void)state;
	(void)user;
	(void)message;
	misuse_connections(out, sizeof(out), conn);
	misuse_futures(out, sizeof(out));
	return es_send(host, conn, ES_TEXT, out, strlen(out), NULL);
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	const char *how;

	host = given;
	how = es_option(host, "how");
	how = how ? how : "";
	if (strcmp(how, "init_fails") == 0)
		return -EACCES;
	if (strcmp(how, "init_exits") == 0)
		exit(0);
	if (strcmp(how, "init_blocks") == 0)
		(void)fputs("it does not come back\n", stderr);
	while (strcmp(how, "init_blocks") == 0)
		(void)pause(); /* signals are not for this thread */
	if (strcmp(how, "nothing") == 0)
		return 0;
	handler->version = ES_PLUGIN_VERSION + (strcmp(how, "version") == 0);
	handler->on_message = on_message;
	return 0;
}
