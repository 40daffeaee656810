/*
 * bare_client: libwebsockets' client, and nothing but counting.
 *
 * What an upstream feed is measured beside, in the same run: the library's own
 * loop, no channel, no check of the text.
 *
 *   bare_client PORT
 *
 * Prints, when the server has closed: messages, and microseconds of CPU.
 */

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static uint64_t messages;
static bool over;

static int
on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user,
    void *in, size_t len)
{
	(void)user;
	(void)in;
	(void)len;
	switch (reason) {
	case LWS_CALLBACK_CLIENT_RECEIVE:
		messages += lws_is_final_fragment(wsi) != 0;
		return 0;
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
	case LWS_CALLBACK_CLIENT_CLOSED:
		over = true;
		return 0;
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{ .name = "bare", .callback = on_event, .rx_buffer_size = 16384 },
	{ .name = NULL },
};

int
main(int argc, char **argv)
{
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN, .protocols = protocols
	};
	struct lws_client_connect_info connect = { .address = "127.0.0.1",
		.path = "/",
		.host = "127.0.0.1",
		.ietf_version_or_minus_one = -1,
		.local_protocol_name = "bare" };
	struct lws_context *context;
	struct rusage usage;

	if (argc != 2)
		return 2;
	lws_set_log_level(0, NULL);
	context = lws_create_context(&info);
	if (!context)
		return 1;
	connect.context = context;
	connect.port = atoi(argv[1]);
	if (!lws_client_connect_via_info(&connect))
		return 1;
	while (!over && lws_service(context, 0) >= 0)
		continue;
	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return 1;
	(void)printf("%llu %lld\n", (unsigned long long)messages,
	    (long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) *
		    1000000 +
		usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	lws_context_destroy(context);
	return 0;
}
