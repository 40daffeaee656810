/*
 * CPython's tests of descriptors on the loop, ported; each is named after its
 * origin.  Entries 14 and 15 of the oracle; the originals are in
 * Lib/test/test_asyncio/test_events.py.
 */

#include "tests/unit/oracle_rig.h"

#include <sys/socket.h>

struct reader {
	es_loop *loop;
	es_watch *watch;
	int fd[2];
	char got[16];
	size_t len, wanted;
	bool ended;
};

static void
reader_open(struct reader *reader)
{
	*reader = (struct reader){ .loop = rig_loop() };
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		reader->fd),
	    0);
}

static void
on_bytes(int fd, unsigned what, void *arg)
{
	struct reader *reader = arg;
	ssize_t n = read(
	    fd, reader->got + reader->len, sizeof(reader->got) - reader->len);

	es_loop_assert(reader->loop);
	assert_int_equal(what, ES_READ);
	if (n < 0)
		return; /* spurious readiness is allowed */
	reader->len += (size_t)n;
	if (n == 0) {
		es_watch_free(reader->watch); /* from inside: allowed */
		reader->watch = NULL;
		reader->ended = true;
	}
	if (reader->len >= reader->wanted || reader->ended)
		es_loop_stop(reader->loop);
}

static void
watch_reading(void *arg)
{
	struct reader *reader = arg;

	es_loop_assert(reader->loop);
	assert_int_equal(es_watch_new(reader->loop, "reader", reader->fd[0],
			     ES_READ, on_bytes, reader, &reader->watch),
	    0);
}

static void
O14_events_test_reader_callback(void **state)
{
	struct reader reader;

	(void)state;
	reader_open(&reader);
	rig_soon(reader.loop, watch_reading, &reader);
	assert_int_equal(write(reader.fd[1], "abc", 3), 3);
	reader.wanted = 3;
	assert_int_equal(es_loop_run(reader.loop), 0);
	assert_int_equal(write(reader.fd[1], "def", 3), 3);
	reader.wanted = 6;
	assert_int_equal(es_loop_run(reader.loop), 0);
	close(reader.fd[1]);
	reader.wanted = sizeof(reader.got);
	assert_int_equal(es_loop_run(reader.loop), 0);
	assert_true(reader.ended);
	assert_int_equal(reader.len, 6);
	assert_memory_equal(reader.got, "abcdef", 6);
	close(reader.fd[0]);
	rig_end(reader.loop);
}

static void
on_room(int fd, unsigned what, void *arg)
{
	struct reader *reader = arg;

	es_loop_assert(reader->loop);
	assert_int_equal(what, ES_WRITE);
	assert_int_equal(write(fd, "data", 4), 4);
	es_loop_stop(reader->loop);
}

static void
watch_writing(void *arg)
{
	struct reader *reader = arg;

	es_loop_assert(reader->loop);
	assert_int_equal(es_watch_new(reader->loop, "writer", reader->fd[1],
			     ES_WRITE, on_room, reader, &reader->watch),
	    0);
}

/* Removing twice cannot be asked: the first one ends the watch. */
static void
O14_events_test_writer_callback(void **state)
{
	struct reader reader;

	(void)state;
	reader_open(&reader);
	rig_soon(reader.loop, watch_writing, &reader);
	assert_int_equal(es_loop_run(reader.loop), 0);
	es_watch_free(reader.watch);
	es_watch_free(NULL);
	rig_turn(reader.loop); /* there is room, and nobody is told */
	assert_int_equal(read(reader.fd[0], reader.got, 16), 4);
	assert_memory_equal(reader.got, "data", 4);
	close(reader.fd[0]);
	close(reader.fd[1]);
	rig_end(reader.loop);
}

static void
O15_events_test_add_fds_after_closing(void **state)
{
	struct reader reader;

	(void)state;
	reader_open(&reader);
	assert_int_equal(es_loop_close(reader.loop, 0), 0);
	oracle_pretend_loop();
	assert_int_equal(es_watch_new(reader.loop, "r", reader.fd[0], ES_READ,
			     on_bytes, &reader, &reader.watch),
	    -ESHUTDOWN);
	assert_int_equal(es_watch_new(reader.loop, "w", reader.fd[1], ES_WRITE,
			     on_room, &reader, &reader.watch),
	    -ESHUTDOWN);
	assert_null(reader.watch);
	close(reader.fd[0]);
	close(reader.fd[1]);
	es_loop_unref(reader.loop);
}

static void
O15_events_test_remove_fds_after_closing(void **state)
{
	struct reader reader;

	(void)state;
	reader_open(&reader);
	rig_soon(reader.loop, watch_reading, &reader);
	rig_turn(reader.loop);
	assert_int_equal(es_loop_close(reader.loop, 0), 0);
	es_watch_free(reader.watch); /* harmless */
	close(reader.fd[0]);
	close(reader.fd[1]);
	es_loop_unref(reader.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(O14_events_test_reader_callback),
		cmocka_unit_test(O14_events_test_writer_callback),
		cmocka_unit_test(O15_events_test_add_fds_after_closing),
		cmocka_unit_test(O15_events_test_remove_fds_after_closing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
