/*
 * The manager is a datagram socket of the test: what arrives there, in which
 * order, and what happens where it is full, gone, or somebody else's.
 */

#include "systemd/notify.h"

#include "daemon/base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct manager {
	int fd;
	char folder[64];
	struct sockaddr_un address;
	char text[4096];
};

static void
manager_listen(struct manager *m, socklen_t len)
{
	m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(m->fd >= 0);
	assert_int_equal(
	    bind(m->fd, (const struct sockaddr *)&m->address, len), 0);
}

static int
setup(void **state)
{
	struct manager *m = calloc(1, sizeof(*m));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(m);
	snprintf(m->folder, sizeof(m->folder), "%s/notify.XXXXXX",
	    tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	assert_non_null(mkdtemp(m->folder));
	m->address.sun_family = AF_UNIX;
	snprintf(m->address.sun_path, sizeof(m->address.sun_path), "%s/s",
	    m->folder);
	manager_listen(m, sizeof(m->address));
	setenv("NOTIFY_SOCKET", m->address.sun_path, 1);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	*state = m;
	return 0;
}

static int
teardown(void **state)
{
	struct manager *m = *state;

	if (m->fd >= 0)
		close(m->fd);
	if (m->address.sun_path[0])
		unlink(m->address.sun_path);
	rmdir(m->folder);
	free(m);
	unsetenv("NOTIFY_SOCKET");
	return 0;
}

/* The next datagram; "" where there is none. */
static const char *
heard(struct manager *m)
{
	ssize_t n = recv(m->fd, m->text, sizeof(m->text) - 1, 0);

	m->text[n < 0 ? 0 : n] = '\0';
	return m->text;
}

static void
each_word_arrives_in_the_order_of_the_calls(void **state)
{
	struct manager *m = *state;

	assert_int_equal(notify_status("binding %d listeners", 2), 1);
	assert_int_equal(notify_ready("100% ready"), 1);
	assert_int_equal(notify_watchdog(), 1);
	assert_int_equal(notify_stopping(13000000, "draining: %d left", 7), 1);
	assert_int_equal(notify_errno(EADDRINUSE, "cannot bind"), 1);

	assert_string_equal(heard(m), "STATUS=binding 2 listeners");
	assert_string_equal(heard(m), "READY=1\nSTATUS=100% ready");
	assert_string_equal(heard(m), "WATCHDOG=1");
	assert_string_equal(heard(m),
	    "STOPPING=1\nEXTEND_TIMEOUT_USEC=13000000\n"
	    "STATUS=draining: 7 left");
	assert_string_equal(heard(m), "ERRNO=98\nSTATUS=cannot bind");
	assert_string_equal(heard(m), "");
}

static void
a_reload_says_when_it_began(void **state)
{
	struct manager *m = *state;
	const int64_t before = clock_now_us();
	long long told = 0;

	assert_int_equal(notify_reloading("reading it again"), 1);
	assert_int_equal(sscanf(heard(m),
			     "RELOADING=1\nMONOTONIC_USEC=%lld\n"
			     "STATUS=reading it again",
			     &told),
	    1);
	assert_true(told >= before && told <= clock_now_us());
	assert_int_equal(notify_ready("done"), 1);
	assert_string_equal(heard(m), "READY=1\nSTATUS=done");
}

static void
an_abstract_address_is_spoken(void **state)
{
	struct manager *m = *state;
	char name[sizeof(m->address.sun_path)];

	close(m->fd);
	unlink(m->address.sun_path);
	snprintf(name, sizeof(name), "@earshot-test-%d", (int)getpid());
	memcpy(m->address.sun_path, name, sizeof(name));
	m->address.sun_path[0] = '\0';
	manager_listen(m,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)));
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify_status("hello"), 1);
	assert_string_equal(heard(m), "STATUS=hello");
}

static void
without_a_manager_nothing_happens(void **state)
{
	struct manager *m = *state;

	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_ready("x"), 0);
	assert_int_equal(notify_status("x"), 0);
	assert_int_equal(notify_stopping(1, "x"), 0);
	assert_int_equal(notify_errno(EIO, "x"), 0);
	assert_int_equal(notify_watchdog(), 0);
	assert_int_equal(notify_watchdog_interval_us(), 0);
	assert_string_equal(heard(m), "");
}

static void
a_status_cannot_smuggle_in_a_line(void **state)
{
	struct manager *m = *state;

	assert_int_equal(notify_status("a\nMAINPID=1\rb\tc\x7f"), 1);
	assert_string_equal(heard(m), "STATUS=a MAINPID=1 b c ");
}

static void
a_long_status_is_cut_between_two_characters(void **state)
{
	struct manager *m = *state;
	char text[NOTIFY_STATUS_BYTES_MAX + 100];
	size_t pad;

	/* A three byte character ends before, on and behind the limit. */
	for (pad = 0; pad < 3; pad++) {
		size_t i, want = 0;

		memset(text, 'x', pad);
		for (i = pad; i + 3 < sizeof(text); i += 3) {
			memcpy(text + i, "\xe2\x82\xac", 3);
			if (i + 3 <= NOTIFY_STATUS_BYTES_MAX)
				want = i + 3;
		}
		text[i] = '\0';
		assert_int_equal(notify_status("%s", text), 1);
		heard(m);
		assert_int_equal(strlen(m->text), strlen("STATUS=") + want);
		assert_memory_equal(m->text + 7, text, want);
	}
	/* What is no text is cut all the same. */
	memset(text, 0x80, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(notify_status("%s", text), 1);
	assert_int_equal(strlen(heard(m)), 7 + NOTIFY_STATUS_BYTES_MAX);
}

static void
a_full_queue_is_told_at_once(void **state)
{
	struct manager *m = *state;
	int told = 0, r;

	/* sd_notify() waits here for ever; alarm() is how that would fail. */
	alarm(20);
	while ((r = notify_status("n %d", told)) == 1)
		told++;
	alarm(0);
	assert_int_equal(r, -EAGAIN);
	assert_true(told > 0);
	assert_string_equal(heard(m), "STATUS=n 0");
	assert_int_equal(notify_watchdog(), 1);
	for (r = 1; r < told; r++)
		assert_memory_equal(heard(m), "STATUS=n ", 9);
	assert_string_equal(heard(m), "WATCHDOG=1");
}

static void
a_socket_that_is_gone_is_an_error_and_no_more(void **state)
{
	struct manager *m = *state;
	char name[sizeof(m->address.sun_path) + 10];

	if (geteuid() != 0) { /* root writes to what is 0400 */
		assert_int_equal(chmod(m->address.sun_path, 0400), 0);
		assert_int_equal(notify_status("x"), -EACCES);
	}
	close(m->fd);
	m->fd = -1;
	assert_int_equal(notify_status("x"), -ECONNREFUSED);
	unlink(m->address.sun_path);
	assert_int_equal(notify_ready("x"), -ENOENT);
	setenv("NOTIFY_SOCKET", m->folder, 1);
	assert_int_equal(notify_watchdog(), -ECONNREFUSED);

	setenv("NOTIFY_SOCKET", "relative/path", 1);
	assert_int_equal(notify_stopping(1, "x"), -EINVAL);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_errno(1, "x"), -EINVAL);
	memset(name, 'x', sizeof(name) - 1);
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify_ready("x"), -EINVAL);
}

static void
no_descriptor_is_left_open(void **state)
{
	int before = dup(0), after, i;

	(void)state;
	assert_true(before >= 0);
	close(before);
	for (i = 0; i < 5; i++)
		assert_int_equal(notify_watchdog(), 1);
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_watchdog(), 0);
	setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
	assert_int_equal(notify_watchdog(), -ENOENT);
	after = dup(0);
	assert_int_equal(after, before);
	close(after);
}

static void
the_watchdog_is_ours_only_if_it_names_us(void **state)
{
	char pid[32];

	(void)state;
	setenv("WATCHDOG_USEC", "30000000", 1);
	assert_int_equal(notify_watchdog_interval_us(), 30000000);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(notify_watchdog_interval_us(), 30000000);
	snprintf(pid, sizeof(pid), "%d", (int)getpid() + 1);
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(notify_watchdog_interval_us(), 0);
	unsetenv("WATCHDOG_PID");
	setenv("WATCHDOG_USEC", "soon", 1);
	assert_int_equal(notify_watchdog_interval_us(), 0);
	unsetenv("WATCHDOG_USEC");
	assert_int_equal(notify_watchdog_interval_us(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_word_arrives_in_the_order_of_the_calls),
		TEST(a_reload_says_when_it_began),
		TEST(an_abstract_address_is_spoken),
		TEST(without_a_manager_nothing_happens),
		TEST(a_status_cannot_smuggle_in_a_line),
		TEST(a_long_status_is_cut_between_two_characters),
		TEST(a_full_queue_is_told_at_once),
		TEST(a_socket_that_is_gone_is_an_error_and_no_more),
		TEST(no_descriptor_is_left_open),
		TEST(the_watchdog_is_ours_only_if_it_names_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
