/*
 * What is passed in LISTEN_FDS and is not what it should be.  Each test passes
 * descriptors from 3 on, as systemd does.
 */

#include "systemd/listen.h"

#include "daemon/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FIRST 3
#define PASSED_MAX 6

static struct {
	int passed, kept[PASSED_MAX]; /* what stood there before */
	char told[2048];
	struct listen_sockets sockets;
} t;

static void
tell(const char *text, void *arg)
{
	assert_ptr_equal(arg, &t);
	assert_true(strlen(t.told) + strlen(text) + 2 < sizeof(t.told));
	strcat(strcat(t.told, text), "\n");
}

static int
setup(void **state)
{
	int i;

	(void)state;
	memset(&t, 0, sizeof(t));
	for (i = 0; i < PASSED_MAX; i++)
		t.kept[i] = fcntl(FIRST + i, F_DUPFD_CLOEXEC, 100);
	return 0;
}

static int
teardown(void **state)
{
	int i;

	(void)state;
	listen_free(&t.sockets);
	for (i = 0; i < PASSED_MAX; i++) {
		close(FIRST + i);
		if (t.kept[i] >= 0) {
			dup2(t.kept[i], FIRST + i);
			close(t.kept[i]);
		}
	}
	return 0;
}

/* The next descriptor is this one; -1: it is not open. */
static void
pass(int fd)
{
	const int at = FIRST + t.passed++;

	assert_true(t.passed <= PASSED_MAX);
	if (fd >= 0 && fd != at) {
		assert_int_equal(dup2(fd, at), at);
		close(fd);
	} else if (fd < 0) {
		close(at);
	}
}

static int
listening(int family, int type)
{
	const int fd = socket(family, type, 0);

	assert_true(fd >= 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int
take(const char *count, const char *names)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", count, 1);
	if (names)
		setenv("LISTEN_FDNAMES", names, 1);
	else
		unsetenv("LISTEN_FDNAMES");
	return listen_take(&t.sockets, tell, &t);
}

static void
nothing_is_passed(void **state)
{
	(void)state;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	assert_int_equal(listen_take(&t.sockets, tell, &t), 0);
	assert_int_equal(t.sockets.count, 0);
	assert_string_equal(t.told, "");
}

static void
sockets_come_with_their_names(void **state)
{
	const int families[] = { AF_INET, AF_INET6, AF_UNIX };
	static const char *const names[] = { "web", "web", "local" };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		if (families[i] == AF_UNIX) { /* it has to have a name */
			const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
			const struct sockaddr any = { .sa_family = AF_UNIX };

			assert_int_equal(bind(fd, &any, 2), 0);
			assert_int_equal(listen(fd, 1), 0);
			pass(fd);
		} else {
			pass(listening(families[i], SOCK_STREAM));
		}
	assert_int_equal(take("3", "web:web:local"), 0);
	assert_string_equal(t.told, "");
	assert_int_equal(t.sockets.count, 3);
	for (i = 0; i < 3; i++) {
		const struct listen_socket *socket = &t.sockets.items[i];

		assert_int_equal(socket->fd, FIRST + i);
		assert_string_equal(socket->name, names[i]);
		assert_true(fcntl(socket->fd, F_GETFD) & FD_CLOEXEC);
		assert_true(fcntl(socket->fd, F_GETFL) & O_NONBLOCK);
	}
	assert_null(getenv("LISTEN_FDS"));
	assert_null(getenv("LISTEN_PID"));
	assert_null(getenv("LISTEN_FDNAMES"));
}

static void
without_names_they_have_none(void **state)
{
	(void)state;
	pass(listening(AF_INET, SOCK_STREAM));
	assert_int_equal(take("1", NULL), 0);
	assert_int_equal(t.sockets.count, 1);
	assert_string_equal(t.sockets.items[0].name, "unknown");
}

static void
what_is_no_listening_stream_is_told_and_closed(void **state)
{
	int pair[2], i;

	(void)state;
	pass(open("/dev/null", O_RDONLY));
	pass(socket(AF_INET, SOCK_DGRAM, 0));
	pass(socket(AF_INET, SOCK_STREAM, 0));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pass(pair[0]);
	pass(socket(AF_NETLINK, SOCK_RAW, 0));
	pass(listening(AF_INET, SOCK_STREAM));
	assert_int_equal(take("6", "a:b:c:d:e:f"), 0);
	assert_string_equal(t.told,
	    "fd 3 (a), passed to us, is no socket, expected ListenStream= in "
	    "the .socket unit\n"
	    "fd 4 (b), passed to us, is no stream socket, expected "
	    "ListenStream= in the .socket unit\n"
	    "fd 5 (c), passed to us, does not listen, expected Accept=no in "
	    "the .socket unit\n"
	    "fd 6 (d), passed to us, does not listen, expected Accept=no in "
	    "the .socket unit\n"
	    "fd 7 (e), passed to us, is a socket of another family, expected "
	    "IPv4, IPv6 or unix\n");
	assert_int_equal(t.sockets.count, 1);
	assert_int_equal(t.sockets.items[0].fd, 8);
	assert_string_equal(t.sockets.items[0].name, "f");
	for (i = 0; i < 5; i++)
		assert_int_equal(fcntl(FIRST + i, F_GETFD), -1);
	close(pair[1]);
}

static void
a_count_that_is_none(void **state)
{
	static const char *const counts[] = { "", "x", "-1", "1x",
		"99999999999", "2147483647" };
	size_t i;

	(void)state;
	pass(listening(AF_INET, SOCK_STREAM));
	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		char wanted[64];

		t.told[0] = '\0';
		assert_int_equal(take(counts[i], NULL), 0);
		assert_int_equal(t.sockets.count, 0);
		snprintf(wanted, sizeof(wanted), "LISTEN_FDS=%s: ", counts[i]);
		assert_memory_equal(t.told, wanted, strlen(wanted));
		assert_non_null(strstr(t.told, "no socket is taken"));
		assert_null(getenv("LISTEN_FDS"));
	}
}

static void
more_are_counted_than_there_are(void **state)
{
	(void)state;
	pass(listening(AF_INET, SOCK_STREAM));
	pass(-1);
	assert_int_equal(take("2", "a:b"), 0);
	assert_int_equal(t.sockets.count, 0);
	assert_non_null(strstr(t.told, "Bad file descriptor"));
}

static void
names_that_do_not_fit_in_number(void **state)
{
	(void)state;
	pass(listening(AF_INET, SOCK_STREAM));
	pass(listening(AF_INET, SOCK_STREAM));
	assert_int_equal(take("2", "only"), 0);
	assert_int_equal(t.sockets.count, 2);
	assert_string_equal(t.sockets.items[0].name, "");
	assert_string_equal(t.sockets.items[1].name, "");
	assert_string_equal(t.told,
	    "LISTEN_FDNAMES=only does not name LISTEN_FDS=2 descriptors; they "
	    "are told apart by address only\n");
}

static void
what_was_meant_for_another_process(void **state)
{
	(void)state;
	pass(listening(AF_INET, SOCK_STREAM));
	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "1", 1);
	assert_int_equal(listen_take(&t.sockets, tell, &t), 0);
	assert_int_equal(t.sockets.count, 0);
	assert_string_equal(t.told, "");
	assert_true(fcntl(FIRST, F_GETFD) >= 0); /* not ours to close */
	assert_null(getenv("LISTEN_FDS"));
}

static void
each_allocation_fails_once(void **state)
{
	int64_t n;
	int i;

	(void)state;
	for (n = 1; n <= 3; n++) {
		t.passed = 0;
		pass(listening(AF_INET, SOCK_STREAM));
		pass(listening(AF_INET, SOCK_STREAM));
		memory_fail_nth(n);
		assert_int_equal(take("2", "a:b"), -ENOMEM);
		assert_true(memory_fail_seen());
		memory_fail_nth(0);
		assert_int_equal(t.sockets.count, 0);
		for (i = 0; i < 2; i++)
			assert_int_equal(fcntl(FIRST + i, F_GETFD), -1);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_passed),
		TEST(sockets_come_with_their_names),
		TEST(without_names_they_have_none),
		TEST(what_is_no_listening_stream_is_told_and_closed),
		TEST(a_count_that_is_none),
		TEST(more_are_counted_than_there_are),
		TEST(names_that_do_not_fit_in_number),
		TEST(what_was_meant_for_another_process),
		TEST(each_allocation_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
