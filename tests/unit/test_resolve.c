/* WebSocket addresses taken apart, and names looked up. */

#include "daemon/feed/resolve.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
parses(const char *text, bool tls, const char *host, uint16_t port,
    const char *path)
{
	char room[64];
	const char *got;
	struct url url;

	assert_int_equal(
	    resolve_parse(text, &url, room, sizeof(room), &got), 0);
	assert_int_equal(url.tls, tls);
	assert_string_equal(url.host, host);
	assert_int_equal(url.port, port);
	assert_string_equal(got, path);
}

static void
addresses_have_their_parts(void **state)
{
	(void)state;
	parses("ws://a", false, "a", 80, "/");
	parses("wss://a.example:8443/b/c/?d=e/f", true, "a.example", 8443,
	    "/b/c/?d=e/f");
	parses("ws://[::1]:5?x", false, "::1", 5, "/?x");
}

static void
what_is_none_is_refused(void **state)
{
	char room[8];
	const char *path;
	struct url url;
	size_t i;
	static const char *const texts[] = { "", "a", "ws:/a", "ws://",
		"ftp://a", "ws://a:0", "ws://a:99999", "ws://a?1234567890" };

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_int_equal(
		    resolve_parse(texts[i], &url, room, sizeof(room), &path),
		    -EINVAL);
}

static void
names_are_looked_up_by_a_job(void **state)
{
	const struct resolved *resolved;
	es_executor *sys;
	es_value value;
	es_future *f;

	(void)state;
	assert_int_equal(es_executor_new(&sys, NULL), 0);
	assert_int_equal(resolve_submit(sys, NULL, "localhost", &f), 0);
	assert_int_equal(es_await(f, ES_S(20)), 0);
	assert_int_equal(es_future_result(f, &value), 0);
	resolved = value.p;
	assert_true(resolved->count > 0);
	assert_true(strcmp(resolved->addresses[0], "127.0.0.1") == 0 ||
		    strcmp(resolved->addresses[0], "::1") == 0);
	es_future_unref(f);
	assert_int_equal(resolve_submit(sys, NULL, "..", &f), 0);
	assert_int_equal(es_await(f, ES_S(20)), 0);
	assert_int_equal(es_future_result(f, &value), 0);
	resolved = value.p;
	assert_int_equal(resolved->count, 0);
	assert_true(strlen(resolved->error) > 0);
	es_future_unref(f);
	assert_int_equal(es_executor_shutdown(sys, 0, ES_S(20)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_have_their_parts),
		cmocka_unit_test(what_is_none_is_refused),
		cmocka_unit_test(names_are_looked_up_by_a_job),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
