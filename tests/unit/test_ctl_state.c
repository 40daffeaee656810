/*
 * The state file: what is put comes back, what is none is refused by line,
 * one process at a time, whole whatever happens.
 */

#include "daemon/ctl/place.c"
#include "daemon/ctl/state.c"
#include "daemon/ctl/state_text.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH "5f2c00000000abcd"

static char folder[64], file[128];

static int
begin(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	(void)snprintf(folder, sizeof(folder), "%s/state-XXXXXX",
	    tmp != NULL && strlen(tmp) < 40 ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(file, sizeof(file), "%s/file", folder);
	return 0;
}

static int
end(void **state)
{
	char next[sizeof(file) + 8];

	(void)state;
	(void)snprintf(next, sizeof(next), "%s.new", file);
	(void)unlink(file); /* if the test made it */
	(void)unlink(next); /* likewise */
	return rmdir(folder);
}

static void
put_file(const char *text)
{
	FILE *out = fopen(file, "w");

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

static int
open_state(struct state *kept, char *out, size_t size)
{
	struct buffer text = { 0 };
	const int error = state_open(kept, file, &text);

	if (error == 0)
		(void)snprintf(out, size, "%.*s", (int)text.len,
		    text.len > 0 ? (const char *)text.data : "");
	buffer_fini(&text);
	return error;
}

static int
parse(const char *words, struct places *places, size_t *ret_line,
    char what[static STATE_WHAT_MAX])
{
	struct buffer text = { 0 };
	int error;

	assert_int_equal(
	    buffer_append(&text, words, strlen(words), SIZE_MAX), 0);
	assert_int_equal(places_init(places, 1 + state_channels_max(&text)), 0);
	error = state_parse(&text, places, ret_line, what);
	buffer_fini(&text);
	return error;
}

static void
refuse(const char *words, size_t line, const char *expected)
{
	char what[STATE_WHAT_MAX];
	struct places places;
	size_t got = 0;

	assert_int_equal(parse(words, &places, &got, what), -EBADMSG);
	assert_string_equal(what, expected);
	assert_int_equal(got, line);
	places_fini(&places);
}

static void
what_is_put_comes_back(void **state)
{
	static const char words[] = STATE_HEADER "\nticks " EPOCH ":41\n"
						 "a:b.c_d-9 0000000000000001:0"
						 "\n";
	char what[STATE_WHAT_MAX];
	struct buffer text = { 0 };
	struct places places;
	struct place *place;
	size_t line;

	(void)state;
	assert_int_equal(parse(words, &places, &line, what), 0);
	assert_int_equal(places.count, 2);
	place = places_find(&places, "ticks", 5);
	assert_non_null(place);
	assert_true(place->known && place->has_written);
	assert_true(place->position.epoch == UINT64_C(0x5f2c00000000abcd));
	assert_int_equal(place->position.offset, 41);
	(void)places_add(&places, "unknown", 7);
	assert_int_equal(state_put(&text, &places), 0);
	assert_int_equal(text.len, strlen(words));
	assert_memory_equal(text.data, words, text.len);
	buffer_fini(&text);
	places_fini(&places);
}

static void
an_empty_file_is_a_fresh_start(void **state)
{
	char what[STATE_WHAT_MAX];
	struct places places;
	size_t line;

	(void)state;
	assert_int_equal(parse("", &places, &line, what), 0);
	assert_int_equal(places.count, 0);
	places_fini(&places);
	assert_int_equal(parse(STATE_HEADER "\n", &places, &line, what), 0);
	assert_int_equal(places.count, 0);
	places_fini(&places);
}

static void
a_broken_line_is_named(void **state)
{
	static const char header[] = "expected \"" STATE_HEADER "\"";
	static const char both[] = "expected CHANNEL EPOCH:OFFSET";
	static const char position[] =
	    "expected a position, EPOCH:OFFSET, after the channel";
	static const char newline[] =
	    "expected a newline at the end of the line";

	(void)state;
	refuse("ticks " EPOCH ":41\n", 1, header);
	refuse("\n", 1, header);
	refuse("earshot sub 2\n", 1, header);
	refuse("earshot sub 10\n", 1, header);
	refuse(STATE_HEADER, 1, newline);
	refuse(STATE_HEADER "\n\n", 2, both);
	refuse(STATE_HEADER "\nticks\n", 2, both);
	refuse(STATE_HEADER "\nti/cks " EPOCH ":41\n", 2, both);
	refuse(STATE_HEADER "\nticks \n", 2, position);
	refuse(STATE_HEADER "\nticks " EPOCH ":041\n", 2, position);
	refuse(STATE_HEADER "\nticks " EPOCH ":41 \n", 2, position);
	refuse(STATE_HEADER "\na " EPOCH ":1\nb " EPOCH ":-1\n", 3, position);
	refuse(STATE_HEADER "\na " EPOCH ":1\na " EPOCH ":2\n", 3,
	    "expected another channel than those above");
	refuse(STATE_HEADER "\na " EPOCH ":1\nb " EPOCH ":2", 3, newline);
}

static void
a_file_is_made_and_replaced(void **state)
{
	struct state kept;
	struct stat about;
	char text[64];

	(void)state;
	assert_int_equal(open_state(&kept, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	assert_int_equal(fchmod(kept.file, 0640), 0);
	state_close(&kept);
	assert_int_equal(open_state(&kept, text, sizeof(text)), 0);
	assert_int_equal(state_save(&kept, "one\n", 4), 0);
	assert_int_equal(state_save(&kept, "two\n", 4), 0);
	state_close(&kept);
	assert_int_equal(open_state(&kept, text, sizeof(text)), 0);
	assert_string_equal(text, "two\n");
	assert_int_equal(fstat(kept.file, &about), 0);
	assert_int_equal(about.st_mode & 0777, 0640);
	state_close(&kept);
	state_close(&kept); /* nothing to close */
}

static void
one_process_at_a_time(void **state)
{
	struct state first, second;
	char text[64];

	(void)state;
	assert_int_equal(open_state(&first, text, sizeof(text)), 0);
	assert_int_equal(open_state(&second, text, sizeof(text)), -EAGAIN);
	assert_int_equal(state_save(&first, "one\n", 4), 0);
	assert_int_equal(open_state(&second, text, sizeof(text)), -EAGAIN);
	assert_int_equal(state_save(&first, "two\n", 4), 0);
	assert_int_equal(open_state(&second, text, sizeof(text)), -EAGAIN);
	state_close(&first);
	assert_int_equal(open_state(&second, text, sizeof(text)), 0);
	assert_string_equal(text, "two\n");
	state_close(&second);
}

/* Who has opened the old file gets its lock when it has lost its name. */
static void
a_lock_on_a_replaced_file_is_none(void **state)
{
	struct state kept;
	char text[64];
	int old;

	(void)state;
	assert_int_equal(open_state(&kept, text, sizeof(text)), 0);
	old = open(file, O_RDWR | O_CLOEXEC);
	assert_true(old >= 0);
	assert_int_equal(state_save(&kept, "one\n", 4), 0);
	assert_int_equal(flock(old, LOCK_EX | LOCK_NB), 0);
	state_close(&kept);

	kept.file = old;
	kept.folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(kept.folder >= 0);
	assert_int_equal(lock(&kept), 0);
	state_close(&kept);
}

static void
a_symbolic_link_is_followed(void **state)
{
	char link[sizeof(file) + 8], text[64];
	struct buffer read = { 0 };
	struct state kept;
	struct stat about;

	(void)state;
	put_file("old\n");
	(void)snprintf(link, sizeof(link), "%s.link", file);
	assert_int_equal(symlink("file", link), 0);
	assert_int_equal(state_open(&kept, link, &read), 0);
	buffer_fini(&read);
	assert_int_equal(state_save(&kept, "new\n", 4), 0);
	state_close(&kept);
	assert_int_equal(lstat(link, &about), 0);
	assert_true(S_ISLNK(about.st_mode));
	assert_int_equal(unlink(link), 0);
	assert_int_equal(open_state(&kept, text, sizeof(text)), 0);
	assert_string_equal(text, "new\n");
	state_close(&kept);
}

static void
what_is_no_file_is_refused(void **state)
{
	struct buffer text = { 0 };
	struct state kept;
	char path[sizeof(file) + 300];

	(void)state;
	assert_int_equal(state_open(&kept, folder, &text), -EISDIR);
	assert_int_equal(state_open(&kept, "/dev/null", &text), -EINVAL);
	assert_int_equal(mkfifo(file, 0600), 0);
	assert_int_equal(state_open(&kept, file, &text), -EINVAL);
	(void)snprintf(path, sizeof(path), "%s/none/file", folder);
	assert_int_equal(state_open(&kept, path, &text), -ENOENT);
	(void)snprintf(path, sizeof(path), "%s/%0254d", folder, 1);
	assert_int_equal(state_open(&kept, path, &text), -ENAMETOOLONG);
	assert_int_equal(unlink(path), 0);
	buffer_fini(&text);
}

static void
a_file_that_is_too_long_is_refused(void **state)
{
	struct state kept;
	char text[8];

	(void)state;
	put_file("");
	assert_int_equal(truncate(file, STATE_BYTES_MAX + 1), 0);
	assert_int_equal(open_state(&kept, text, sizeof(text)), -EFBIG);
}

static void
a_save_that_fails_leaves_the_old_file(void **state)
{
	char next[sizeof(file) + 8], text[64];
	struct state kept;

	(void)state;
	put_file("old\n");
	(void)snprintf(next, sizeof(next), "%s.new", file);
	assert_int_equal(mkdir(next, 0700), 0);
	assert_int_equal(open_state(&kept, text, sizeof(text)), 0);
	assert_int_equal(state_save(&kept, "new\n", 4), -EISDIR);
	assert_int_equal(rmdir(next), 0);
	state_close(&kept);
	assert_int_equal(open_state(&kept, text, sizeof(text)), 0);
	assert_string_equal(text, "old\n");
	assert_int_equal(state_save(&kept, "new\n", 4), 0);
	state_close(&kept);
}

static void
no_memory_is_an_error_and_nothing_stays_open(void **state)
{
	struct state kept;
	char text[64];
	int64_t n;
	int error;

	(void)state;
	put_file("old\n");
	for (n = 1;; n++) {
		memory_fail_nth(n);
		error = open_state(&kept, text, sizeof(text));
		if (error == 0)
			break;
		assert_int_equal(error, -ENOMEM);
		assert_int_equal(kept.file, -EBADF);
		assert_int_equal(kept.folder, -EBADF);
	}
	memory_fail_nth(0);
	assert_true(n > 2);
	state_close(&kept);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_comes_back),
		cmocka_unit_test(an_empty_file_is_a_fresh_start),
		cmocka_unit_test(a_broken_line_is_named),
		TEST(a_file_is_made_and_replaced),
		TEST(one_process_at_a_time),
		TEST(a_lock_on_a_replaced_file_is_none),
		TEST(a_symbolic_link_is_followed),
		TEST(what_is_no_file_is_refused),
		TEST(a_file_that_is_too_long_is_refused),
		TEST(a_save_that_fails_leaves_the_old_file),
		TEST(no_memory_is_an_error_and_nothing_stays_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
