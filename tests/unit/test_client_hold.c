/*
 * Compressed messages that have to wait: a few bytes may be a thousand times
 * as many, so they wait as they came.
 */

#include "daemon/base/clock.h"
#include "daemon/base/memory.h"
#include "tests/lib/packed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define AGREED "Sec-WebSocket-Extensions: permessage-deflate\r\n"

#define MANY 200

/* What the owner does at each message; how it went. */
static struct {
	bool paused, inside, heard_paused;
	bool ends; /* it closes when it has heard them all */
	unsigned resumes;
	es_call *timer;
} owner;

static void
begin(struct wire *wire, bool ends)
{
	memset(&owner, 0, sizeof(owner));
	owner.ends = ends;
	wire_init(wire, AGREED);
}

static void
end(struct wire *wire)
{
	if (owner.timer != NULL) {
		(void)es_call_cancel(owner.timer);
		es_call_unref(owner.timer);
	}
	wire_fini(wire);
}

static void
resume(void *arg)
{
	(void)arg;
	es_loop_assert(wire_test.rig.loop);
	es_call_unref(owner.timer);
	owner.timer = NULL;
	if (wire_test.closed)
		return;
	owner.paused = false;
	owner.resumes++;
	owner.inside = true;
	client_resume(wire_test.client);
	owner.inside = false;
}

static void
pause_each_time(struct client_test *opened)
{
	es_loop_assert(opened->rig.loop);
	owner.heard_paused |= owner.paused;
	assert_false(owner.inside);
	owner.paused = true;
	client_pause(opened->client);
	if (opened->messages == MANY && owner.ends) {
		client_close(opened->client, 4000, "all");
		return;
	}
	if (owner.timer != NULL)
		return; /* a close has them all heard at once */
	if (es_call_later(opened->rig.loop, 1 + rand() % 200, "test", resume,
		NULL, NULL, &owner.timer) < 0)
		client_close(opened->client, 4001, "out of memory");
}

static void
put_many(struct wire *wire, struct buffer *expected)
{
	char text[32];

	for (int i = 0; i < MANY; i++) {
		(void)snprintf(text, sizeof(text), "message %d", i);
		wire_expect(wire, expected, text, strlen(text));
		wire_frame(wire, true, 0, FRAME_PING, "?", 1);
	}
}

static void
expect_many(struct buffer *expected)
{
	assert_int_equal(wire_test.heard.len, expected->len);
	assert_memory_equal(
	    wire_test.heard.data, expected->data, expected->len);
	buffer_fini(&wire_test.heard);
	buffer_fini(expected);
}

/* All that was read at once comes one by one, as it is asked for. */
static void
a_pause_holds_what_was_read(void **state)
{
	struct buffer expected = { 0 };
	struct wire wire;

	(void)state;
	begin(&wire, true);
	put_many(&wire, &expected);
	wire_begin(&wire_test, &wire);
	wire_test.at_message = pause_each_time;
	assert_int_equal(client_test_once(&wire_test), 1);
	assert_int_equal(wire_test.code, 4000);
	assert_int_equal(owner.resumes, MANY - 1);
	assert_false(owner.heard_paused);
	expect_many(&expected);
	end(&wire);
}

static void
what_came_before_the_close_is_heard_before_it(void **state)
{
	struct buffer expected = { 0 };
	struct wire wire;

	(void)state;
	begin(&wire, false);
	put_many(&wire, &expected);
	wire_close(&wire);
	wire_begin(&wire_test, &wire);
	wire_test.at_message = pause_each_time;
	assert_int_equal(client_test_once(&wire_test), 1);
	assert_int_equal(wire_test.code, 1000);
	expect_many(&expected);
	end(&wire);
}

static void
pause_once(struct client_test *opened)
{
	es_loop_assert(opened->rig.loop);
	assert_int_equal(opened->messages, 1);
	client_pause(opened->client);
	if (owner.ends)
		assert_int_equal(
		    es_call_later(opened->rig.loop, ES_MS(5), "test",
			client_test_free, opened, NULL, NULL),
		    0);
}

static void
close_now(void *arg)
{
	(void)arg;
	es_loop_assert(wire_test.rig.loop);
	client_close(wire_test.client, 4001, "");
}

static void
close_paused(struct client_test *opened)
{
	pause_once(opened);
	es_loop_assert(opened->rig.loop);
	assert_int_equal(es_call_later(opened->rig.loop, ES_MS(5), "test",
			     close_now, NULL, NULL, NULL),
	    0);
}

/* With messages in hand: closed, and they are dropped; freed, likewise. */
static void
what_waits_goes_with_its_connection(void **state)
{
	struct buffer expected = { 0 };
	struct wire wire;
	int64_t since;

	(void)state;
	begin(&wire, false);
	put_many(&wire, &expected);
	wire_begin(&wire_test, &wire);
	wire_test.at_message = close_paused;
	since = clock_now_us();
	assert_int_equal(client_test_once(&wire_test), 1);
	/* The answer is read: the library gives it five seconds. */
	assert_true(clock_now_us() - since < ES_S(4));
	client_test_heard(&wire_test, "bmessage 0|");
	assert_int_equal(wire_test.code, 4001);
	owner.ends = true;
	wire_begin(&wire_test, &wire);
	wire_test.at_message = pause_once;
	rig_run(&wire_test.rig, client_test_begin, &wire_test);
	client_test_heard(&wire_test, "bmessage 0|");
	assert_int_equal(wire_test.closed + wire_test.failed, 0);
	assert_int_equal(peer_end(wire_test.peer), 1);
	wire_test.client = NULL;
	buffer_fini(&expected);
	end(&wire);
}

#define HEAVY 40

static unsigned had_come; /* messages, when others had their turn */

static void
note_turn(void *arg)
{
	(void)arg;
	had_come = wire_test.messages;
}

static void
call_at_first(struct client_test *opened)
{
	es_loop_assert(opened->rig.loop);
	if (opened->messages == 1)
		assert_int_equal(es_call_soon(opened->rig.loop, "test",
				     note_turn, NULL, NULL, NULL),
		    0);
	if (opened->messages == HEAVY)
		client_close(opened->client, 4000, "all");
}

/* Forty times 100 KB in five: others have their turn in between. */
static void
a_few_bytes_that_are_many_do_not_take_all_the_time(void **state)
{
	static uint8_t zeroes[100000];
	struct buffer expected = { 0 };
	struct wire wire;

	(void)state;
	begin(&wire, true);
	for (int i = 0; i < HEAVY; i++)
		wire_expect(&wire, &expected, zeroes, sizeof(zeroes));
	assert_true(wire.bytes.len < 8192); /* one read */
	wire_begin(&wire_test, &wire);
	wire_test.at_message = call_at_first;
	assert_int_equal(client_test_once(&wire_test), 1);
	assert_int_equal(wire_test.messages, HEAVY);
	assert_true(had_come > 0 && had_come <= 12);
	assert_int_equal(wire_test.code, 4000);
	expect_many(&expected);
	end(&wire);
}

static void
fail_nth(struct client_test *opened)
{
	es_loop_assert(opened->rig.loop);
	memory_fail_nth(opened->rooms); /* not used for anything else here */
}

static void
no_memory_is_a_close_and_no_leak(void **state)
{
	bool seen = true;

	(void)state;
	for (int n = 1; seen; n++) {
		struct buffer expected = { 0 };
		struct wire wire;

		begin(&wire, true);
		put_many(&wire, &expected);
		wire_begin(&wire_test, &wire);
		wire_test.at_open = fail_nth;
		wire_test.rooms = n * n;
		wire_test.at_message = pause_each_time;
		wire_test.options.close_timeout = ES_MS(100);
		assert_int_equal(client_test_once(&wire_test), 1);
		seen = memory_fail_seen();
		memory_fail_nth(0);
		assert_int_equal(wire_test.opened, 1);
		if (!seen)
			assert_int_equal(wire_test.code, 4000);
		buffer_fini(&wire_test.heard);
		buffer_fini(&expected);
		end(&wire);
		assert_true(n < 200);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pause_holds_what_was_read),
		cmocka_unit_test(what_came_before_the_close_is_heard_before_it),
		cmocka_unit_test(what_waits_goes_with_its_connection),
		cmocka_unit_test(
		    a_few_bytes_that_are_many_do_not_take_all_the_time),
		cmocka_unit_test(no_memory_is_a_close_and_no_leak),
	};

	return cmocka_run_group_tests(tests, wire_set_up, wire_tear_down);
}
