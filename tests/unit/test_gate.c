/*
 * The hub's gate: who is asked, about what, how often, and what a publisher is
 * told.
 */

#include "daemon/hub/hub.h"
#include "tests/lib/told.h"
#include "tests/unit/rig_hub.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1790000000000000)

struct rig {
	struct conf *conf;
	struct hub *hub;
	struct hub_publisher publisher;
	struct list left; /* publishers that asked */
	int looked_up, asked, leaves, answer;
	const char *wanted; /* the channel that is filtered */
	char payload[16];
	uint64_t cookie;
};

static void *
on_find(const char *channel, size_t len, void *arg)
{
	struct rig *rig = arg;

	rig->looked_up++;
	return strlen(rig->wanted) == len &&
		       memcmp(rig->wanted, channel, len) == 0
		   ? rig
		   : NULL;
}

static int
on_ask(void *filter, const char *channel, size_t len,
    const struct hub_message *message, int64_t now_us, void *arg)
{
	struct rig *rig = arg;

	if (filter != NULL || message->publisher->former == 0) {
		assert_ptr_equal(filter, rig);
		assert_int_equal(len, strlen(rig->wanted));
		assert_memory_equal(channel, rig->wanted, len);
	}
	assert_int_equal(now_us, NOW);
	rig->asked++;
	memcpy(rig->payload, message->payload, message->len);
	rig->cookie = message->cookie;
	if (rig->answer == 0 && list_empty(&message->publisher->asking))
		list_append(&message->publisher->asking, &rig->left);
	return rig->answer;
}

static void
on_leave(struct hub_publisher *publisher, void *arg)
{
	struct rig *rig = arg;

	(void)publisher;
	rig->leaves++;
	list_remove(&rig->left);
}

static const struct hub_gate gate = { on_find, on_ask, on_leave };

static int
set_up(void **state)
{
	static const char text[] = "[listener]\nlisten = [::1]:1\n";
	static struct rig rig;

	memset(&rig, 0, sizeof(rig));
	rig.wanted = "checked";
	list_init(&rig.left);
	rig.conf = told_nothing(text);
	assert_int_equal(hub_new(rig.conf, 1, &rig_hub_ops, NULL, &rig.hub), 0);
	hub_publisher_init(&rig.publisher, NULL, NULL);
	hub_set_gate(rig.hub, &gate, &rig);
	*state = &rig;
	return 0;
}

static int
tear_down(void **state)
{
	struct rig *rig = *state;

	hub_publisher_end(rig->hub, &rig->publisher);
	hub_free(rig->hub);
	conf_free(rig->conf);
	return 0;
}

static int64_t
publish(struct rig *rig, const char *channel, const char *text, bool judged)
{
	const struct hub_message message = {
		.kind = MESSAGE_TEXT,
		.payload = text,
		.len = strlen(text),
		.judged = judged,
		.publisher = &rig->publisher,
		.cookie = 7,
	};

	return hub_publish(rig->hub, channel, strlen(channel), HUB_OUTSIDE,
	    &message, NOW, NULL);
}

static void
an_unfiltered_channel_is_looked_up_once(void **state)
{
	struct rig *rig = *state;

	for (int n = 1; n <= 10; n++)
		assert_int_equal(publish(rig, "other", "x", false), n);
	assert_int_equal(rig->looked_up, 1);
	assert_int_equal(rig->asked, 0);
}

static void
a_filtered_one_is_asked_about_before_the_tape(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(publish(rig, "checked", "x", false), -EINPROGRESS);
	assert_int_equal(publish(rig, "checked", "y", false), -EINPROGRESS);
	assert_int_equal(rig->asked, 2);
	assert_int_equal(rig->looked_up, 1);
	assert_int_equal(rig->cookie, 7);
	assert_string_equal(rig->payload, "y");
	assert_int_equal(publish(rig, "checked", "y", true), 1);
	assert_int_equal(rig->asked, 2);
}

static void
a_filter_that_takes_nothing_lets_nothing_through(void **state)
{
	struct rig *rig = *state;

	rig->answer = -EIO;
	assert_int_equal(publish(rig, "checked", "x", false), -EIO);
	rig->answer = -ENOMEM;
	assert_int_equal(publish(rig, "checked", "x", false), -ENOMEM);
	assert_int_equal(publish(rig, "checked", "x", true), 1);
}

static void
what_the_hub_refuses_nobody_is_asked_about(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(publish(rig, "checked", "\xff", false), -EILSEQ);
	hub_close_intake(rig->hub);
	assert_int_equal(publish(rig, "checked", "x", false), -ESHUTDOWN);
	assert_int_equal(rig->asked, 0);
}

static void
a_filter_is_not_asked_about_its_own(void **state)
{
	struct rig *rig = *state;

	rig->publisher.owner = rig;
	assert_int_equal(publish(rig, "checked", "x", false), 1);
	assert_int_equal(rig->asked, 0);
}

/* It may have to wait, though nobody is asked about that channel. */
static void
a_publisher_with_former_filters_has_all_of_it_asked(void **state)
{
	struct rig *rig = *state;

	rig->publisher.owner = rig;
	rig->publisher.former = 1;
	assert_int_equal(publish(rig, "other", "x", false), -EINPROGRESS);
	assert_int_equal(publish(rig, "checked", "x", false), -EINPROGRESS);
	rig->answer = 1; /* it need not wait */
	assert_int_equal(publish(rig, "other", "x", false), 1);
	assert_int_equal(publish(rig, "other", "x", true), 2);
	assert_int_equal(rig->asked, 3);
	rig->publisher.former = 0;
	assert_int_equal(publish(rig, "other", "x", false), 3);
	assert_int_equal(rig->asked, 3);
}

static void
another_gate_is_asked_about_every_channel_anew(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(publish(rig, "checked", "x", false), -EINPROGRESS);
	rig->wanted = "nothing";
	hub_set_gate(rig->hub, &gate, rig);
	assert_int_equal(publish(rig, "checked", "x", false), 1);
	assert_int_equal(rig->looked_up, 2);
}

static void
a_publisher_that_ends_is_forgotten_once(void **state)
{
	struct rig *rig = *state;

	hub_publisher_end(rig->hub, &rig->publisher);
	assert_int_equal(rig->leaves, 0); /* it never asked */
	assert_int_equal(publish(rig, "checked", "x", false), -EINPROGRESS);
	hub_publisher_end(rig->hub, &rig->publisher);
	hub_publisher_end(rig->hub, &rig->publisher);
	assert_int_equal(rig->leaves, 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(an_unfiltered_channel_is_looked_up_once),
		TEST(a_filtered_one_is_asked_about_before_the_tape),
		TEST(a_filter_that_takes_nothing_lets_nothing_through),
		TEST(what_the_hub_refuses_nobody_is_asked_about),
		TEST(a_filter_is_not_asked_about_its_own),
		TEST(a_publisher_with_former_filters_has_all_of_it_asked),
		TEST(another_gate_is_asked_about_every_channel_anew),
		TEST(a_publisher_that_ends_is_forgotten_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
