/* Configuration files and their drop-ins; each test has a folder of its own. */

#include "conf/conf.h"
#include "daemon/base/memory.h"
#include "tests/lib/told.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static int
folder_new(void **state)
{
	const char *base = getenv("TMPDIR");
	char *folder = malloc(4096);

	if (!folder)
		return -1;
	(void)snprintf(folder, 4096, "%s/conf-XXXXXX", base ? base : "/tmp");
	*state = folder;
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int
folder_remove(void **state)
{
	static const char *const names[] = { "e.conf.d/a.conf",
		"e.conf.d/b.conf", "e.conf.d/.c.conf", "e.conf.d/d.conf~",
		"e.conf.d/.conf", "e.conf.d/f.conf", "e.conf.d", "e.conf" };
	int result;

	for (size_t i = 0; i < LENGTH(names); i++)
		(void)remove(names[i]); /* not every test has every file */
	result = chdir("/") < 0 || rmdir(*state) < 0 ? -1 : 0;
	free(*state);
	return result;
}

static void
write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void
files_are_read_in_the_order_of_their_names(void **state)
{
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };

	(void)state;
	write_file("e.conf", "[listener]\nlisten=[::1]:1\n[drain]\n"
			     "close_rate=1\n");
	assert_int_equal(mkdir("e.conf.d", 0700), 0);
	write_file("e.conf.d/b.conf", "[drain]\nclose_rate=3\n");
	write_file("e.conf.d/a.conf", "[drain]\nclose_rate=2\nxyz=1\n");
	write_file("e.conf.d/.c.conf", "hidden\n");
	write_file("e.conf.d/d.conf~", "backup\n");
	write_file("e.conf.d/.conf", "no name\n");
	assert_int_equal(conf_read_files(conf, "e.conf", told_add, &told), 1);
	assert_string_equal(told.text,
	    "e.conf.d/a.conf:3: unknown key xyz in [drain], expected one of "
	    "timeout, retry_spread, close_rate\n");
	assert_int_equal(conf_finish(conf, told_add, &told), 0);
	assert_int_equal(conf->drain_close_rate, 3);
	conf_free(conf);
}

static void
a_file_that_cannot_be_read_is_a_fault_and_the_rest_is_read(void **state)
{
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };

	(void)state;
	assert_int_equal(mkdir("e.conf.d", 0700), 0);
	assert_int_equal(mkdir("e.conf.d/a.conf", 0700), 0);
	assert_int_equal(symlink("nowhere", "e.conf.d/b.conf"), 0);
	write_file("e.conf.d/f.conf", "[drain]\nclose_rate=3\nnonsense\n");
	assert_int_equal(conf_read_files(conf, "e.conf", told_add, &told), 4);
	assert_string_equal(told.text,
	    "e.conf: No such file or directory, expected a file to read\n"
	    "e.conf.d/a.conf: Is a directory, expected a file to read\n"
	    "e.conf.d/b.conf: No such file or directory, expected a file to "
	    "read\n"
	    "e.conf.d/f.conf:3: neither section nor key, expected [SECTION], "
	    "key = value or a comment\n");
	assert_int_equal(conf->drain_close_rate, 3);
	conf_free(conf);
}

static void
drop_ins_that_are_no_folder_are_a_fault(void **state)
{
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };
	char *name = calloc(1, 8192);

	(void)state;
	write_file("e.conf", "");
	write_file("e.conf.d", "");
	assert_int_equal(conf_read_files(conf, "e.conf", told_add, &told), 1);
	assert_string_equal(told.text,
	    "e.conf.d: Not a directory, expected a folder of at most 256 "
	    ".conf files\n");
	assert_non_null(name);
	memset(name, 'x', 8191);
	assert_int_equal(conf_read_files(conf, name, told_add, &told), 1);
	assert_non_null(strstr(told.text, "xxx: File name too long, "));
	assert_int_equal(conf_read_files(conf, "", told_add, &told), 1);
	conf_free(conf);
	free(name);
}

static void
a_file_may_be_as_long_as_is_said_and_no_longer(void **state)
{
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };
	char *text = malloc(CONF_FILE_BYTES_MAX + 2);

	(void)state;
	assert_non_null(text);
	memset(text, '\n', CONF_FILE_BYTES_MAX + 1);
	text[CONF_FILE_BYTES_MAX] = '\0';
	write_file("e.conf", text);
	assert_int_equal(conf_read_files(conf, "e.conf", told_add, &told), 0);
	text[CONF_FILE_BYTES_MAX] = '\n';
	text[CONF_FILE_BYTES_MAX + 1] = '\0';
	write_file("e.conf", text);
	assert_int_equal(conf_read_files(conf, "e.conf", told_add, &told), 1);
	assert_string_equal(
	    told.text, "e.conf: too long, expected at most 1048576 bytes\n");
	free(text);
	conf_free(conf);
}

/* More than a pipe holds, so that it is read in pieces. */
static void
a_pipe_will_do_for_a_file(void **state)
{
	struct conf *conf;
	struct told told = { .len = 0 };
	int fds[2], status;
	char name[64];
	pid_t child;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)close(fds[0]);
		for (int i = 1; i <= 20000; i++)
			if (dprintf(fds[1], "#%d\nline%d\n", i, i) < 0)
				_exit(1);
		_exit(0);
	}
	(void)close(fds[1]);
	conf = conf_new(); /* the child has none to lose */
	(void)snprintf(name, sizeof(name), "/dev/fd/%d", fds[0]);
	assert_int_equal(conf_read_files(conf, name, told_add, &told), 20000);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	(void)close(fds[0]);
	conf_free(conf);
}

/* Reads with the n-th allocation failing.  true: none was left to fail. */
static bool
fail_nth(int64_t n)
{
	struct told told = { .len = 0 };
	struct conf *conf = conf_new();
	int result;
	bool failed;

	memory_fail_nth(n);
	result = conf_read_files(conf, "e.conf", told_add, &told);
	failed = memory_fail_seen();
	memory_fail_nth(0);
	assert_int_equal(result, failed ? -ENOMEM : 0);
	assert_string_equal(told.text, "");
	conf_free(conf);
	return !failed;
}

static void
any_allocation_may_fail_while_files_are_read(void **state)
{
	int64_t n = 1;

	(void)state;
	write_file("e.conf", "[listener]\nlisten = [::1]:1\norigins = a b\n"
			     "[command]\nchannel = c\nexec = a b\n");
	assert_int_equal(mkdir("e.conf.d", 0700), 0);
	write_file("e.conf.d/a.conf", "[drain]\ntimeout = 1s\n");
	write_file("e.conf.d/b.conf", "[drain]\ntimeout = 2s\n");
	while (!fail_nth(n))
		n++;
	assert_true(n > 15);
}

#define WITH_FOLDER(test)                                                      \
	cmocka_unit_test_setup_teardown(test, folder_new, folder_remove)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FOLDER(files_are_read_in_the_order_of_their_names),
		WITH_FOLDER(
		    a_file_that_cannot_be_read_is_a_fault_and_the_rest_is_read),
		WITH_FOLDER(a_file_may_be_as_long_as_is_said_and_no_longer),
		cmocka_unit_test(a_pipe_will_do_for_a_file),
		WITH_FOLDER(drop_ins_that_are_no_folder_are_a_fault),
		WITH_FOLDER(any_allocation_may_fail_while_files_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
