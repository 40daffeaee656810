/*
 * What threads hand to the loop: all of it, in order, however much comes at
 * once.
 */

#include "daemon/base/list.h"
#include "daemon/handler/outbox.h"
#include "tests/unit/loop_rig.h"

#define POSTS 3000 /* more than one call runs, and than two */

struct note {
	struct post post;
	struct rig *rig;
	unsigned number;
};

struct rig {
	es_loop *loop;
	struct outbox *outbox;
	struct note notes[POSTS + 1];
	unsigned ran, dropped;
	unsigned late; /* one that comes between two calls */
};

static void
on_post(struct post *post, bool dropped)
{
	struct note *note = LIST_ENTRY(post, struct note, post);
	struct rig *rig = note->rig;

	if (dropped) {
		rig->dropped++;
		return;
	}
	assert_int_equal(note->number, rig->ran);
	rig->ran++;
	if (rig->ran == POSTS + rig->late)
		es_loop_stop(rig->loop);
}

static void
push(struct rig *rig, unsigned number)
{
	struct note *note = &rig->notes[number];

	*note = (struct note){ { NULL, on_post }, rig, number };
	assert_int_equal(outbox_push(rig->outbox, &note->post), 0);
}

static int
set_up(void **state)
{
	static struct rig rig;

	rig = (struct rig){ .loop = rig_loop() };
	rig.outbox = outbox_new(rig.loop, NULL, NULL);
	assert_non_null(rig.outbox);
	outbox_open(rig.outbox);
	*state = &rig;
	return 0;
}

static int
tear_down(void **state)
{
	struct rig *rig = *state;

	outbox_free(rig->outbox);
	rig_end(rig->loop);
	return 0;
}

static void
many_run_in_order(void **state)
{
	struct rig *rig = *state;
	unsigned i;

	for (i = 0; i < POSTS; i++)
		push(rig, i);
	rig_later(rig->loop, RIG_PATIENCE, rig_never, NULL);
	assert_int_equal(es_loop_run(rig->loop), 0);
	assert_int_equal(rig->ran, POSTS);
	assert_true(outbox_is_empty(rig->outbox));
}

/* Behind the call that begins with them, before the one that ends them. */
static void
push_late(void *arg)
{
	struct rig *rig = arg;

	if (rig->ran < POSTS && !rig->outbox->taken)
		rig_soon(rig->loop, push_late, rig); /* not begun */
	else if (POSTS - rig->ran <= 1024)
		push(rig, POSTS);
	else
		rig_soon(rig->loop, push_late, rig);
}

static void
one_that_comes_between_two_calls_is_not_forgotten(void **state)
{
	struct rig *rig = *state;
	unsigned i;

	rig->late = 1;
	for (i = 0; i < POSTS; i++)
		push(rig, i);
	rig_soon(rig->loop, push_late, rig);
	rig_later(rig->loop, RIG_PATIENCE, rig_never, NULL);
	assert_int_equal(es_loop_run(rig->loop), 0);
	assert_int_equal(rig->ran, POSTS + 1);
}

static void
what_is_left_is_dropped(void **state)
{
	struct rig *rig = *state;
	unsigned i;

	for (i = 0; i < 10; i++)
		push(rig, i);
	outbox_free(rig->outbox);
	rig->outbox = NULL;
	assert_int_equal(rig->dropped, 10);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(many_run_in_order),
		TEST(one_that_comes_between_two_calls_is_not_forgotten),
		TEST(what_is_left_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
