/*
 * earshot top: channels and connections by rate and by lag, once a second.
 *
 * The happy path: ask, compare with what was a second ago, draw; wait for a
 * key, a signal or the second -> q or ^C: the terminal is as it was.
 *
 * What can go wrong: the daemon goes away: that is shown, and asked again
 * until it is back; stdout is no terminal: one frame, of one second, is
 * printed.  The terminal is put back on every way out but SIGKILL.
 */

#include "daemon/base/memory.h"
#include "daemon/ctl/control.h"
#include "daemon/ctl/table.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 1000
#define HEAD_ROWS 4 /* the status, and an empty line */
#define ROWS_MIN 2 /* of each list, with its titles */
#define PLAIN_ROWS 24

struct row {
	json_t *item;
	const char *key;
	double rate, lag;
};

struct list {
	struct row *rows;
	size_t count;
	json_t *before; /* key -> counter */
};

struct top {
	const struct ctl_options *options;
	json_t *status, *channels_answer, *connections_answer;
	struct list channels, connections;
	double in, out; /* messages a second */
	double in_before, out_before, at;
	int code; /* of the last asking */
	bool screen;
	size_t rows, columns;
	struct termios saved;
	bool keys; /* stdin is a terminal of ours */
	int signals;
};

static double
now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* always there */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Asking */

static int
compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->rate != y->rate)
		return x->rate < y->rate ? 1 : -1;
	if (x->lag != y->lag)
		return x->lag < y->lag ? 1 : -1;
	return strcmp(x->key, y->key);
}

/* Rates since the last time; what is new has begun just now. */
static void
take_list(struct list *list, json_t *answer, const char *name, const char *key,
    const char *counter, double seconds)
{
	json_t *items = json_object_get(answer, name);
	json_t *counters = json_object();
	size_t i;

	memory_free(list->rows);
	list->count = 0;
	list->rows =
	    memory_zalloc((json_array_size(items) + 1) * sizeof(*list->rows));
	if (list->rows == NULL) {
		json_decref(counters);
		return;
	}
	for (i = 0; i < json_array_size(items); i++) {
		struct row *row = &list->rows[list->count++];
		json_t *item = json_array_get(items, i);
		const double value = control_number(item, counter);
		json_t *before;

		row->item = item;
		row->key = control_text(item, key);
		row->lag =
		    control_number(json_object_get(item, "lag"), "messages");
		before = json_object_get(list->before, row->key);
		if (before != NULL && seconds > 0)
			row->rate =
			    (value - json_number_value(before)) / seconds;
		(void)json_object_set_new(counters, row->key, json_real(value));
		(void)json_object_set_new(item, "rate", json_real(row->rate));
	}
	json_decref(list->before);
	list->before = counters;
	qsort(list->rows, list->count, sizeof(*list->rows), compare_rows);
}

static int
ask(struct top *top, const char *path, json_t **answer)
{
	json_t *fresh;
	const int code =
	    control_ask(top->options, "GET", path, top->screen, &fresh);

	if (code != CTL_OK)
		return code;
	json_decref(*answer);
	*answer = fresh;
	return CTL_OK;
}

static void
look(struct top *top)
{
	double at, seconds;

	top->code = ask(top, "/control/status", &top->status);
	if (top->code == CTL_OK)
		top->code =
		    ask(top, "/control/channels", &top->channels_answer);
	if (top->code == CTL_OK)
		top->code =
		    ask(top, "/control/connections", &top->connections_answer);
	if (top->code != CTL_OK)
		return;
	at = now_s();
	seconds = top->at > 0 ? at - top->at : 0;
	top->at = at;
	take_list(&top->channels, top->channels_answer, "channels", "channel",
	    "messages", seconds);
	take_list(&top->connections, top->connections_answer, "connections",
	    "conn", "bytes", seconds);
	at = control_number(top->status, "messages_in");
	top->in = seconds > 0 ? (at - top->in_before) / seconds : 0;
	top->in_before = at;
	at = control_number(top->status, "messages_out");
	top->out = seconds > 0 ? (at - top->out_before) / seconds : 0;
	top->out_before = at;
}

/* Drawing */

__attribute__((format(printf, 2, 3))) static void
put_line(const struct top *top, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* cut is fine */
	va_end(args);
	if (top->columns > 0 && strlen(text) > top->columns)
		text[top->columns] = '\0';
	(void)printf("%s\n", text);
}

/* The number of them, and what they are. */
static const char *
put_count(char out[static 48], json_t *status, const char *nouns)
{
	const double count = control_number(status, nouns);
	char text[32];

	(void)snprintf(out, 48, "%s %.*s", control_count(text, count),
	    (int)strlen(nouns) - (count == 1), nouns); /* one has no s */
	return out;
}

static void
draw_head(const struct top *top)
{
	json_t *status = top->status;
	char text[8][48];

	put_line(top, "earshot %s: %s for %s%s",
	    control_text(status, "version"), control_text(status, "state"),
	    control_age(text[0], control_number(status, "uptime")),
	    top->code != CTL_OK ? "   (not reachable now)" : "");
	put_line(top, "%s of %s, %s, %s; %s of %s feeds down",
	    put_count(text[0], status, "connections"),
	    control_count(text[1], control_number(status, "connections_max")),
	    put_count(text[2], status, "consumers"),
	    put_count(text[3], status, "channels"),
	    control_count(text[4], control_number(status, "feeds_down")),
	    control_count(text[5], control_number(status, "feeds")));
	put_line(top, "%s/s in, %s/s out; tapes %s of %s",
	    control_count(text[0], top->in), control_count(text[1], top->out),
	    control_bytes(text[2], control_number(status, "tapes_bytes")),
	    control_bytes(text[3], control_number(status, "tapes_bytes_max")));
	put_line(top, "%s", "");
}

static void
draw_channels(const struct top *top, size_t rows)
{
	static const char *const titles[] = { "CHANNEL", ">MSG/S", ">CONSUMERS",
		">LAG", ">BEHIND", ">MEMORY" };
	struct table table = { .titles = titles, .columns = 6 };
	size_t i;

	for (i = 0; i < top->channels.count && i + 1 < rows; i++) {
		const struct row *row = &top->channels.rows[i];
		json_t *lag = json_object_get(row->item, "lag");
		char text[5][32], name[40];

		(void)snprintf(name, sizeof(name), "%-24.36s", row->key);
		table_add(&table,
		    (const char *const[]){ name,
			control_count(text[0], row->rate),
			control_count(
			    text[1], control_number(row->item, "consumers")),
			control_count(text[2], row->lag),
			control_age(text[3], control_number(lag, "seconds")),
			control_bytes(text[4],
			    control_number(row->item, "memory_bytes")) });
	}
	table_print(&table, stdout, top->columns);
	table_fini(&table);
}

static void
draw_connections(const struct top *top, size_t rows)
{
	static const char *const titles[] = { "CONN", ">BYTES/S", ">LAG",
		">BEHIND", ">AGE", "ENDPOINT", "PEER", "CHANNEL" };
	struct table table = { .titles = titles, .columns = 8 };
	size_t i;

	for (i = 0; i < top->connections.count && i + 1 < rows; i++) {
		const struct row *row = &top->connections.rows[i];
		json_t *lag = json_object_get(row->item, "lag");
		json_t *names = json_object_get(row->item, "channels");
		const char *name = json_string_value(json_array_get(names, 0));
		char text[4][32];

		table_add(&table,
		    (const char *const[]){ row->key,
			control_bytes(text[0], row->rate),
			control_count(text[1], row->lag),
			control_age(text[2], control_number(lag, "seconds")),
			control_age(text[3], control_number(row->item, "age")),
			control_text(row->item, "endpoint"),
			control_text(row->item, "peer"),
			name != NULL ? name : "-" });
	}
	table_print(&table, stdout, top->columns);
	table_fini(&table);
}

/* What the channels do not need the connections have, and the reverse. */
static void
draw(struct top *top)
{
	const size_t room =
	    top->rows > HEAD_ROWS + 1 ? top->rows - HEAD_ROWS - 1 : 0;
	size_t first = top->channels.count + 1;
	size_t second = top->connections.count + 1;

	if (first + second > room) {
		if (first > room / 2)
			first = second < room / 2 ? room - second : room / 2;
		second = room - first;
	}
	if (top->screen)
		(void)fputs("\033[H\033[J", stdout);
	draw_head(top);
	if (first >= ROWS_MIN)
		draw_channels(top, first);
	if (second >= ROWS_MIN)
		draw_connections(top, second);
	(void)fflush(stdout); /* a terminal that is gone ends us by SIGHUP */
}

/* The terminal */

static void
measure(struct top *top)
{
	struct winsize size;

	top->rows = 24;
	top->columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 &&
	    size.ws_col > 0) {
		top->rows = size.ws_row;
		top->columns = size.ws_col;
	}
}

static int
open_screen(struct top *top)
{
	struct termios raw;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	(void)sigaddset(&set, SIGWINCH);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	top->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (top->signals < 0)
		return -errno;
	top->keys = tcgetattr(STDIN_FILENO, &top->saved) == 0;
	if (top->keys) {
		raw = top->saved;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw); /* or as is */
	}
	/* Another screen, without a cursor; lines are cut, not wrapped. */
	(void)fputs("\033[?1049h\033[?25l\033[?7l", stdout);
	return 0;
}

static void
close_screen(struct top *top)
{
	(void)fputs("\033[?7h\033[?25h\033[?1049l", stdout);
	(void)fflush(stdout);
	if (top->keys)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &top->saved);
	(void)close(top->signals);
}

/* true: that is the end.  Signals and keys come until the second is over. */
static bool
wait_tick(struct top *top)
{
	struct pollfd fds[] = {
		{ .fd = top->signals, .events = POLLIN },
		{ .fd = top->keys ? STDIN_FILENO : -1, .events = POLLIN },
	};
	struct signalfd_siginfo info;
	char key;

	if (poll(fds, 2, TICK_MS) <= 0)
		return false;
	if (read(top->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGWINCH)
			return true;
		measure(top);
	}
	if (fds[1].revents == 0)
		return false;
	return read(STDIN_FILENO, &key, 1) <= 0 || strchr("q\3\4", key) != NULL;
}

static int
run_screen(struct top *top)
{
	const int error = open_screen(top);
	int64_t frames = 0;

	if (error < 0) {
		ctl_say("top: %s", strerror(-error));
		return CTL_FAILED;
	}
	measure(top);
	do {
		look(top);
		draw(top);
		if (++frames == top->options->count)
			break;
	} while (!wait_tick(top));
	close_screen(top);
	return CTL_OK;
}

static int
print_json(struct top *top)
{
	json_t *frame = json_pack("{s:O,s:O,s:O}", "status", top->status,
	    "channels", json_object_get(top->channels_answer, "channels"),
	    "connections",
	    json_object_get(top->connections_answer, "connections"));
	const int code =
	    frame != NULL && control_print(frame) ? CTL_OK : CTL_FAILED;

	json_decref(frame);
	return code;
}

static int
run_plain(struct top *top)
{
	look(top);
	if (top->code != CTL_OK)
		return top->code;
	(void)poll(NULL, 0, TICK_MS); /* rates need two looks */
	look(top);
	top->rows = PLAIN_ROWS;
	if (top->code == CTL_OK && top->options->json)
		return print_json(top);
	if (top->code == CTL_OK)
		draw(top);
	return top->code;
}

static void
list_fini(struct list *list)
{
	memory_free(list->rows);
	json_decref(list->before);
}

int
top_run(const struct ctl_options *options)
{
	struct top top = { .options = options };
	int code;

	top.screen = !options->json && isatty(STDOUT_FILENO);
	code = top.screen ? run_screen(&top) : run_plain(&top);
	list_fini(&top.channels);
	list_fini(&top.connections);
	json_decref(top.status);
	json_decref(top.channels_answer);
	json_decref(top.connections_answer);
	return code;
}
