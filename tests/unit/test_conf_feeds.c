/* Feeds in the configuration: their keys, and when two are the same. */

#include "conf/conf_internal.h"
#include "tests/lib/told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LISTENER "[listener]\nlisten = 127.0.0.1:0\n"

/* A section each, with every key there is and no default. */
static const char *const sections[CONF_FEED_KINDS] = {
	[CONF_COMMAND] = "[command x]\n"
			 "exec = a b\nenvironment = A=1\ndirectory = /d\n"
			 "framing = null\nrestart = never\nstart = demand\n"
			 "memory_max = 1M\ncpu_max = 2s\nstop_timeout = 3s\n",
	[CONF_FILE] = "[file x]\npath = /p\nframing = null\nbegin = start\n",
	[CONF_SOCKET] = "[socket x]\npath = /p\nkind = datagram\n"
			"framing = null\nmode = 0600\nowner = o\ngroup = g\n"
			"connections_max = 3\n",
	[CONF_UPSTREAM] =
	    "[upstream x]\nurl = wss://a/b?c ws://[::1]:5\nsend = one two\n"
	    "header = A: b\nsubprotocol = p.v1\norigin = https://o\nca = /c\n"
	    "certificate = /d\nkey = /e\nconnect_timeout = 1s\n"
	    "ping_interval = 2s\npong_timeout = 3s\nstale_after = 4s\n"
	    "compression = no\n",
};
static const char common[] = "channel = c\nmessage_bytes_max = 5K\n"
			     "max_rate = 7\nover_rate = drop\n"
			     "not_utf8 = replace\nbackoff_min = 1s\n"
			     "backoff_max = 2s\n";

static void
every_key_sets_its_field(void **state)
{
	const struct conf_command *command;
	const struct conf_upstream *upstream;
	const struct conf_socket *socket;
	const struct conf_feed *feed;
	char text[8192] = LISTENER;
	struct conf *conf;
	size_t i;

	(void)state;
	for (i = 0; i < CONF_FEED_KINDS; i++) {
		strcat(text, sections[i]);
		strcat(text, common);
		/* One feed for a channel. */
		text[strlen(text)] = '\0';
		*(strstr(text, "channel = c\n") + 10) = (char)('d' + i);
	}
	conf = told_nothing(text);
	for (i = 0; i < CONF_FEED_KINDS; i++) {
		feed = conf_feed_at(conf, (enum conf_feed_kind)i, 0);
		assert_non_null(feed);
		assert_null(conf_feed_at(conf, (enum conf_feed_kind)i, 1));
		assert_string_equal(feed->name, "x");
		assert_int_equal(feed->channel[0], 'd' + i);
		assert_int_equal(feed->message_bytes_max, 5120);
		assert_int_equal(feed->max_rate, 7);
		assert_int_equal(feed->over_rate, CONF_OVER_RATE_DROP);
		assert_int_equal(feed->not_utf8, CONF_NOT_UTF8_REPLACE);
		assert_int_equal(feed->backoff_min_us, 1000000);
		assert_int_equal(feed->backoff_max_us, 2000000);
	}
	command = &conf->commands[0];
	assert_string_equal(command->environment.items[0], "A=1");
	assert_string_equal(command->directory, "/d");
	assert_int_equal(command->framing, CONF_FRAMING_NULL);
	assert_int_equal(command->restart, CONF_RESTART_NEVER);
	assert_int_equal(command->start, CONF_START_DEMAND);
	assert_int_equal(command->memory_max, 1048576);
	assert_int_equal(command->cpu_max_us, 2000000);
	assert_string_equal(conf->files[0].path, "/p");
	assert_int_equal(conf->files[0].begin, CONF_BEGIN_START);
	socket = &conf->sockets[0];
	assert_int_equal(socket->kind, CONF_SOCKET_DATAGRAM);
	assert_int_equal(socket->mode, 0600);
	assert_string_equal(socket->owner, "o");
	assert_string_equal(socket->group, "g");
	assert_int_equal(socket->connections_max, 3);
	upstream = &conf->upstreams[0];
	assert_int_equal(upstream->urls.count, 2);
	assert_string_equal(upstream->urls.items[1], "ws://[::1]:5");
	assert_string_equal(upstream->sends.items[0], "one two");
	assert_string_equal(upstream->headers.items[0], "A: b");
	assert_string_equal(upstream->subprotocol, "p.v1");
	assert_string_equal(upstream->origin, "https://o");
	assert_string_equal(upstream->key, "/e");
	assert_int_equal(upstream->stale_after_us, 4000000);
	assert_false(upstream->compression);
	conf_free(conf);
}

/* Without one line of its section, a feed is another one. */
static void
feeds_that_differ_in_any_key_differ(void **state)
{
	size_t i, differ = 0;

	(void)state;
	for (i = 0; i < CONF_FEED_KINDS; i++) {
		char text[4096], less[4096], *line, *end;
		const struct conf_feed *feed, *other;
		struct conf *a, *b;
		struct told told;

		(void)snprintf(
		    text, sizeof(text), LISTENER "%s%s", sections[i], common);
		a = told_nothing(text);
		feed = conf_feed_at(a, (enum conf_feed_kind)i, 0);
		b = told_nothing(text);
		other = conf_feed_at(b, (enum conf_feed_kind)i, 0);
		assert_true(
		    conf_feed_equal((enum conf_feed_kind)i, feed, other));
		conf_free(b);
		line = strstr(text, "x]\n") + 3;
		for (; *line; line = end + 1, differ++) {
			end = strchr(line, '\n');
			(void)snprintf(less, sizeof(less), "%.*s%s",
			    (int)(line - text), text, end + 1);
			b = told_read(less, &told); /* something is missing */
			other = conf_feed_at(b, (enum conf_feed_kind)i, 0);
			if (conf_feed_equal(
				(enum conf_feed_kind)i, feed, other))
				fail_msg("%.*s", (int)(end - line), line);
			conf_free(b);
		}
		conf_free(a);
	}
	assert_true(differ > 55);
}

static void
the_line_of_a_feed_makes_no_difference(void **state)
{
	struct conf *a =
	    told_nothing(LISTENER "[file x]\npath = /p\nchannel = c\n");
	struct conf *b = told_nothing(
	    "# moved\n" LISTENER "\n[file x]\nchannel = c\npath = /p\n");

	(void)state;
	assert_true(conf_feed_equal(CONF_FILE, &a->files[0], &b->files[0]));
	conf_free(a);
	conf_free(b);
}

static void
what_only_the_whole_can_tell(void **state)
{
	(void)state;
	told_exactly(LISTENER
	    "[file a]\npath = /a\nchannel = c\n"
	    "[socket b]\npath = /b\nchannel = c\n"
	    "[upstream u]\nurl = ws://a\nchannel = d\nkey = /k\n"
	    "[upstream m]\nurl = ws://a\nchannel = e\nmirror = yes\nsend = x\n"
	    "[upstream n]\nurl = ws://a\nchannel = f\nremote_channel = g\n",
	    "f:6: [socket b] fills channel c, which [file a] fills already, "
	    "expected one feed for a channel\n"
	    "f:9: [upstream u] has certificate or key alone, expected both\n"
	    "f:13: [upstream m] has mirror = yes, expected no subprotocol and "
	    "no send\n"
	    "f:18: [upstream n] has remote_channel, expected mirror = yes with "
	    "it\n");
}

static void
headers_have_to_fit_into_a_request(void **state)
{
	char text[32768];
	size_t len;
	int i;

	(void)state;
	len = (size_t)snprintf(text, sizeof(text),
	    LISTENER "[upstream u]\nurl = ws://a\nchannel = c\n");
	for (i = 0; i < 8; i++)
		len += (size_t)snprintf(
		    text + len, sizeof(text) - len, "header = A: %0955d\n", i);
	conf_free(told_nothing(text));
	(void)snprintf(text + len, sizeof(text) - len, "header = B: 1\n");
	told_exactly(text,
	    "f:3: [upstream u] has 7686 bytes of header, expected at most "
	    "7680\n");
}

static void
values_are_refused_with_what_would_do(void **state)
{
	(void)state;
	told_exactly(LISTENER
	    "[upstream u]\nchannel = c\nurl = http://a\nurl = ws://a b://c\n"
	    "header = none\nsubprotocol = a b\norigin = *\n"
	    "[socket s]\nchannel = d\npath = here\nmode = rw\nkind = tcp\n"
	    "[command x]\nchannel = e\nexec = a\nenvironment = =1\n"
	    "over_rate = stop\n"
	    "[upstream v]\nchannel = f\nurl = ws://[::1] wss://[::1]:5\n",
	    "f:5: url = http://a, expected ws://HOST[:PORT][/PATH] or "
	    "wss://...\n"
	    "f:6: url = b://c, expected ws://HOST[:PORT][/PATH] or wss://...\n"
	    "f:7: header = none, expected NAME: VALUE\n"
	    "f:8: subprotocol = a b, expected a token of at most 64 letters, "
	    "digits and signs like - . _\n"
	    "f:9: origin = *, expected SCHEME://HOST[:PORT]\n"
	    "f:12: path = here, expected an absolute path of at most 107 "
	    "bytes\n"
	    "f:13: mode = rw, expected octal permissions, as in 0660\n"
	    "f:14: kind = tcp, expected stream or datagram\n"
	    "f:18: environment = =1, expected NAME=VALUE\n"
	    "f:19: over_rate = stop, expected wait or drop\n"
	    "f:22: url = wss://[::1]:5, expected a name or an IPv4 address "
	    "behind wss://\n");
}

static void
the_last_reference_frees(void **state)
{
	struct conf *conf =
	    told_nothing(LISTENER "[file x]\npath = /p\nchannel = c\n");

	(void)state;
	assert_ptr_equal(conf_ref(conf), conf);
	conf_free(conf);
	assert_string_equal(conf->files[0].path, "/p");
	conf_free(conf);
}

static void
descriptors_are_counted(void **state)
{
	struct conf *conf;

	(void)state;
	conf = told_nothing(LISTENER);
	assert_int_equal(conf_descriptors(conf), 0);
	conf_free(conf);
	conf = told_nothing(LISTENER
	    "[command a]\nexec = x\nchannel = a\n"
	    "[command b]\nexec = x\nchannel = b\n"
	    "[file c]\npath = /c\nchannel = c\n"
	    "[upstream d]\nurl = ws://d\nchannel = d\n"
	    "[socket e]\npath = /e\nchannel = e\nconnections_max = 300\n"
	    "[socket f]\npath = /f\nchannel = f\nkind = datagram\n"
	    "[handler g]\nexec = x\nworkers = 5\npath = /g\n"
	    "[handler h]\nplugin = /h.so\npath = /h\n");
	assert_int_equal(
	    conf_descriptors(conf), 2 * 4 + 2 + 1 + 301 + 1 + 5 * 4);
	conf_free(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_sets_its_field),
		cmocka_unit_test(feeds_that_differ_in_any_key_differ),
		cmocka_unit_test(the_line_of_a_feed_makes_no_difference),
		cmocka_unit_test(what_only_the_whole_can_tell),
		cmocka_unit_test(headers_have_to_fit_into_a_request),
		cmocka_unit_test(values_are_refused_with_what_would_do),
		cmocka_unit_test(the_last_reference_frees),
		cmocka_unit_test(descriptors_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
