/*
 * room: a chat room; who connects hears the channel `room` with its last ten
 * messages, what one says all hear.
 */

#include "daemon/handler/earshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 32

static const struct es_host *host;

static int
on_open(void *state, es_conn conn, const struct es_open *open, void **user)
{
	char *name = calloc(1, NAME_MAX_BYTES);

	(void)state;
	if (!name)
		return 1013;
	*user = name;
	if (strncmp(open->query, "name=", 5) != 0 || !open->query[5])
		return 4403; /* who is it? */
	(void)snprintf(name, NAME_MAX_BYTES, "%s", open->query + 5);
	return es_subscribe(host, conn, "room", "-10", NULL);
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	char text[1024];
	int len = snprintf(text, sizeof(text), "%s: %.*s", (char *)user,
	    (int)message->len, (const char *)message->data);

	(void)state;
	if (len >= (int)sizeof(text))
		return es_close(host, conn, 1009, "too long");
	return es_publish(host, "room", ES_TEXT, text, (size_t)len, NULL);
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	host = given;
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_open = on_open,
		.on_message = on_message,
		.drop_user = free,
	};
	return 0;
}
