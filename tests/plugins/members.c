/*
 * members: lets in whose token says {"role":"member"}; a message is answered
 * with the claims, as es_info() brings them.
 */

#include "daemon/handler/earshot.h"

#include <jansson.h>
#include <string.h>

static const struct es_host *host;

static int
on_open(void *state, es_conn conn, const struct es_open *open, void **user)
{
	json_t *claims =
	    json_loads(open->claims, JSON_DECODE_INT_AS_REAL, NULL);
	const char *role = json_string_value(json_object_get(claims, "role"));
	const bool member = role && strcmp(role, "member") == 0;

	(void)state;
	(void)conn;
	(void)user;
	json_decref(claims);
	return member ? 0 : 4403;
}

static int
on_message(
    void *state, es_conn conn, void *user, const struct es_message *message)
{
	const struct es_info *info;
	const char *claims;
	es_future *f;
	int r = es_info(host, conn, &f);

	(void)state;
	(void)user;
	(void)message;
	if (r < 0)
		return r;
	r = es_await(host, f, ES_WAIT_FOREVER);
	if (r == 0) {
		info = es_result(host, f);
		claims = info->open.claims;
		r = es_send(host, conn, ES_TEXT, claims, strlen(claims), NULL);
	}
	es_unref(host, f);
	return r;
}

int
earshot_plugin(const struct es_host *given, struct es_handler *handler)
{
	host = given;
	*handler = (struct es_handler){
		.version = ES_PLUGIN_VERSION,
		.on_open = on_open,
		.on_message = on_message,
	};
	return 0;
}
