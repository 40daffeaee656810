/* Every fault of a configuration, with its line and what was expected. */

#include "conf/conf.h"
#include "tests/lib/told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The same for a section behind a good listener, which has two lines. */
static void
check_section(const char *text, const char *want)
{
	char all[4096];

	(void)snprintf(
	    all, sizeof(all), "[listener]\nlisten = [::1]:1\n%s", text);
	told_exactly(all, want);
}

static void
a_file_without_a_listener_is_a_fault(void **state)
{
	static const char want[] =
	    "f: no section [listener], expected at least one with listen = "
	    "ADDRESS:PORT\n";
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };

	(void)state;
	told_exactly("", want);
	told_exactly("# nothing\n[drain]\ntimeout = 1s\n", want);
	/* Nor is there one when nothing was read at all. */
	assert_int_equal(conf_finish(conf, told_add, &told), 1);
	assert_int_equal(strncmp(told.text, "configuration: no ", 18), 0);
	assert_non_null(conf_channel_for(conf, "a", 1));
	conf_free(conf);
	conf_free(NULL);
}

static void
all_faults_are_told_in_one_go(void **state)
{
	(void)state;
	told_exactly("port = 80\n"
		     "[listner]\n"
		     "listen = 1\n"
		     "[listener]\n"
		     "listen = localhost:80\n"
		     "lisen = 127.0.0.1:80\n"
		     "tls = maybe\n"
		     "[limits]\n"
		     "heads_max = many\n"
		     "rubbish\n"
		     "[log]\n"
		     "level = loud\n",
	    "f:1: key port before any section, expected [SECTION] above it\n"
	    "f:2: unknown section [listner], expected one of [listener], "
	    "[tls], [limits], [drain], [auth], [channel], [command], [file], "
	    "[socket], [upstream], [state], [handler], [log], [control]\n"
	    "f:5: listen = localhost:80, expected ADDRESS:PORT with a numeric "
	    "address, [IPV6]:PORT or unix:/PATH\n"
	    "f:6: unknown key lisen in [listener], expected one of listen, "
	    "tls, compression, origins\n"
	    "f:7: tls = maybe, expected yes or no\n"
	    "f:9: heads_max = many is not a number, expected 1 to 65536\n"
	    "f:10: neither section nor key, expected [SECTION], key = value "
	    "or a comment\n"
	    "f:12: level = loud, expected error, warn, info or debug\n");
}

static void
a_number_that_is_wrong_is_told_with_its_range(void **state)
{
	(void)state;
	check_section("[limits]\n"
		      "connections_max = 0\n"
		      "channels_max = 1000001\n"
		      "heads_max = -1\n"
		      "message_bytes_max = 257M\n"
		      "span_bytes_max = 64k\n"
		      "close_timeout = 5\n"
		      "request_timeout = 1us\n"
		      "keepalive_timeout = soon\n"
		      "accepts_per_iteration_max = 99999999999999999999\n"
		      "head_bytes_max =\n",
	    "f:4: connections_max = 0 is out of range, expected 1 to 1000000\n"
	    "f:5: channels_max = 1000001 is out of range, expected 1 to "
	    "1000000\n"
	    "f:6: heads_max = -1 is not a number, expected 1 to 65536\n"
	    "f:7: message_bytes_max = 257M is out of range, expected 1 to 256M "
	    "with K, M or G or no unit, as in 64K\n"
	    "f:8: span_bytes_max = 64k is not a size, expected 16448 to 1M "
	    "with K, M or G or no unit, as in 64K\n"
	    "f:9: close_timeout = 5 is without a unit, expected 10ms to 10m "
	    "with us, ms, s, m, h or d, as in 30s\n"
	    "f:10: request_timeout = 1us is out of range, expected 10ms to 1h "
	    "with us, ms, s, m, h or d, as in 30s\n"
	    "f:11: keepalive_timeout = soon is not a time, expected 10ms to 1h "
	    "with us, ms, s, m, h or d, as in 30s\n"
	    "f:12: accepts_per_iteration_max = 99999999999999999999 is out of "
	    "range, expected 1 to 65536\n"
	    "f:13: head_bytes_max =  is not a size, expected 1K to 64K with K, "
	    "M or G or no unit, as in 64K\n");
}

static void
rights_are_none_or_some(void **state)
{
	static const struct {
		const char *text;
		unsigned rights;
	} cases[] = {
		{ "none", 0 },
		{ "subscribe", CONF_SUBSCRIBE },
		{ "publish", CONF_PUBLISH },
		{ "subscribe \t publish", CONF_SUBSCRIBE | CONF_PUBLISH },
	};
	static const char *const bad[] = { "", "all", "none publish",
		"subscribe,publish", "Subscribe" };
	char text[128], want[256];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct conf *conf;

		(void)snprintf(text, sizeof(text),
		    "[listener]\nlisten=[::1]:1\n[auth]\nanonymous=%s",
		    cases[i].text);
		conf = told_nothing(text);
		assert_int_equal(conf->auth.anonymous, cases[i].rights);
		conf_free(conf);
	}
	for (size_t i = 0; i < LENGTH(bad); i++) {
		(void)snprintf(
		    text, sizeof(text), "[auth]\nanonymous = %s", bad[i]);
		(void)snprintf(want, sizeof(want),
		    "f:4: anonymous = %s, expected none, subscribe, publish "
		    "or subscribe publish\n",
		    bad[i]);
		check_section(text, want);
	}
}

static void
what_is_mandatory_is_missed(void **state)
{
	(void)state;
	told_exactly("[listener a]\ntls = no\n",
	    "f:1: [listener a] has no listen, expected listen = ...\n");
	check_section("[command c]\n",
	    "f:3: [command c] has no exec, expected exec = ...\n"
	    "f:3: [command c] has no channel, expected channel = ...\n");
	check_section("[tls]\nkey = /k\n",
	    "f:3: [tls] has no certificate, expected certificate = ...\n");
	told_exactly("[listener]\nlisten = [::1]:1\ntls = yes\n",
	    "f:1: [listener] has tls = yes, expected certificate and key in "
	    "[tls]\n");
	/* One that is there and wrong is not missing as well. */
	check_section("[command c]\nexec =\nchannel = /\n",
	    "f:4: exec = , expected PROGRAM ARGUMENTS with an absolute path or "
	    "a name to be found in PATH\n"
	    "f:5: channel = /, expected a channel: 1 to 128 of A-Z a-z 0-9 _ "
	    "- . : beginning with a letter or digit\n");
}

static void
what_stands_twice_in_a_file_is_a_fault(void **state)
{
	(void)state;
	check_section("[drain]\ntimeout = 1s\nclose_rate = 1\ntimeout = 1s\n",
	    "f:6: key timeout a second time, expected once (it is in line "
	    "4)\n");
	check_section("[drain]\n[auth]\n[drain]\ntimeout = 1s\n",
	    "f:5: section [drain] a second time, expected once (it is in line "
	    "3)\n");
	check_section("[listener]\nlisten = [::1]:2\n",
	    "f:3: section [listener] a second time, expected once (it is in "
	    "line 1)\n");
	check_section("[channel a.*]\n[channel a.**]\n[channel a.*]\n",
	    "f:5: section [channel a.*] a second time, expected once (it is "
	    "in line 3)\n");
	check_section("[command c]\nexec = a\nchannel = x\n"
		      "[command d]\nexec = b\nchannel = x\n",
	    "f:6: [command d] fills channel x, which [command c] fills "
	    "already, expected one feed for a channel\n");
	check_section("[listener b]\nlisten = [0::1]:1\n",
	    "f:3: [listener b] listens on [0::1]:1, which is taken by line 1, "
	    "expected another address\n");
	check_section("[listener b]\nlisten = unix:/a\n"
		      "[listener c]\nlisten = unix:/a\n",
	    "f:5: [listener c] listens on unix:/a, which is taken by line 3, "
	    "expected another address\n");
	/* The kernel chooses: no two are the same. */
	conf_free(told_nothing("[listener a]\nlisten = 127.0.0.1:0\n"
			       "[listener b]\nlisten = 127.0.0.1:0\n"));
}

static void
sections_have_the_names_they_may_have(void **state)
{
	(void)state;
	check_section("[tls x]\nkey = relative\n",
	    "f:3: section [tls x], expected [tls]\n");
	check_section("[channel]\n",
	    "f:3: section [channel ], expected [channel PATTERN] with 1 to 128 "
	    "of A-Z a-z 0-9 _ - . : and * or **\n");
	check_section("[channel a b]\n[command a/b]\n",
	    "f:3: section [channel a b], expected [channel PATTERN] with 1 to "
	    "128 of A-Z a-z 0-9 _ - . : and * or **\n"
	    "f:4: section [command a/b], expected [command NAME] with 1 to 128 "
	    "of A-Z a-z 0-9 _ - . :\n");
}

static void
other_values_are_refused_with_what_would_do(void **state)
{
	(void)state;
	check_section("[channel a]\noverrun = stop\nbuffer_bytes = 1K\n",
	    "f:4: overrun = stop, expected skip, latest or close\n"
	    "f:5: buffer_bytes = 1K is out of range, expected 64K to 1G with "
	    "K, M or G or no unit, as in 64K\n");
	check_section("[tls]\ncertificate = a.pem\nkey =\n",
	    "f:4: certificate = a.pem, expected an absolute path\n"
	    "f:5: key = , expected an absolute path\n");
	check_section("[listener b]\nlisten = [::1]:2\norigins = a/ b c/d\n",
	    "f:5: origins = a/, expected *, SCHEME://HOST[:PORT] or "
	    "HOST[:PORT]\n"
	    "f:5: origins = c/d, expected *, SCHEME://HOST[:PORT] or "
	    "HOST[:PORT]\n");
	check_section(
	    "[command c]\nchannel = c\nexec = a \"b\nbackoff_min = 31s\n",
	    "f:5: exec with a quote without its end, expected \"...\" or "
	    "'...'\n"
	    "f:3: [command c] has backoff_min over backoff_max, expected at "
	    "most that\n");
	check_section("[command c]\nchannel = c\nexec = bin/a\n",
	    "f:5: exec = bin/a, expected PROGRAM ARGUMENTS with an absolute "
	    "path or a name to be found in PATH\n");
}

static void
token_keys_are_paths_and_so_many(void **state)
{
	char text[4096] = "[auth]\n", want[128];
	size_t len = strlen(text);

	(void)state;
	check_section("[auth]\ntoken_key = token.pem\ntoken_issuer =\n"
		      "token_audience = a\x01\ntoken_leeway = 2h\n",
	    "f:4: token_key = token.pem, expected an absolute path\n"
	    "f:5: token_issuer = , expected text of 1 to 1024 bytes, as in the "
	    "claim\n"
	    "f:6: token_audience = a?, expected text of 1 to 1024 bytes, as in "
	    "the claim\n"
	    "f:7: token_leeway = 2h is out of range, expected 0s to 1h with "
	    "us, ms, s, m, h or d, as in 30s\n");
	check_section("[auth]\ntoken_issuer = a\ntoken_issuer = b\n",
	    "f:5: key token_issuer a second time, expected once (it is in line "
	    "4)\n");
	for (int i = 0; i <= CONF_TOKEN_KEYS_MAX; i++)
		len += (size_t)snprintf(
		    text + len, sizeof(text) - len, "token_key = /%d\n", i);
	(void)snprintf(want, sizeof(want),
	    "f:%d: token_key too often, expected at most 16 times\n",
	    4 + CONF_TOKEN_KEYS_MAX);
	check_section(text, want);
}

static void
a_bad_value_of_any_key_stops_nothing(void **state)
{
	static const char *const cases[] = { "listener]\nlisten = x",
		"listener]\ntls = x", "listener]\norigins = /", "tls]\nkey = x",
		"limits]\nheads_max = x", "limits]\nspan_bytes_max = x",
		"drain]\ntimeout = x", "auth]\nanonymous = x",
		"auth]\ntoken_key = x", "channel a]\noverrun = x",
		"command]\nexec = 'x", "command]\nchannel = /",
		"log]\nlevel = x" };

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char text[128];
		struct told told;

		(void)snprintf(text, sizeof(text), "[%s\nrubbish\n", cases[i]);
		conf_free(told_read(text, &told));
		assert_int_equal(strncmp(told.text, "f:2: ", 5), 0);
		assert_non_null(strstr(told.text, "\nf:3: neither "));
	}
}

static void
a_file_s_name_may_be_of_any_length(void **state)
{
	struct conf *conf = conf_new();
	struct told told = { .len = 0 };
	char *name = malloc(10000);

	(void)state;
	assert_non_null(name);
	memset(name, 'n', 9999);
	name[9999] = '\0';
	assert_int_equal(
	    conf_read_text(conf, name, "x", 1, told_add, &told), 1);
	assert_non_null(strstr(told.text, "nnn:1: neither section nor key, "));
	free(name);
	conf_free(conf);
}

static void
a_fault_is_one_printable_line(void **state)
{
	char text[1024] =
	    "[log]\nlevel = \x1b[31m\x7f\xc2\x80\xc2\x9f\t\xc2\xa0";
	struct told told;

	(void)state;
	check_section(text,
	    "f:4: level = ?[31m??????\xc2\xa0, expected error, warn, info or "
	    "debug\n");
	/* A long one is cut, and not within a character. */
	(void)strcpy(text, "[log]\nlevel = x");
	for (size_t i = 0; i < 100; i++)
		(void)strcat(text, "\xe2\x82\xac");
	conf_free(told_read(text, &told));
	assert_non_null(strstr(told.text, "\xe2\x82\xac..., expected error"));
	assert_true(told.len < 400);
}

static void
lists_and_texts_are_bounded(void **state)
{
	size_t len = CONF_FILE_BYTES_MAX + 1;
	char *text = malloc(len + 1);
	struct told told = { .len = 0 };
	struct conf *conf = conf_new();
	size_t at;

	(void)state;
	assert_non_null(text);
	at = (size_t)sprintf(text, "[listener]\nlisten=[::1]:1\norigins=");
	for (int i = 0; i < CONF_ARGS_MAX + 9; i++)
		at += (size_t)sprintf(text + at, "h%d ", i);
	at += (size_t)sprintf(text + at, "\n[command]\nchannel=c\nexec=");
	for (int i = 0; i < CONF_ARGS_MAX + 9; i++)
		at += (size_t)sprintf(text + at, "a%d ", i);
	told_exactly(text,
	    "f:3: more origins than one listener takes, expected at most 64\n"
	    "f:6: exec with too many words, expected at most 64\n");

	at = 0;
	for (int i = 0; i < CONF_SECTIONS_MAX + 2; i++)
		at += (size_t)sprintf(text + at, "[channel c%d]\n", i);
	assert_int_equal(
	    conf_read_text(conf, "f", text, at, told_add, &told), 2);
	assert_non_null(strstr(told.text,
	    "f:1026: one section too many, expected at most 1024\n"));
	assert_int_equal(conf->channel_count, CONF_SECTIONS_MAX);

	memset(text, '\n', len);
	told_clear(&told);
	assert_int_equal(
	    conf_read_text(conf, "g", text, len - 1, told_add, &told), 0);
	assert_int_equal(
	    conf_read_text(conf, "g", text, len, told_add, &told), 1);
	assert_string_equal(
	    told.text, "g: too long, expected at most 1048576 bytes\n");
	conf_free(conf);
	free(text);
}

static void
faults_need_not_be_heard_to_be_counted(void **state)
{
	struct conf *conf = conf_new();

	(void)state;
	assert_int_equal(conf_read_text(conf, "f", "a\nb\n", 4, NULL, NULL), 2);
	assert_int_equal(conf_finish(conf, NULL, NULL), 1);
	conf_free(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_without_a_listener_is_a_fault),
		cmocka_unit_test(all_faults_are_told_in_one_go),
		cmocka_unit_test(a_number_that_is_wrong_is_told_with_its_range),
		cmocka_unit_test(rights_are_none_or_some),
		cmocka_unit_test(what_is_mandatory_is_missed),
		cmocka_unit_test(what_stands_twice_in_a_file_is_a_fault),
		cmocka_unit_test(sections_have_the_names_they_may_have),
		cmocka_unit_test(other_values_are_refused_with_what_would_do),
		cmocka_unit_test(token_keys_are_paths_and_so_many),
		cmocka_unit_test(a_bad_value_of_any_key_stops_nothing),
		cmocka_unit_test(a_file_s_name_may_be_of_any_length),
		cmocka_unit_test(a_fault_is_one_printable_line),
		cmocka_unit_test(lists_and_texts_are_bounded),
		cmocka_unit_test(faults_need_not_be_heard_to_be_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
