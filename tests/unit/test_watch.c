/*
 * Descriptors on the loop, and foreign code on its base.
 */

#include "tests/unit/loop_rig.h"

#include <fcntl.h>
#include <sys/socket.h>

struct pair {
	es_loop *loop;
	es_watch *watch;
	int fd[2];
	unsigned what, calls;
	char text[16];
	int result, elsewhere;
	unsigned interest;
};

static void
pair_open(struct pair *p)
{
	*p = (struct pair){ .loop = rig_loop(), .interest = ES_READ };
	assert_int_equal(
	    socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p->fd),
	    0);
}

static void
pair_close(struct pair *p)
{
	es_watch_free(p->watch);
	rig_end(p->loop);
	close(p->fd[0]);
	close(p->fd[1]);
}

static void
on_pair(int fd, unsigned what, void *arg)
{
	struct pair *p = arg;

	assert_int_equal(fd, p->fd[0]);
	p->what = what;
	p->calls++;
	if (what & ES_READ)
		(void)!read(fd, p->text, sizeof(p->text) - 1);
	es_loop_stop(p->loop);
}

static void
watch_pair(void *arg)
{
	struct pair *p = arg;

	p->result = es_watch_new(
	    p->loop, "pair", p->fd[0], p->interest, on_pair, p, &p->watch);
}

static void
bytes_arrive(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	rig_soon(p.loop, watch_pair, &p);
	rig_turn(p.loop);
	assert_int_equal(p.result, 0);
	assert_int_equal(p.calls, 0);
	assert_int_equal(write(p.fd[1], "hello", 5), 5);
	assert_int_equal(es_loop_run(p.loop), 0);
	assert_int_equal(p.what, ES_READ);
	assert_string_equal(p.text, "hello");
	pair_close(&p);
}

static void
room_is_told_as_long_as_it_is_wanted(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	p.interest = ES_READ | ES_WRITE;
	rig_soon(p.loop, watch_pair, &p);
	rig_turn(p.loop);
	rig_turn(p.loop);
	rig_turn(p.loop);
	assert_int_equal(p.what, ES_WRITE);
	assert_int_equal(p.calls, 2);
	pair_close(&p);
}

struct change {
	struct pair *p;
	unsigned what;
};

static void
set_interest(void *arg)
{
	struct change *change = arg;

	assert_int_equal(es_watch_set(change->p->watch, change->what), 0);
}

static void
interest_can_change_and_pause(void **state)
{
	struct pair p;
	struct change change = { .p = &p };

	(void)state;
	pair_open(&p);
	rig_soon(p.loop, watch_pair, &p);
	rig_soon(p.loop, set_interest, &change);
	rig_turn(p.loop);
	assert_int_equal(write(p.fd[1], "x", 1), 1);
	rig_turn(p.loop);
	assert_int_equal(p.calls, 0);
	change.what = ES_READ;
	rig_soon(p.loop, set_interest, &change);
	rig_turn(p.loop);
	rig_turn(p.loop);
	assert_int_equal(p.calls, 1);
	pair_close(&p);
}

static void
free_in_callback(int fd, unsigned what, void *arg)
{
	struct pair *p = arg;

	(void)fd;
	(void)what;
	p->calls++;
	es_watch_free(p->watch);
	p->watch = NULL;
}

static void
watch_to_free(void *arg)
{
	struct pair *p = arg;

	p->result = es_watch_new(
	    p->loop, "pair", p->fd[0], ES_READ, free_in_callback, p, &p->watch);
}

static void
a_callback_may_free_its_watch(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	rig_soon(p.loop, watch_to_free, &p);
	rig_turn(p.loop);
	assert_int_equal(write(p.fd[1], "x", 1), 1);
	rig_turn(p.loop);
	rig_turn(p.loop);
	assert_int_equal(p.calls, 1);
	pair_close(&p);
}

static void
W_watches_belong_to_the_loops_thread(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	watch_pair(&p); /* the loop does not run */
	assert_int_equal(p.result, -EPERM);
	assert_null(es_loop_event_base(p.loop));
	assert_null(p.watch);
	rig_soon(p.loop, watch_pair, &p);
	rig_turn(p.loop);
	assert_int_equal(es_watch_set(p.watch, 0), -EPERM);
	pair_close(&p);
}

static void
watch_nonsense(void *arg)
{
	struct pair *p = arg;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_non_null(es_loop_event_base(p->loop));
	p->result =
	    es_watch_new(p->loop, "x", -1, ES_READ, on_pair, p, &p->watch);
	p->elsewhere =
	    es_watch_new(p->loop, "x", fd, ES_READ, on_pair, p, &p->watch);
	assert_int_equal(
	    es_watch_new(p->loop, "x", fd, 0, on_pair, p, &p->watch), -EINVAL);
	assert_int_equal(
	    es_watch_new(p->loop, "x", fd, 8, on_pair, p, &p->watch), -EINVAL);
	close(fd);
}

static void
what_cannot_be_watched_is_refused(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	rig_soon(p.loop, watch_nonsense, &p);
	rig_turn(p.loop);
	assert_int_equal(p.result, -EINVAL);
	assert_int_equal(p.elsewhere, -EPERM); /* epoll's word: a file */
	assert_null(p.watch);
	pair_close(&p);
}

static void
X2_a_closed_loop_silences_watches(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	rig_soon(p.loop, watch_pair, &p);
	rig_turn(p.loop);
	assert_int_equal(es_loop_close(p.loop, 0), 0);
	assert_int_equal(es_watch_set(p.watch, ES_READ), -ESHUTDOWN);
	es_watch_free(p.watch); /* harmless */
	p.watch = NULL;
	watch_pair(&p);
	assert_int_equal(p.result, -ESHUTDOWN);
	pair_close(&p);
}

static void
a_hang_up_is_told(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	rig_soon(p.loop, watch_pair, &p);
	rig_turn(p.loop);
	assert_int_equal(shutdown(p.fd[1], SHUT_RDWR), 0);
	assert_int_equal(es_loop_run(p.loop), 0);
	assert_int_equal(p.what, ES_READ);
	pair_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive),
		cmocka_unit_test(room_is_told_as_long_as_it_is_wanted),
		cmocka_unit_test(interest_can_change_and_pause),
		cmocka_unit_test(a_callback_may_free_its_watch),
		cmocka_unit_test(W_watches_belong_to_the_loops_thread),
		cmocka_unit_test(what_cannot_be_watched_is_refused),
		cmocka_unit_test(X2_a_closed_loop_silences_watches),
		cmocka_unit_test(a_hang_up_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
