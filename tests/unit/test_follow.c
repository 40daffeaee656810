/* A file by its name, and the place in it, in a folder of the test's own. */

#include "daemon/feed/follow.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[256], path[300], store[300];
static struct follow *follow;

static char *
name(const char *suffix)
{
	static char names[4][320];
	static int next;
	char *to = names[next++ % 4];

	(void)snprintf(to, sizeof(names[0]), "%s%s", path, suffix);
	return to;
}

static void
put(const char *suffix, const char *mode, const char *text)
{
	FILE *file = fopen(name(suffix), mode);

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int
begin(void **state)
{
	const char *top = getenv("TMPDIR");

	(void)state;
	(void)snprintf(
	    folder, sizeof(folder), "%s/follow-XXXXXX", top ? top : "/tmp");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/log", folder);
	(void)snprintf(store, sizeof(store), "%s/place", folder);
	follow = NULL;
	return 0;
}

static int
end(void **state)
{
	char command[300];

	(void)state;
	if (follow)
		follow_unref(follow);
	(void)snprintf(command, sizeof(command), "rm -r '%s'", folder);
	return system(command);
}

static void
again(bool at_end)
{
	if (follow)
		follow_unref(follow);
	assert_int_equal(follow_new(path, store, -1, at_end, &follow), 0);
}

/* One look finds exactly that. */
static const struct follow_look *
finds(const char *want)
{
	const struct follow_look *look = follow_result(follow);

	follow_look(follow);
	if (look->len != strlen(want) ||
	    memcmp(look->data ? look->data : (const uint8_t *)"", want,
		look->len) != 0)
		fail_msg(
		    "found: %.*s", (int)look->len, (const char *)look->data);
	return look;
}

static void
save(int64_t back)
{
	struct follow_look *look = follow_result(follow);

	look->save = true;
	look->place = look->at;
	look->place.offset += (int64_t)look->len - back;
	finds("");
	assert_int_equal(look->save_error, 0);
	look->save = false;
}

static void
it_begins_at_the_end_or_the_start(void **state)
{
	(void)state;
	put("", "w", "old");
	again(true);
	finds("");
	put("", "a", "new");
	finds("new");
	finds("");
	again(false);
	finds("oldnew");
}

static void
what_appears_is_read_from_its_start(void **state)
{
	(void)state;
	again(true);
	assert_int_equal(finds("")->error, -ENOENT);
	put("", "w", "first");
	assert_int_equal(finds("first")->error, 0);
}

static void
one_that_is_rotated_is_read_to_its_end(void **state)
{
	(void)state;
	put("", "w", "1");
	again(false);
	finds("1");
	assert_int_equal(rename(path, name(".1")), 0);
	put(".1", "a", "2");
	assert_int_equal(finds("2")->error, -ENOENT);
	put("", "w", "");
	put(".1", "a", "3");
	finds("3"); /* nobody has begun the new one */
	put("", "a", "4");
	assert_true(finds("4")->fresh);
}

static void
one_that_had_the_name_between_two_looks_is_found(void **state)
{
	(void)state;
	put("", "w", "1");
	assert_int_equal(
	    follow_new(path, store, inotify_init1(IN_NONBLOCK | IN_CLOEXEC),
		false, &follow),
	    0);
	finds("1");
	assert_int_equal(rename(path, name(".1")), 0);
	put("", "w", "2");
	assert_int_equal(rename(path, name(".2")), 0);
	put("", "w", "3");
	assert_int_equal(rename(path, name(".3")), 0);
	assert_int_equal(rename(name(".3"), name(".4")), 0);
	put("", "w", "4");
	assert_true(finds("2")->fresh);
	finds("3");
	finds("4"); /* and .1 is not read again, nor are the others */
	finds("");
	assert_int_equal(rename(path, name(".5")), 0);
	finds("");
}

static void
one_that_was_cut_is_read_anew(void **state)
{
	(void)state;
	put("", "w", "12345");
	again(false);
	finds("12345");
	assert_int_equal(truncate(path, 0), 0);
	put("", "a", "67");
	assert_true(finds("67")->truncated);
	/* As long as before, and longer, and other bytes. */
	put("", "w", "ab");
	assert_true(finds("ab")->truncated);
	put("", "w", "xyz");
	assert_true(finds("xyz")->truncated);
	put("", "a", "!");
	assert_false(finds("!")->truncated);
}

static void
a_place_is_found_again(void **state)
{
	(void)state;
	put("", "w", "one\ntwo");
	again(false);
	finds("one\ntwo");
	save(3);
	again(true);
	finds("two");
	assert_int_equal(rename(path, name(".7")), 0);
	put("", "w", "next");
	again(true);
	finds("two"); /* under its new name */
	finds("next");
	assert_int_equal(unlink(name(".7")), 0);
	again(true);
	finds("next"); /* gone: what there is is new */
}

static void
a_place_in_another_file_is_none(void **state)
{
	(void)state;
	put("", "w", "one\ntwo");
	again(false);
	finds("one\ntwo");
	save(0);
	put("", "w", "ONE\nTWO\nthree");
	again(true);
	finds("ONE\nTWO\nthree"); /* the same inode, other bytes */
}

static void
rubbish_for_a_place_is_none(void **state)
{
	static const char *const texts[] = { "", "rubbish",
		"earshot-place 1 1 1 -5 - /x", "earshot-place 2 1 1 5 - /x",
		"earshot-place 1 1 1 1 zz /x" };
	struct place place;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		FILE *file = fopen(store, "w");

		assert_non_null(file);
		assert_true(fputs(texts[i], file) >= 0);
		assert_int_equal(fclose(file), 0);
		assert_int_equal(place_load(&place, store, "/x"), -EBADMSG);
	}
	place = (struct place){ .inode = 1, .offset = 7 };
	assert_int_equal(place_save(&place, store, "/a b"), 0);
	assert_int_equal(place_load(&place, store, "/a"), -ENOENT);
	assert_int_equal(place_load(&place, store, "/a b"), 0);
	assert_int_equal(place.offset, 7);
	assert_int_equal(place_save(&place, "/nowhere/x", "/a"), -ENOENT);
}

static void
what_is_no_file_is_refused(void **state)
{
	(void)state;
	assert_int_equal(follow_new(folder, NULL, -1, true, &follow), 0);
	assert_int_equal(finds("")->error, -EISDIR);
	follow_unref(follow);
	assert_int_equal(follow_new("/dev/null", NULL, -1, true, &follow), 0);
	assert_int_equal(finds("")->error, -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(it_begins_at_the_end_or_the_start),
		TEST(what_appears_is_read_from_its_start),
		TEST(one_that_is_rotated_is_read_to_its_end),
		TEST(one_that_had_the_name_between_two_looks_is_found),
		TEST(one_that_was_cut_is_read_anew),
		TEST(a_place_is_found_again),
		TEST(a_place_in_another_file_is_none),
		TEST(rubbish_for_a_place_is_none),
		TEST(what_is_no_file_is_refused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
