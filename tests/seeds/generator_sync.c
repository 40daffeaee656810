/*
 * 000_c3603fa95d1d7725.txt, section 4.2: an asynchronous generator read from
 * synchronous code, by three methods: a run of the loop for each item, the
 * loop in its own thread, all items at once.  What goes wrong there - None
 * among the items ends the iteration, a failure is not told from the end, a
 * time-out leaves the generator waiting - does not here.
 *
 * > method 1: 0 1 2 3 4
 * > method 2: 0 1 2 3 4
 * > method 3: 0 1 2 3 4
 * > method 3, at most 3: Message too long
 * > with None among them: 1 None 2
 * > failing after one: 1, then Input/output error: disk 3 is gone
 * > Timeout occurred
 * > and what came later is not lost: 7
 */

#include "tests/seeds/seeds.h"

#define ITEM_TIME (SECOND / 4)

static int
async_gen(es_tx *tx, void *arg)
{
	int64_t i, n = *(int64_t *)arg;
	int r = 0;

	for (i = 0; i < n && r == 0; i++) {
		r = es_sleep(ITEM_TIME);
		if (r == 0)
			r = es_send(tx, ES_INT(i), sizeof(i), ES_FOREVER);
	}
	return r;
}

static es_rx *
open_gen(es_loop *loop, es_stream_fn fn, void *arg)
{
	es_rx *rx = NULL;

	(void)must(es_stream_spawn(loop, "generator", fn, arg, NULL, NULL, &rx),
	    "es_stream_spawn");
	return rx;
}

struct line {
	char text[64];
	size_t len;
};

static void
line_add(struct line *line, const char *word)
{
	line->len += (size_t)snprintf(line->text + line->len,
	    sizeof(line->text) - line->len, " %s", word);
}

static void
line_add_int(struct line *line, int64_t i)
{
	char word[24];

	(void)snprintf(word, sizeof(word), "%lld", (long long)i);
	line_add(line, word);
}

struct anext {
	es_rx *rx;
	es_value value;
	int result;
};

/* agen.__anext__() */
static int
anext(void *arg, es_value *ret)
{
	struct anext *next = arg;

	(void)ret;
	next->result = es_next(next->rx, ES_FOREVER, &next->value);
	return next->result < 0 ? next->result : 0;
}

static void
method_1(void)
{
	es_loop *loop = new_loop();
	struct line line = { .len = 0 };
	int64_t n = 5;
	struct anext next = { .rx = open_gen(loop, async_gen, &n) };

	for (;;) {
		es_future *f = spawn(loop, "anext", anext, &next);

		(void)must(es_loop_run_until(loop, f), "anext");
		es_future_unref(f);
		if (next.result == 0)
			break;
		line_add_int(&line, next.value.i);
	}
	(void)es_rx_close(next.rx);
	close_loop(loop);
	say("method 1:%s", line.text);
}

static void
method_2(es_loop *loop)
{
	int64_t n = 5;
	ES_SCOPED_RX *rx = open_gen(loop, async_gen, &n);
	struct line line = { .len = 0 };

	es_each(v, rx, ES_FOREVER) line_add_int(&line, v.i);
	say("method 2:%s", line.text);
}

static int
collect_async_gen(void *arg, es_value *ret)
{
	struct line *line = arg;
	int64_t five = 5;
	es_value *values = NULL;
	size_t n = 0, i;
	int r = es_collect(open_gen(es_loop_current(), async_gen, &five), 10,
	    ES_FOREVER, &values, &n);

	(void)ret;
	for (i = 0; r == 0 && i < n; i++) {
		line_add_int(line, values[i].i);
		es_value_drop(&values[i]);
	}
	free(values);
	return r;
}

static void
method_3(es_loop *loop)
{
	struct line line = { .len = 0 };
	int64_t five = 5;
	es_value *values = NULL;
	size_t n = 0;

	(void)must(es_run(collect_async_gen, &line, NULL), "collect");
	say("method 3:%s", line.text);
	say("method 3, at most 3: %s",
	    strerror(-es_collect(
		open_gen(loop, async_gen, &five), 3, ES_FOREVER, &values, &n)));
}

static int
gen_with_none(es_tx *tx, void *arg)
{
	static char one[] = "1", two[] = "2";
	int r = es_send(tx, ES_PTR(one, NULL), 1, ES_FOREVER);

	(void)arg;
	if (r == 0)
		r = es_send(tx, ES_NOTHING, 0, ES_FOREVER);
	if (r == 0)
		r = es_send(tx, ES_PTR(two, NULL), 1, ES_FOREVER);
	return r;
}

static void
none_is_a_value(es_loop *loop)
{
	ES_SCOPED_RX *rx = open_gen(loop, gen_with_none, NULL);
	struct line line = { .len = 0 };

	es_each(v, rx, ES_FOREVER) line_add(&line, v.p ? v.p : "None");
	say("with None among them:%s", line.text);
}

static int
gen_that_fails(es_tx *tx, void *arg)
{
	int r = es_send(tx, ES_INT(1), 1, ES_FOREVER);

	(void)arg;
	return r < 0 ? r : es_fail(-EIO, "disk %d is gone", 3);
}

static void
failure_is_told(es_loop *loop)
{
	ES_SCOPED_RX *rx = open_gen(loop, gen_that_fails, NULL);
	es_value v;
	int64_t i;
	int r;

	(void)must(es_next(rx, ES_FOREVER, &v), "first");
	i = v.i;
	r = es_next(rx, ES_FOREVER, &v);
	say("failing after one: %lld, then %s: %s", (long long)i, strerror(-r),
	    es_rx_error(rx));
}

/* Late: not before it is told. */
static int
gen_seven_late(es_tx *tx, void *arg)
{
	int r = es_await(arg, ES_FOREVER);

	return r < 0 ? r : es_send(tx, ES_INT(7), 1, ES_FOREVER);
}

static void
time_out(es_loop *loop)
{
	es_future *late = es_future_new(loop);
	ES_SCOPED_RX *rx = open_gen(loop, gen_seven_late, late);
	es_value v;

	if (es_next(rx, ITEM_TIME, &v) == -ETIMEDOUT)
		say("Timeout occurred");
	(void)must(es_future_set_result(late, ES_NOTHING), "late");
	(void)must(es_next(rx, ES_FOREVER, &v), "late");
	say("and what came later is not lost: %lld", (long long)v.i);
	es_future_unref(late); /* the generator has done with it */
}

int
main(void)
{
	es_loop *loop = new_loop();
	es_loop_thread *thread = NULL;

	method_1();
	(void)must(es_loop_thread_start(loop, &thread), "thread");
	method_2(loop);
	method_3(loop);
	none_is_a_value(loop);
	failure_is_told(loop);
	time_out(loop);
	(void)must(es_loop_thread_stop(thread, ES_S(5)), "stop");
	es_loop_unref(loop);
	return 0;
}
