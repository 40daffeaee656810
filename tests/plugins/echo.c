/*
 * echo: sends back what it hears.  Waits for the socket where option.wait is
 * yes, which must not deadlock with one worker.
 */

#include "daemon/handler/earshot.h"

#include <string.h>

static const struct es_host *host;
static bool waits;

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	es_future *f = NULL;
	int r;

	(void)state;
	(void)user;
	r = es_send(host, conn, message->kind, message->data, message->len,
	    waits ? &f : NULL);
	if (r == 0 && waits)
		r = es_await(host, f, ES_WAIT_FOREVER);
	if (f)
		es_unref(host, f);
	return r == -ENOTCONN ? 0 : r; /* it left: on_close tells */
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	const char *wait;

	host = given;
	wait = es_option(host, "wait");
	waits = wait && strcmp(wait, "yes") == 0;
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_message = on_message,
	};
	return 0;
}
