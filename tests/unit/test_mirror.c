/* What a mirror makes of what the other side says. */

#include "daemon/feed/mirror.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define OK(position, recovered)                                                \
	"{\"id\":1,\"ok\":{\"channel\":\"c\",\"position\":\"" position         \
	"\",\"recovered\":" recovered "}}"
#define MESSAGE(offset)                                                        \
	"{\"channel\":\"c\",\"offset\":" offset ",\"time\":1.000,"             \
	"\"text\":\"x\"}"
#define A "00000000000000aa"
#define B "00000000000000bb"

static struct mirror mirror;
static struct v1_event event;

static int
begin(void **state)
{
	(void)state;
	mirror_init(&mirror);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	mirror_fini(&mirror);
	return 0;
}

/* The news, or -errno. */
static int
take(const char *text)
{
	enum mirror_news news;
	int r = mirror_take(&mirror, text, strlen(text), &news, &event);

	return r < 0 ? r : (int)news;
}

static void
subscribes(const char *want)
{
	struct buffer out;

	buffer_init(&out);
	assert_int_equal(mirror_subscribe(&mirror, "c", &out), 0);
	if (out.len != strlen(want) || memcmp(out.data, want, out.len) != 0)
		fail_msg("%.*s", (int)out.len, (char *)out.data);
	buffer_fini(&out);
}

static void
it_begins_with_the_oldest_and_goes_on_where_it_was(void **state)
{
	(void)state;
	subscribes(
	    "{\"id\":1,\"subscribe\":{\"channel\":\"c\",\"from\":\"oldest\"}}");
	assert_int_equal(take(OK(A ":4", "true")), MIRROR_BEGUN);
	assert_int_equal(take(MESSAGE("5")), MIRROR_MESSAGE);
	assert_int_equal(event.message.len, 1);
	assert_int_equal(take(MESSAGE("6")), MIRROR_MESSAGE);
	subscribes("{\"id\":1,\"subscribe\":{\"channel\":\"c\",\"from\":\"" A
		   ":6\"}}");
	assert_int_equal(take(OK(A ":6", "true")), MIRROR_BEGUN);
	assert_int_equal(take(MESSAGE("7")), MIRROR_MESSAGE);
	assert_int_equal(mirror.missing, 0);
}

static void
what_was_there_before_is_passed_over(void **state)
{
	(void)state;
	subscribes(
	    "{\"id\":1,\"subscribe\":{\"channel\":\"c\",\"from\":\"oldest\"}}");
	assert_int_equal(take(OK(A ":4", "true")), MIRROR_BEGUN);
	assert_int_equal(take(MESSAGE("4")), MIRROR_NOTHING);
	assert_int_equal(take(MESSAGE("5")), MIRROR_MESSAGE);
	assert_int_equal(take(MESSAGE("5")), MIRROR_NOTHING);
	assert_int_equal(take(MESSAGE("8")), MIRROR_MESSAGE);
	assert_int_equal(mirror.missing, 2);
}

static void
another_epoch_is_told(void **state)
{
	struct buffer out;

	(void)state;
	buffer_init(&out);
	assert_int_equal(mirror_subscribe(&mirror, "c", &out), 0);
	assert_int_equal(take(OK(A ":9", "true")), MIRROR_BEGUN);
	assert_int_equal(take(MESSAGE("10")), MIRROR_MESSAGE);
	assert_int_equal(mirror_subscribe(&mirror, "c", &out), 0);
	assert_int_equal(take(OK(B ":0", "false")), MIRROR_NEW_EPOCH);
	assert_int_equal(take(MESSAGE("1")), MIRROR_MESSAGE);
	/* The same, gone back: as after a restored copy of a machine. */
	assert_int_equal(mirror_subscribe(&mirror, "c", &out), 0);
	assert_int_equal(take(OK(B ":0", "false")), MIRROR_NEW_EPOCH);
	assert_int_equal(take(MESSAGE("1")), MIRROR_MESSAGE);
	buffer_fini(&out);
}

static void
a_gap_is_counted_once(void **state)
{
	struct buffer out;

	(void)state;
	buffer_init(&out);
	assert_int_equal(mirror_subscribe(&mirror, "c", &out), 0);
	assert_int_equal(take(OK(A ":2", "true")), MIRROR_BEGUN);
	assert_int_equal(mirror_subscribe(&mirror, "c", &out), 0);
	assert_int_equal(take(OK(A ":7", "false")), MIRROR_BEGUN);
	assert_int_equal(
	    take("{\"gap\":{\"channel\":\"c\",\"from\":3,\"to\":7}}"),
	    MIRROR_GAP);
	assert_int_equal(take(MESSAGE("8")), MIRROR_MESSAGE);
	assert_int_equal(mirror.missing, 5);
	buffer_fini(&out);
}

static void
what_is_no_earshot_is_refused(void **state)
{
	static const char *const texts[] = { "", "x", "[]", "{\"id\":1}x",
		MESSAGE("1"), OK(A ":1", "\"yes\""), "{\"id\":1,\"ok\":{}}",
		"{\"id\":2,\"ok\":{\"channel\":\"c\",\"position\":\"" A
		":1\",\"recovered\":true}}",
		"{\"gap\":{\"channel\":\"c\",\"from\":3,\"to\":7}}" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_int_equal(take(texts[i]), -EBADMSG);
	assert_int_equal(take("{\"id\":1,\"error\":{\"code\":\"not_allowed\","
			      "\"message\":\"no\"}}"),
	    -EACCES);
	assert_int_equal(event.text.len, 2);
	assert_int_equal(take("{\"closing\":{\"reason\":\"shutdown\","
			      "\"retry_after_ms\":840}}"),
	    MIRROR_CLOSING);
	assert_int_equal(event.retry_after_ms, 840);
	assert_int_equal(take("{\"later\":{}}"), MIRROR_NOTHING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(it_begins_with_the_oldest_and_goes_on_where_it_was),
		TEST(what_was_there_before_is_passed_over),
		TEST(another_epoch_is_told),
		TEST(a_gap_is_counted_once),
		TEST(what_is_no_earshot_is_refused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
