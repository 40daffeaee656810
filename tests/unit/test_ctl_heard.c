/*
 * What an earshot.v1 server says, held against what was asked: texts for
 * people, positions, refusals for now and for good, faults.
 */

#include "daemon/ctl/heard.c"
#include "daemon/ctl/place.c"
#include "daemon/ctl/words.c"

#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH "5f2c00000000abcd"
#define OTHER "77aa000000000001"

struct rig {
	struct places places;
	struct hearing hearing;
	struct heard heard;
};

/* Channels a and b; c is in the state file only. */
static struct rig *
rig_new(const char *from_text)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct from from;

	assert_non_null(rig);
	assert_int_equal(from_get(from_text, strlen(from_text), &from), 0);
	assert_int_equal(places_init(&rig->places, 3), 0);
	(void)places_add(&rig->places, "a", 1);
	(void)places_add(&rig->places, "b", 1);
	(void)places_add(&rig->places, "c", 1);
	assert_int_equal(
	    hearing_init(&rig->hearing, &rig->places, 2, &from), 0);
	return rig;
}

static void
rig_free(struct rig *rig)
{
	hearing_fini(&rig->hearing);
	places_fini(&rig->places);
	free(rig);
}

static struct from
ask(struct rig *rig, size_t index)
{
	struct v1_command command;

	hearing_ask(&rig->hearing, index, &command);
	assert_int_equal(command.kind, V1_SUBSCRIBE);
	assert_int_equal(command.id, index + 1);
	assert_ptr_equal(command.channel, rig->places.list[index].channel);
	assert_int_equal(command.channel_len, 1);
	return command.from;
}

/* The server says that; it means this, with that text. */
static void
says(
    struct rig *rig, const char *object, enum heard_kind kind, const char *text)
{
	char copy[1024];
	struct v1_event event;

	assert_true(strlen(object) < sizeof(copy));
	memcpy(copy, object, strlen(object));
	assert_int_equal(
	    v1_parse_event((uint8_t *)copy, strlen(object), &event), 0);
	hear(&rig->hearing, &event, &rig->heard);
	assert_string_equal(rig->heard.text, text);
	assert_int_equal(rig->heard.kind, kind);
}

static int64_t
offset(const struct rig *rig, size_t index)
{
	assert_true(rig->places.list[index].known);
	return rig->places.list[index].position.offset;
}

#define OK(id, channel, position, recovered)                                   \
	"{\"id\":" #id ",\"ok\":{\"channel\":\"" channel                       \
	"\",\"position\":\"" position "\",\"recovered\":" #recovered "}}"
#define MESSAGE(channel, offset)                                               \
	"{\"channel\":\"" channel "\",\"offset\":" #offset                     \
	",\"time\":1790000000.123,\"text\":\"x\"}"
#define GAP(channel, from, to)                                                 \
	"{\"gap\":{\"channel\":\"" channel "\",\"from\":" #from ",\"to\":" #to \
	"}}"
#define ERROR(id, code)                                                        \
	"{\"id\":" #id ",\"error\":{\"code\":\"" code "\",\"message\":"        \
	"\"why\"}}"

/* Channel a, from now on: its position is EPOCH:41. */
static struct rig *
rig_at_41(void)
{
	struct rig *rig = rig_new("");

	(void)ask(rig, 0);
	says(rig, OK(1, "a", EPOCH ":41", true), HEARD_BEGUN, "");
	assert_int_equal(offset(rig, 0), 41);
	return rig;
}

static void
messages_follow_each_other(void **state)
{
	struct rig *rig = rig_at_41();

	(void)state;
	says(rig, MESSAGE("a", 42), HEARD_MESSAGE, "");
	assert_ptr_equal(rig->heard.place, &rig->places.list[0]);
	assert_int_equal(offset(rig, 0), 41); /* its taker's business */
	place_advance(&rig->places, rig->heard.place);
	says(rig, MESSAGE("a", 43), HEARD_MESSAGE, "");
	rig_free(rig);
}

static void
what_is_asked_for_is_where_it_goes_on(void **state)
{
	const struct position recalled = { 5, 9 };
	struct rig *rig = rig_new("-10");
	struct from from;

	(void)state;
	place_recall(&rig->places.list[1], &recalled);
	from = ask(rig, 0);
	assert_true(from.kind == FROM_LAST && from.count == 10);
	from = ask(rig, 1);
	assert_int_equal(from.kind, FROM_POSITION);
	assert_true(from.position.epoch == 5 && from.position.offset == 9);
	assert_int_equal(rig->hearing.asked, 2);

	hearing_forget(&rig->hearing); /* lost before the answers */
	assert_int_equal(rig->hearing.asked, 0);
	assert_int_equal(ask(rig, 0).kind, FROM_LAST);
	says(rig, OK(1, "a", EPOCH ":7", true), HEARD_BEGUN, "");
	hearing_forget(&rig->hearing);
	from = ask(rig, 0);
	assert_int_equal(from.kind, FROM_POSITION);
	assert_int_equal(from.position.offset, 7);
	hearing_unask(&rig->hearing, 0); /* it was not sent */
	assert_int_equal(rig->hearing.asked, 0);
	(void)ask(rig, 0);
	rig_free(rig);
}

static void
a_gap_is_told_and_stepped_over(void **state)
{
	struct rig *rig = rig_at_41();

	(void)state;
	says(rig, GAP("a", 42, 90), HEARD_NOTICE,
	    "a: gap 42-90: 49 messages are gone");
	assert_int_equal(offset(rig, 0), 90);
	says(rig, GAP("a", 91, 91), HEARD_NOTICE,
	    "a: gap 91-91: 1 message is gone");
	says(rig, MESSAGE("a", 92), HEARD_MESSAGE, "");
	rig_free(rig);
}

static void
a_gap_behind_the_ok_is_only_told(void **state)
{
	struct rig *rig = rig_at_41();

	(void)state;
	hearing_forget(&rig->hearing);
	(void)ask(rig, 0);
	says(rig, OK(1, "a", EPOCH ":90", false), HEARD_BEGUN, "");
	says(rig, GAP("a", 42, 90), HEARD_NOTICE,
	    "a: gap 42-90: 49 messages are gone");
	assert_int_equal(offset(rig, 0), 90);
	says(rig, MESSAGE("a", 91), HEARD_MESSAGE, "");
	rig_free(rig);
}

static void
a_new_epoch_is_told(void **state)
{
	struct rig *rig = rig_at_41();

	(void)state;
	hearing_forget(&rig->hearing);
	(void)ask(rig, 0);
	says(rig, OK(1, "a", OTHER ":0", false), HEARD_BEGUN,
	    "a: a new epoch: what came after " EPOCH ":41 may be gone; goes on "
	    "after " OTHER ":0");
	assert_int_equal(offset(rig, 0), 0);
	assert_true(
	    rig->places.list[0].position.epoch == UINT64_C(0x77aa000000000001));
	says(rig, MESSAGE("a", 1), HEARD_MESSAGE, "");
	rig_free(rig);
}

static void
a_position_ahead_of_the_channel_is_told(void **state)
{
	struct rig *rig = rig_new(EPOCH ":1000");

	(void)state;
	(void)ask(rig, 0);
	says(rig, OK(1, "a", EPOCH ":7", false), HEARD_BEGUN,
	    "a: the server has nothing at " EPOCH ":1000; goes on after " EPOCH
	    ":7");
	assert_int_equal(offset(rig, 0), 7);
	rig_free(rig);
}

static void
some_refusals_are_for_now(void **state)
{
	struct rig *rig = rig_new("");

	(void)state;
	(void)ask(rig, 0);
	(void)ask(rig, 1);
	says(rig, ERROR(1, "too_many_channels"), HEARD_LATER,
	    "a: too_many_channels: why");
	assert_int_equal(rig->heard.index, 0);
	assert_int_equal(rig->hearing.asked, 1);
	says(rig, ERROR(2, "closing"), HEARD_LATER, "b: closing: why");
	hearing_retry(&rig->hearing, 0);
	(void)ask(rig, 0);
	says(rig, ERROR(1, "no_room"), HEARD_LATER, "a: no_room: why");
	hearing_retry(&rig->hearing, 0);
	(void)ask(rig, 0);
	says(rig, ERROR(1, "no_memory"), HEARD_LATER, "a: no_memory: why");
	rig_free(rig);
}

static void
others_are_for_good(void **state)
{
	static const char *const codes[] = { "not_allowed", "no_token",
		"bad_channel", "too_many_subscriptions", "already_subscribed",
		"closin", "closings" };
	char object[128], text[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct rig *rig = rig_new("");

		(void)ask(rig, 0);
		(void)snprintf(object, sizeof(object),
		    "{\"id\":1,\"error\":{\"code\":\"%s\"}}", codes[i]);
		(void)snprintf(text, sizeof(text), "a: %s: ", codes[i]);
		says(rig, object, HEARD_REFUSED, text);
		assert_int_equal(rig->heard.index, 0);
		assert_int_equal(
		    rig->heard.no_token, strcmp(codes[i], "no_token") == 0);
		says(rig,
		    "{\"error\":{\"code\":\"bad_json\","
		    "\"message\":\"a\\u001bb\"}}",
		    HEARD_REFUSED, "bad_json: a?b");
		assert_true(rig->heard.index == HEARD_NO_CHANNEL);
		rig_free(rig);
	}
}

static void
a_closing_says_when_to_come_back(void **state)
{
	struct rig *rig = rig_at_41();

	(void)state;
	says(rig,
	    "{\"closing\":{\"reason\":\"shutdown\",\"retry_after_ms\":840}}",
	    HEARD_CLOSING, "closing: shutdown");
	assert_int_equal(rig->heard.retry_after_us, 840000);
	says(rig, "{\"closing\":{}}", HEARD_CLOSING, "closing: ");
	assert_int_equal(rig->heard.retry_after_us, -1);
	says(rig, "{\"closing\":{\"retry_after_ms\":9223372036854775807}}",
	    HEARD_CLOSING, "closing: ");
	assert_int_equal(rig->heard.retry_after_us, RETRY_HINT_MAX_US);
	rig_free(rig);
}

static void
a_notice_is_told(void **state)
{
	struct rig *rig = rig_at_41();

	(void)state;
	says(rig,
	    "{\"notice\":{\"upstream\":\"x\\u001b[m\",\"state\":"
	    "\"reconnected\"}}",
	    HEARD_NOTICE, "upstream x?[m: reconnected");
	says(rig, "{\"weather\":{\"channel\":5}}", HEARD_NOTHING, "");
	says(rig, "{\"id\":0,\"ok\":{}}", HEARD_NOTHING, ""); /* a pong */
	rig_free(rig);
}

static void
a_hole_without_a_gap_is_a_fault(void **state)
{
	struct rig *rig = rig_at_41();

	(void)state;
	says(rig, MESSAGE("a", 43), HEARD_FAULT, "a: message 43 came after 41");
	says(rig, MESSAGE("a", 41), HEARD_FAULT, "a: message 41 came after 41");
	says(rig, GAP("a", 43, 50), HEARD_FAULT, "a: gap 43-50 came after 41");
	says(rig, GAP("a", 41, 50), HEARD_FAULT, "a: gap 41-50 came after 41");
	says(rig, GAP("a", 42, 9223372036854775807), HEARD_NOTICE,
	    "a: gap 42-9223372036854775807: 9223372036854775766 messages are "
	    "gone");
	says(rig, MESSAGE("a", 1), HEARD_FAULT,
	    "a: message 1 came after 9223372036854775807");
	rig_free(rig);
}

static void
what_was_not_asked_for_is_a_fault(void **state)
{
	static const char unasked[] = "heard without having subscribed";
	struct rig *rig = rig_at_41();
	char text[64];

	(void)state;
	(void)snprintf(text, sizeof(text), "b: %s", unasked);
	says(rig, MESSAGE("b", 1), HEARD_FAULT, text);
	(void)ask(rig, 1);
	says(rig, GAP("b", 1, 2), HEARD_FAULT, text); /* before the ok */
	(void)snprintf(text, sizeof(text), "c: %s", unasked);
	says(rig, MESSAGE("c", 1), HEARD_FAULT, text);
	(void)snprintf(text, sizeof(text), "d?: %s", unasked);
	says(rig, MESSAGE("d\\n", 1), HEARD_FAULT, text);
	says(rig, OK(1, "a", EPOCH ":41", true), HEARD_FAULT,
	    "an answer to nothing that was asked, id 1");
	says(rig, OK(3, "c", EPOCH ":41", true), HEARD_FAULT,
	    "an answer to nothing that was asked, id 3");
	says(rig, OK(9007199254740991, "c", EPOCH ":41", true), HEARD_FAULT,
	    "an answer to nothing that was asked, id 9007199254740991");
	rig_free(rig);
}

/* It would double messages, or leave some out, and say all is well. */
static void
another_position_than_asked_for_is_a_fault(void **state)
{
	static const char fault[] =
	    "a: subscribed without the position asked for";
	struct rig *rig = rig_at_41();

	(void)state;
	hearing_forget(&rig->hearing);
	(void)ask(rig, 0);
	says(rig, OK(1, "a", EPOCH ":40", true), HEARD_FAULT, fault);
	hearing_forget(&rig->hearing);
	(void)ask(rig, 0);
	says(rig, OK(1, "a", OTHER ":41", true), HEARD_FAULT, fault);
	hearing_forget(&rig->hearing);
	(void)ask(rig, 0);
	says(rig, "{\"id\":1,\"ok\":{\"channel\":\"a\",\"recovered\":true}}",
	    HEARD_FAULT, fault);
	rig_free(rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_follow_each_other),
		cmocka_unit_test(what_is_asked_for_is_where_it_goes_on),
		cmocka_unit_test(a_gap_is_told_and_stepped_over),
		cmocka_unit_test(a_gap_behind_the_ok_is_only_told),
		cmocka_unit_test(a_new_epoch_is_told),
		cmocka_unit_test(a_position_ahead_of_the_channel_is_told),
		cmocka_unit_test(some_refusals_are_for_now),
		cmocka_unit_test(others_are_for_good),
		cmocka_unit_test(a_closing_says_when_to_come_back),
		cmocka_unit_test(a_notice_is_told),
		cmocka_unit_test(a_hole_without_a_gap_is_a_fault),
		cmocka_unit_test(what_was_not_asked_for_is_a_fault),
		cmocka_unit_test(another_position_than_asked_for_is_a_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
