/*
 * When the state file is written: at once, then not more often than agreed;
 * at the end; and what happens when it cannot be.
 */

#include "daemon/ctl/keep.c"
#include "daemon/ctl/place.c"
#include "daemon/ctl/state.c"
#include "daemon/ctl/state_text.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct rig {
	char folder[64], file[80], next[88];
	struct places places;
	struct place *place;
	struct keep keep;
	es_loop *loop;
	bool (*until)(struct rig *rig);
	int64_t offset; /* for until */
	unsigned dones;
};

static char said[512];

void
ctl_say(const char *fmt, ...)
{
	const size_t len = strlen(said);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(said + len, sizeof(said) - len, fmt, args);
	va_end(args);
	strncat(said, "\n", sizeof(said) - strlen(said) - 1);
}

static void
before_poll(es_usec *wait, void *arg)
{
	struct rig *rig = arg;

	(void)wait;
	if (rig->keep.loop == NULL)
		return;
	es_loop_assert(rig->loop);
	keep_look(&rig->keep);
	if (rig->until != NULL && rig->until(rig))
		es_loop_stop(rig->loop);
}

static void
on_done(void *arg)
{
	struct rig *rig = arg;

	rig->dones++;
}

static void
start(void *arg)
{
	struct rig *rig = arg;

	es_loop_assert(rig->loop);
	keep_start(&rig->keep, rig->loop, on_done, rig);
	es_loop_stop(rig->loop);
}

static void
finish(void *arg)
{
	struct rig *rig = arg;

	es_loop_assert(rig->loop);
	if (keep_finish(&rig->keep))
		rig->dones++;
}

static void
end(void *arg)
{
	struct rig *rig = arg;

	es_loop_assert(rig->loop);
	keep_end(&rig->keep);
	es_loop_stop(rig->loop);
}

static void
turn(struct rig *rig, es_fn fn)
{
	assert_int_equal(
	    es_call_soon(rig->loop, "test", fn, rig, NULL, NULL), 0);
	assert_int_equal(es_loop_run(rig->loop), 0);
}

static void
on_late(void *arg)
{
	(void)arg;
	abort(); /* what was waited for did not come */
}

static void
wait_for(struct rig *rig, bool (*until)(struct rig *rig))
{
	es_call *late;

	rig->until = until;
	assert_int_equal(es_call_later(rig->loop, ES_S(20), "late", on_late,
			     NULL, NULL, &late),
	    0);
	assert_int_equal(es_loop_run(rig->loop), 0);
	(void)es_call_cancel(late);
	es_call_unref(late);
	rig->until = NULL;
}

static void
move(struct rig *rig, int64_t offset)
{
	const struct position position = { 0x77, offset };

	place_move(&rig->places, rig->place, &position);
	places_settle(&rig->places, 0, 0);
}

static bool
is_saved(struct rig *rig)
{
	char text[128], wanted[128];
	FILE *in = fopen(rig->file, "r");
	size_t n;

	assert_non_null(in);
	n = fread(text, 1, sizeof(text) - 1, in);
	text[n] = '\0';
	assert_int_equal(fclose(in), 0);
	(void)snprintf(wanted, sizeof(wanted),
	    STATE_HEADER "\na 0000000000000077:%lld\n", (long long)rig->offset);
	return strcmp(text, wanted) == 0;
}

static bool
is_done(struct rig *rig)
{
	return rig->dones > 0;
}

static bool
has_failed(struct rig *rig)
{
	return rig->keep.error < 0;
}

static struct rig *
rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(rig);
	said[0] = '\0';
	(void)snprintf(rig->folder, sizeof(rig->folder), "%s/keep-XXXXXX",
	    tmp != NULL && strlen(tmp) < 40 ? tmp : "/tmp");
	assert_non_null(mkdtemp(rig->folder));
	(void)snprintf(rig->file, sizeof(rig->file), "%s/file", rig->folder);
	(void)snprintf(rig->next, sizeof(rig->next), "%s.new", rig->file);
	assert_int_equal(keep_open(&rig->keep, rig->file), CTL_OK);
	assert_int_equal(places_init(&rig->places, 1), 0);
	rig->place = places_add(&rig->places, "a", 1);
	assert_int_equal(keep_recall(&rig->keep, &rig->places), CTL_OK);
	assert_int_equal(es_loop_new(&rig->loop, NULL), 0);
	assert_int_equal(
	    es_loop_set_hooks(rig->loop, before_poll, NULL, rig), 0);
	turn(rig, start);
	return rig;
}

static void
rig_free(struct rig *rig)
{
	turn(rig, end);
	assert_int_equal(es_loop_close(rig->loop, 0), 0);
	es_loop_unref(rig->loop);
	keep_close(&rig->keep);
	places_fini(&rig->places);
	assert_int_equal(unlink(rig->file), 0);
	(void)rmdir(rig->next); /* if the test made it */
	assert_int_equal(rmdir(rig->folder), 0);
	free(rig);
}

static void
the_first_is_saved_at_once_the_next_a_second_later(void **state)
{
	struct rig *rig = rig_new();
	es_usec first;

	(void)state;
	move(rig, rig->offset = 1);
	wait_for(rig, is_saved);
	first = rig->keep.saved_at;
	move(rig, rig->offset = 2);
	wait_for(rig, is_saved);
	assert_true(es_loop_time(rig->loop) - first >= KEEP_INTERVAL);
	assert_true(rig->keep.saved_at - first >= KEEP_INTERVAL);
	assert_string_equal(said, "");
	rig_free(rig);
}

static void
the_end_does_not_wait_for_a_second(void **state)
{
	struct rig *rig = rig_new();
	es_usec first;

	(void)state;
	move(rig, rig->offset = 1);
	wait_for(rig, is_saved);
	first = rig->keep.saved_at;
	move(rig, rig->offset = 2);
	assert_int_equal(
	    es_call_soon(rig->loop, "test", finish, rig, NULL, NULL), 0);
	wait_for(rig, is_done);
	assert_true(is_saved(rig));
	assert_true(rig->keep.saved_at - first < KEEP_INTERVAL);
	assert_int_equal(rig->dones, 1);
	assert_int_equal(rig->keep.error, 0);
	rig_free(rig);
}

static void
nothing_new_is_nothing_to_save(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	assert_int_equal(
	    es_call_soon(rig->loop, "test", finish, rig, NULL, NULL), 0);
	wait_for(rig, is_done);
	assert_int_equal(rig->dones, 1);
	rig_free(rig);
}

static void
a_failure_is_told_once_and_tried_again(void **state)
{
	struct rig *rig = rig_new();
	char wanted[256];
	es_usec first;

	(void)state;
	assert_int_equal(mkdir(rig->next, 0700), 0);
	move(rig, rig->offset = 1);
	wait_for(rig, has_failed);
	first = rig->keep.saved_at;
	(void)snprintf(
	    wanted, sizeof(wanted), "%s: %s\n", rig->file, strerror(EISDIR));
	assert_string_equal(said, wanted);
	assert_int_equal(rmdir(rig->next), 0);
	wait_for(rig, is_saved); /* although nothing moves */
	assert_true(rig->keep.saved_at - first >= KEEP_INTERVAL);
	rig_free(rig);
}

static void
a_last_save_that_fails_is_the_end_too(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	assert_int_equal(mkdir(rig->next, 0700), 0);
	move(rig, 1);
	assert_int_equal(
	    es_call_soon(rig->loop, "test", finish, rig, NULL, NULL), 0);
	wait_for(rig, is_done);
	assert_int_equal(rig->dones, 1);
	assert_int_equal(rig->keep.error, -EISDIR);
	rig_free(rig);
}

/* Whichever allocation fails, the end comes, with an error or without. */
static void
no_memory_does_not_keep_it_from_ending(void **state)
{
	bool seen = true;
	int64_t n;

	(void)state;
	for (n = 1; seen; n++) {
		struct rig *rig = rig_new();

		move(rig, rig->offset = n);
		assert_int_equal(
		    es_call_soon(rig->loop, "test", finish, rig, NULL, NULL),
		    0);
		rig->until = is_done;
		memory_fail_nth(n);
		assert_int_equal(es_loop_run(rig->loop), 0);
		seen = memory_fail_seen();
		memory_fail_nth(0);
		assert_int_equal(rig->dones, 1);
		if (rig->keep.error == 0)
			assert_true(is_saved(rig));
		else
			assert_int_equal(rig->keep.error, -ENOMEM);
		rig_free(rig);
	}
	assert_true(n > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    the_first_is_saved_at_once_the_next_a_second_later),
		cmocka_unit_test(the_end_does_not_wait_for_a_second),
		cmocka_unit_test(nothing_new_is_nothing_to_save),
		cmocka_unit_test(a_failure_is_told_once_and_tried_again),
		cmocka_unit_test(a_last_save_that_fails_is_the_end_too),
		cmocka_unit_test(no_memory_does_not_keep_it_from_ending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
