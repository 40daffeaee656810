/*
 * Whole configurations: what they come to, text over text, and memory that runs
 * out at each allocation.
 */

#include "conf/conf.h"
#include "daemon/base/log.h"
#include "daemon/base/memory.h"
#include "tests/lib/told.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
the_smallest_file_has_safe_defaults(void **state)
{
	struct conf *conf =
	    told_nothing("[listener]\nlisten = 127.0.0.1:8080\n");
	const struct conf_channel *channel;

	(void)state;
	assert_int_equal(conf->listener_count, 1);
	assert_string_equal(conf->listeners[0].name, "");
	assert_int_equal(conf->listeners[0].line, 1);
	assert_int_equal(conf->listeners[0].kind, CONF_ADDRESS_IP);
	assert_string_equal(conf->listeners[0].host, "127.0.0.1");
	assert_int_equal(conf->listeners[0].port, 8080);
	assert_false(conf->listeners[0].tls);
	assert_int_equal(conf->listeners[0].origins.count, 0);
	assert_null(conf->tls_certificate);
	assert_int_equal(conf->auth.anonymous, CONF_SUBSCRIBE);
	assert_int_equal(conf->drain_timeout_us, 10000000);
	assert_int_equal(conf->drain_retry_spread_us, 2000000);
	assert_int_equal(conf->drain_close_rate, 5000);
	assert_int_equal(conf->log_level, LOG_LEVEL_INFO);
	assert_int_equal(conf->limits.connections_max, 10000);
	assert_int_equal(conf->limits.message_bytes_max, 1048576);
	assert_int_equal(conf->limits.handshake_timeout, 10000000);
	assert_int_equal(conf->command_count, 0);
	assert_int_equal(conf->channel_count, 1);
	channel = conf_channel_for(conf, "a.b", 3);
	assert_ptr_equal(channel, &conf->channels[0]);
	assert_string_equal(channel->pattern, "**");
	assert_int_equal(channel->history_messages, 1000);
	assert_int_equal(channel->history_bytes, 16777216);
	assert_int_equal(channel->history_age_us, INT64_C(3600000000));
	assert_int_equal(channel->buffer_bytes, 1048576);
	assert_int_equal(channel->idle_expiry_us, INT64_C(3600000000));
	assert_int_equal(channel->overrun, CONF_OVERRUN_SKIP);
	conf_free(conf);
}

static const char everything[] =
    "\xef\xbb\xbf# all there is\r\n"
    "[listener public]\r\n"
    "listen = [::]:8443\n"
    "tls = yes\n"
    "origins = https://Example.org HTTP://aZ:8080\n"
    "origins = *\n"
    "[listener local]\n"
    "listen = unix:/run/earshot/http.sock\n"
    "tls = no\n"
    "[tls]\n"
    "certificate = /etc/a cert.pem\n"
    "key = /etc/key.pem\n"
    "[limits]\n"
    "connections_max = 5\n"
    "span_bytes_max = 32K\n"
    "close_timeout = 250ms\n"
    "[drain]\n"
    "timeout = 1m\n"
    "retry_spread = 0\n"
    "close_rate = 7\n"
    "[auth]\n"
    "anonymous = publish subscribe\n"
    "token_key = /a\n"
    "token_key = /b\n"
    "token_issuer = https://id.example\n"
    "token_audience = earshot\n"
    "[channel logs.**]\n"
    "history_messages = 0\n"
    "history_bytes = 1G\n"
    "history_age = 7d\n"
    "buffer_bytes = 64K\n"
    "idle_expiry = 90s\n"
    "overrun = close\n"
    "[channel *]\n"
    "overrun = latest\n"
    "[command vmstat]\n"
    "exec = vmstat -n \"1 \"\n"
    "channel = vmstat\n"
    "backoff_min = 1s\n"
    "backoff_max = 1s\n"
    "stop_timeout = 0\n"
    "[command]\n"
    "exec = /bin/date\n"
    "channel = date\n"
    "[log]\n"
    "level = debug";

static void
every_key_sets_its_field(void **state)
{
	struct conf *conf = told_nothing(everything);
	const struct conf_listener *l = conf->listeners;
	const struct conf_channel *ch = conf->channels;
	const struct conf_command *c = conf->commands;

	(void)state;
	assert_int_equal(conf->listener_count, 2);
	assert_string_equal(l[0].name, "public");
	assert_int_equal(l[0].line, 2);
	assert_string_equal(l[0].address, "[::]:8443");
	assert_string_equal(l[0].host, "::");
	assert_int_equal(l[0].port, 8443);
	assert_true(l[0].tls);
	assert_int_equal(l[0].origins.count, 3);
	assert_string_equal(l[0].origins.items[0], "https://example.org");
	assert_string_equal(l[0].origins.items[1], "http://az:8080");
	assert_string_equal(l[0].origins.items[2], "*");
	assert_null(l[0].origins.items[3]);
	assert_int_equal(l[1].kind, CONF_ADDRESS_UNIX);
	assert_string_equal(l[1].path, "/run/earshot/http.sock");
	assert_false(l[1].tls);
	assert_string_equal(conf->tls_certificate, "/etc/a cert.pem");
	assert_string_equal(conf->tls_key, "/etc/key.pem");
	assert_int_equal(conf->limits.connections_max, 5);
	assert_int_equal(conf->limits.span_bytes_max, 32768);
	assert_int_equal(conf->limits.close_timeout, 250000);
	assert_int_equal(conf->drain_timeout_us, 60000000);
	assert_int_equal(conf->drain_retry_spread_us, 0);
	assert_int_equal(conf->drain_close_rate, 7);
	assert_int_equal(conf->auth.anonymous, CONF_SUBSCRIBE | CONF_PUBLISH);
	assert_int_equal(conf->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(conf->channel_count, 3);
	assert_int_equal(ch[0].history_messages, 0);
	assert_int_equal(ch[0].history_bytes, 1073741824);
	assert_int_equal(ch[0].history_age_us, 7 * INT64_C(86400000000));
	assert_int_equal(ch[0].buffer_bytes, 65536);
	assert_int_equal(ch[0].idle_expiry_us, 90 * INT64_C(1000000));
	assert_int_equal(ch[0].overrun, CONF_OVERRUN_CLOSE);
	assert_int_equal(ch[1].overrun, CONF_OVERRUN_LATEST);
	assert_int_equal(ch[1].history_messages, 1000);
	assert_int_equal(conf->command_count, 2);
	assert_string_equal(c[0].feed.name, "vmstat");
	assert_int_equal(c[0].feed.line, 36);
	assert_int_equal(c[0].exec.count, 3);
	assert_string_equal(c[0].exec.items[2], "1 ");
	assert_null(c[0].exec.items[3]);
	assert_string_equal(c[0].feed.channel, "vmstat");
	assert_int_equal(c[0].feed.backoff_min_us, 1000000);
	assert_int_equal(c[0].stop_timeout_us, 0);
	assert_string_equal(c[1].feed.name, "");
	assert_int_equal(c[1].feed.backoff_min_us, 250000);
	assert_int_equal(c[1].feed.backoff_max_us, 30000000);
	assert_int_equal(c[1].stop_timeout_us, 5000000);
	conf_free(conf);
}

static void
the_first_pattern_that_matches_is_taken(void **state)
{
	struct conf *conf = told_nothing(everything);

	(void)state;
	assert_ptr_equal(
	    conf_channel_for(conf, "logs.a.b", 8), &conf->channels[0]);
	assert_ptr_equal(conf_channel_for(conf, "logs", 4), &conf->channels[1]);
	assert_ptr_equal(conf_channel_for(conf, "a.b", 3), &conf->channels[2]);
	conf_free(conf);
	conf = told_nothing("[listener]\nlisten=[::1]:0\n[channel **]\n"
			    "history_messages=1");
	/* A default of one's own is not followed by another. */
	assert_int_equal(conf->channel_count, 1);
	assert_int_equal(conf_channel_for(conf, "x", 1)->history_messages, 1);
	conf_free(conf);
}

static void
the_first_choice_is_one_too(void **state)
{
	struct conf *conf =
	    told_nothing("[listener]\nlisten = [::1]:1\n[log]\n"
			 "level = error\n[channel a]\noverrun = skip\n");

	(void)state;
	assert_int_equal(conf->log_level, LOG_LEVEL_ERROR);
	assert_int_equal(conf->channels[0].overrun, CONF_OVERRUN_SKIP);
	conf_free(conf);
}

static void
before_it_is_finished_no_channel_is_found(void **state)
{
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };
	const char *text = "[channel b]\n";

	(void)state;
	assert_null(conf_channel_for(conf, "a", 1));
	assert_int_equal(
	    conf_read_text(conf, "f", text, strlen(text), told_add, &told), 0);
	assert_null(conf_channel_for(conf, "a", 1));
	conf_free(conf);
}

static void
a_later_text_overrides_single_keys_and_adds_to_lists(void **state)
{
	static const char first[] = "[listener]\nlisten = [::1]:1\n"
				    "origins = a b\n[drain]\ntimeout = 1s\n"
				    "close_rate = 9\n[command c]\nexec = x y\n"
				    "channel = c\n";
	static const char second[] = "[listener]\nlisten = 127.0.0.1:2\n"
				     "origins = c\n[drain]\ntimeout = 2s\n"
				     "[command c]\nexec = z\n[log]\n";
	static const char third[] = "[listener]\norigins =\norigins = d\n"
				    "[drain]\ntimeout = 3s\ntimeout = no\n";
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };

	(void)state;
	(void)conf_read_text(conf, "1", first, strlen(first), told_add, &told);
	(void)conf_read_text(
	    conf, "2", second, strlen(second), told_add, &told);
	assert_int_equal(conf_finish(conf, told_add, &told), 0);
	assert_string_equal(told.text, "");
	assert_int_equal(conf->listener_count, 1);
	assert_string_equal(conf->listeners[0].host, "127.0.0.1");
	assert_int_equal(conf->listeners[0].origins.count, 3);
	assert_int_equal(conf->drain_timeout_us, 2000000);
	assert_int_equal(conf->drain_close_rate, 9);
	assert_int_equal(conf->command_count, 1);
	assert_int_equal(conf->commands[0].exec.count, 1);
	assert_string_equal(conf->commands[0].exec.items[0], "z");

	(void)conf_read_text(conf, "3", third, strlen(third), told_add, &told);
	assert_string_equal(told.text,
	    "3:6: key timeout a second time, expected once (it is in line 5)\n"
	    "3:6: timeout = no is not a time, expected 0s to 1h with us, ms, "
	    "s, m, h or d, as in 30s\n");
	/* An empty value empties a list; a fault changes nothing. */
	assert_int_equal(conf->listeners[0].origins.count, 1);
	assert_string_equal(conf->listeners[0].origins.items[0], "d");
	assert_int_equal(conf->drain_timeout_us, 3000000);
	conf_free(conf);
}

/* Reads it all with the n-th allocation failing.  true: none was left. */
static bool
fail_nth(int64_t n)
{
	static const char later[] = "[listener public]\nlisten = [::]:2\n"
				    "[command]\nexec = x y\n";
	struct told told = { .len = 0 };
	struct conf *conf;
	int result = -ENOMEM;
	bool failed;

	memory_fail_nth(n);
	conf = conf_new();
	if (conf)
		result = conf_read_text(
		    conf, "f", everything, strlen(everything), told_add, &told);
	if (result == 0)
		result = conf_read_text(
		    conf, "g", later, strlen(later), told_add, &told);
	if (result == 0)
		result = conf_finish(conf, told_add, &told);
	failed = memory_fail_seen();
	memory_fail_nth(0);
	assert_int_equal(result, failed ? -ENOMEM : 0);
	assert_string_equal(told.text, "");
	conf_free(conf);
	return !failed;
}

static void
any_allocation_may_fail(void **state)
{
	int64_t n = 1;

	(void)state;
	while (!fail_nth(n))
		n++;
	assert_true(n > 50);
}

static void
put_line(const char *line, void *arg)
{
	struct told *told = arg;

	told_add(line, told);
	assert_true(strlen(line) <= 120);
}

static void
limits_are_printed_with_their_values(void **state)
{
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };
	int limits = 0;

	(void)state;
#define COUNT_LIMIT(name, kind, def, min, max, what) limits++;
	CONF_LIMITS(COUNT_LIMIT)
#undef COUNT_LIMIT
	conf->limits.keepalive_timeout = 1500 * LIMITS_MS;
	conf_print_limits(conf, put_line, &told);
	assert_int_equal(told.count, limits);
	assert_non_null(strstr(told.text,
	    "connections_max = 10000   connections at once; one more is "
	    "accepted and closed\n"));
	assert_non_null(strstr(told.text, "\nmessage_bytes_max = 1M   one "));
	assert_non_null(
	    strstr(told.text, "\nkeepalive_timeout = 1500ms   an HTTP "));
	conf_free(conf);
}

static void
the_last_reference_frees(void **state)
{
	struct conf *conf = told_nothing("[listener]\nlisten = 127.0.0.1:0\n"
					 "[control]\nlisten = unix:/a/b\n");

	(void)state;
	assert_ptr_equal(conf_ref(conf), conf);
	conf_free(conf);
	assert_string_equal(conf->control_path, "/a/b");
	conf_free(conf);
	conf_free(NULL);
}

static void
control_may_be_none_or_not_given(void **state)
{
	struct conf *conf = told_nothing("[listener]\nlisten = 127.0.0.1:0\n"
					 "[control]\nlisten = none\n");

	(void)state;
	assert_string_equal(conf->control_path, "");
	conf_free(conf);
	conf = told_nothing("[listener]\nlisten = 127.0.0.1:0\n");
	assert_null(conf->control_path);
	conf_free(conf);
}

static void
where_a_key_was_given_last(void **state)
{
	static const char first[] = "[tls]\ncertificate = /a\nkey = /b\n";
	static const char second[] = "\n\n[tls]\nkey = /c\n";
	struct told told = { .count = 0 };
	struct conf *conf = conf_new();
	char where[64] = "?";

	(void)state;
	conf_where(conf, "tls", "key", where, sizeof(where));
	assert_string_equal(where, "");
	(void)conf_read_text(
	    conf, "one", first, strlen(first), told_add, &told);
	(void)conf_read_text(
	    conf, "two", second, strlen(second), told_add, &told);
	conf_where(conf, "tls", "certificate", where, sizeof(where));
	assert_string_equal(where, "one:2: ");
	conf_where(conf, "tls", "key", where, sizeof(where));
	assert_string_equal(where, "two:4: ");
	conf_where(conf, "tls", "nothing", where, sizeof(where));
	assert_string_equal(where, "");
	assert_int_equal(told.count, 0);
	conf_free(conf);
}

/* Each with its own line: what is wrong with a file is found later. */
static void
token_keys_and_where_each_was_given(void **state)
{
	static const char first[] = "[listener]\nlisten = 127.0.0.1:0\n"
				    "[auth]\ntoken_key = /a\n\n"
				    "token_key=/b c\ntoken_leeway = 1m\n";
	static const char second[] =
	    "[auth]\ntoken_key = /d\ntoken_issuer = https://id.example\n"
	    "token_audience = \xc3\xa4 b\n";
	static const char third[] = "[auth]\ntoken_key =\ntoken_key = /e\n";
	struct conf *conf = told_nothing("[listener]\nlisten = 127.0.0.1:0\n");
	const struct conf_auth *auth = &conf->auth;
	struct told told = { .count = 0 };

	(void)state;
	assert_int_equal(auth->token_keys.count, 0);
	assert_null(auth->token_issuer);
	assert_null(auth->token_audience);
	assert_int_equal(auth->token_leeway_us, 30 * 1000000);
	conf_free(conf);

	conf = conf_new();
	auth = &conf->auth;
	(void)conf_read_text(
	    conf, "one", first, strlen(first), told_add, &told);
	(void)conf_read_text(
	    conf, "two", second, strlen(second), told_add, &told);
	assert_int_equal(auth->token_keys.count, 3);
	assert_string_equal(auth->token_keys.items[0], "/a");
	assert_string_equal(auth->token_keys.items[1], "/b c");
	assert_string_equal(auth->token_keys.items[2], "/d");
	assert_int_equal(auth->token_keys_where.count, 3);
	assert_string_equal(auth->token_keys_where.items[0], "one:4: ");
	assert_string_equal(auth->token_keys_where.items[1], "one:6: ");
	assert_string_equal(auth->token_keys_where.items[2], "two:2: ");
	assert_string_equal(auth->token_issuer, "https://id.example");
	assert_string_equal(auth->token_audience, "\xc3\xa4 b");
	assert_int_equal(auth->token_leeway_us, 60 * 1000000);
	(void)conf_read_text(
	    conf, "three", third, strlen(third), told_add, &told);
	assert_int_equal(auth->token_keys.count, 1);
	assert_string_equal(auth->token_keys.items[0], "/e");
	assert_int_equal(auth->token_keys_where.count, 1);
	assert_string_equal(auth->token_keys_where.items[0], "three:3: ");
	assert_int_equal(told.count, 0);
	conf_free(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_smallest_file_has_safe_defaults),
		cmocka_unit_test(every_key_sets_its_field),
		cmocka_unit_test(the_first_pattern_that_matches_is_taken),
		cmocka_unit_test(the_first_choice_is_one_too),
		cmocka_unit_test(before_it_is_finished_no_channel_is_found),
		cmocka_unit_test(
		    a_later_text_overrides_single_keys_and_adds_to_lists),
		cmocka_unit_test(any_allocation_may_fail),
		cmocka_unit_test(limits_are_printed_with_their_values),
		cmocka_unit_test(the_last_reference_frees),
		cmocka_unit_test(control_may_be_none_or_not_given),
		cmocka_unit_test(where_a_key_was_given_last),
		cmocka_unit_test(token_keys_and_where_each_was_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
