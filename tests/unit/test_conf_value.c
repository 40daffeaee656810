/* Numbers, sizes, times, addresses, origins and command lines. */

#include "conf/value.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static struct text
text(const char *string)
{
	return (struct text){ string, strlen(string) };
}

struct number_case {
	const char *text;
	int error;
	int64_t value;
};

static void
check_numbers(int (*read)(struct text text, int64_t *ret_value),
    const struct number_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int64_t value = -7;

		if (read(text(cases[i].text), &value) != cases[i].error)
			fail_msg("%s", cases[i].text);
		assert_true(
		    value == (cases[i].error == 0 ? cases[i].value : -7));
	}
}

static void
counts_are_digits(void **state)
{
	static const struct number_case cases[] = {
		{ "0", 0, 0 },
		{ "7", 0, 7 },
		{ "007", 0, 7 },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "99999999999999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ "1K", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1.5", -EINVAL, 0 },
		{ "1 2", -EINVAL, 0 },
		{ "ten", -EINVAL, 0 },
	};

	(void)state;
	check_numbers(value_count, cases, LENGTH(cases));
}

static void
sizes_may_have_a_unit(void **state)
{
	static const struct number_case cases[] = {
		{ "0", 0, 0 },
		{ "100", 0, 100 },
		{ "1K", 0, 1024 },
		{ "64K", 0, 65536 },
		{ "16M", 0, 16777216 },
		{ "2G", 0, 2147483648 },
		{ "8589934591G", 0, INT64_C(8589934591) << 30 },
		{ "8589934592G", -ERANGE, 0 },
		{ "99999999999999999999G", -ERANGE, 0 },
		{ "1k", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "1 K", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "1.5M", -EINVAL, 0 },
		{ "-1K", -EINVAL, 0 },
		{ "99999999999999999999Q", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
	};

	(void)state;
	check_numbers(value_bytes, cases, LENGTH(cases));
}

static void
times_must_have_a_unit(void **state)
{
	static const struct number_case cases[] = {
		{ "0", 0, 0 },
		{ "0s", 0, 0 },
		{ "1us", 0, 1 },
		{ "250ms", 0, 250000 },
		{ "30s", 0, 30000000 },
		{ "2m", 0, 120000000 },
		{ "1h", 0, INT64_C(3600000000) },
		{ "1d", 0, INT64_C(86400000000) },
		{ "106751991d", 0, 106751991 * INT64_C(86400000000) },
		{ "106751992d", -ERANGE, 0 },
		{ "10", -EDOM, 0 },
		{ "00", -EDOM, 0 },
		{ "99999999999999999999", -EDOM, 0 },
		{ "10S", -EINVAL, 0 },
		{ "10 s", -EINVAL, 0 },
		{ "10min", -EINVAL, 0 },
		{ "1h30m", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
	};

	(void)state;
	check_numbers(value_time, cases, LENGTH(cases));
}

static void
numbers_are_written_as_they_are_read(void **state)
{
	static const char *const sizes[] = { "0", "1", "1023", "1K", "1025",
		"64K", "1M", "1025K", "1G", "1024G", "9223372036854775807" };
	static const char *const times[] = { "0s", "1us", "999us", "1ms",
		"1001us", "250ms", "1s", "59s", "1m", "90s", "1h", "1d", "25h",
		"36500d" };
	char out[32];
	int64_t value;

	(void)state;
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		assert_int_equal(value_bytes(text(sizes[i]), &value), 0);
		assert_int_equal(
		    value_put_bytes(out, sizeof(out), value), strlen(sizes[i]));
		assert_string_equal(out, sizes[i]);
	}
	for (size_t i = 0; i < LENGTH(times); i++) {
		assert_int_equal(value_time(text(times[i]), &value), 0);
		assert_int_equal(
		    value_put_time(out, sizeof(out), value), strlen(times[i]));
		assert_string_equal(out, times[i]);
	}
}

static void
addresses_are_numeric_or_a_socket_s_path(void **state)
{
	static const struct {
		const char *text;
		struct address address;
	} cases[] = {
		{ "127.0.0.1:8080",
		    { CONF_ADDRESS_IP, "127.0.0.1", 8080, "" } },
		{ "0.0.0.0:0", { CONF_ADDRESS_IP, "0.0.0.0", 0, "" } },
		{ "[::1]:65535", { CONF_ADDRESS_IP, "::1", 65535, "" } },
		{ "[0:0::0:1]:080", { CONF_ADDRESS_IP, "::1", 80, "" } },
		{ "[2001:DB8::A]:1",
		    { CONF_ADDRESS_IP, "2001:db8::a", 1, "" } },
		{ "[::ffff:1.2.3.4]:1",
		    { CONF_ADDRESS_IP, "::ffff:1.2.3.4", 1, "" } },
		{ "unix:/run/a b.sock",
		    { CONF_ADDRESS_UNIX, "", 0, "/run/a b.sock" } },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct address got;

		assert_int_equal(value_address(text(cases[i].text), &got), 0);
		assert_int_equal(got.kind, cases[i].address.kind);
		assert_string_equal(got.host, cases[i].address.host);
		assert_int_equal(got.port, cases[i].address.port);
		assert_string_equal(got.path, cases[i].address.path);
	}
}

static void
what_does_not_parse_as_an_address_is_refused(void **state)
{
	static const char *const cases[] = { "", ":", ":80", "8080",
		"127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
		"127.0.0.1:999999", "127.0.0.1:-1", "127.0.0.1: 80",
		"127.0.0.1:80:80", "127.0.1:80", "256.0.0.1:80",
		"localhost:8080", "*:80", "::1:80", "[::1]",
		"[::1]:", "[::1]80", "[::1:80", "[]:80", "[", "[:80",
		"[::g]:80", "[127.0.0.1]:80", "[fe80::1%lo]:80",
		"unix:", "unix:a", "unix:@a", "Unix:/a", "http://127.0.0.1:80",
		"1111111111111111111111111111111111111111111111111111:80" };
	struct address got = { .port = 7 };
	char path[200];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		if (value_address(text(cases[i]), &got) != -EINVAL)
			fail_msg("%s", cases[i]);
	/* A path must fit in a sockaddr_un with its NUL. */
	(void)snprintf(path, sizeof(path), "unix:/%0106d", 0);
	assert_int_equal(value_address(text(path), &got), 0);
	got.port = 7;
	(void)snprintf(path, sizeof(path), "unix:/%0107d", 0);
	assert_int_equal(value_address(text(path), &got), -EINVAL);
	assert_int_equal(got.port, 7);
}

static void
origins_are_hosts_with_or_without_scheme_and_port(void **state)
{
	static const char *const good[] = { "*", "example.org",
		"example.org:8080", "https://example.org", "http://a:1",
		"https://[::1]:443", "[::1]", "127.0.0.1",
		"chrome-extension://abcdef", "a_b", "azAZ09.-_",
		"HTTPS://Example.ORG" };
	static const char *const bad[] = { "", "**", "*.example.org",
		"https://", "https:///", "https://a/", "https://a/b", "a/b",
		"a:", "a:0", "a:65536", "a:b", "a b", "://a", "1ttp://a",
		"ht tp://a", "ht\xc3\xbc://a", "u@a", "gr\xc3\xbc\xc3\x9f",
		"[::1", "[x]", "[::1]x", "http://a://b", "a?b", "null," };

	(void)state;
	for (size_t i = 0; i < LENGTH(good); i++)
		if (!value_origin_valid(text(good[i])))
			fail_msg("%s", good[i]);
	for (size_t i = 0; i < LENGTH(bad); i++)
		if (value_origin_valid(text(bad[i])))
			fail_msg("%s", bad[i]);
}

static void
words_are_cut_at_spaces_and_tabs(void **state)
{
	struct text left = text("  a\t bc  d ");
	struct text word;

	(void)state;
	assert_true(value_next_word(&left, &word));
	assert_true(text_equals(word, "a"));
	assert_true(value_next_word(&left, &word));
	assert_true(text_equals(word, "bc"));
	assert_true(value_next_word(&left, &word));
	assert_true(text_equals(word, "d"));
	assert_false(value_next_word(&left, &word));
	assert_false(value_next_word(&left, &word));
}

/* The arguments, each in <>, or ! and what is wrong. */
static const char *
arguments(const char *line)
{
	static char all[256];
	struct text left = text(line);
	char out[128];
	const char *fault = NULL;
	size_t at = 0;
	int more;

	all[0] = '\0';
	while ((more = value_next_argument(&left, out, &fault)) == 1)
		at += (size_t)snprintf(all + at, sizeof(all) - at, "<%s>", out);
	if (more < 0) {
		assert_non_null(strstr(fault, ", expected "));
		(void)snprintf(all + at, sizeof(all) - at, "!");
	}
	return all;
}

static void
command_lines_have_quotes_and_escapes_and_no_shell(void **state)
{
	(void)state;
	assert_string_equal(arguments(""), "");
	assert_string_equal(arguments(" vmstat  -n\t1 "), "<vmstat><-n><1>");
	assert_string_equal(arguments("a 'b c' \"d e\""), "<a><b c><d e>");
	assert_string_equal(arguments("a'b c'd"), "<ab cd>");
	assert_string_equal(arguments("'a\"b' \"a'b\""), "<a\"b><a'b>");
	assert_string_equal(arguments("'' \"\" x"), "<><><x>");
	assert_string_equal(
	    arguments("a\\ b \\\"c\\\" \\'"), "<a b><\"c\"><'>");
	assert_string_equal(arguments("a\\sb \\t \\\\n"), "<a b><\t><\\n>");
	assert_string_equal(arguments("'\\x41\\x7a' \\xfF"), "<Az><\xff>");
	assert_string_equal(arguments("$HOME * ~ `x` a|b > &"),
	    "<$HOME><*><~><`x`><a|b><>><&>");
}

static void
broken_command_lines_are_refused(void **state)
{
	static const char *const cases[] = { "'", "\"a", "'a\"", "\\", "a\\",
		"\\q", "'\\", "\\x", "\\x4", "\\x4g", "\\x00", "\"\\\"" };

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		assert_string_equal(arguments(cases[i]), "!");
	assert_string_equal(arguments("a b 'c"), "<a><b>!");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_are_digits),
		cmocka_unit_test(sizes_may_have_a_unit),
		cmocka_unit_test(times_must_have_a_unit),
		cmocka_unit_test(numbers_are_written_as_they_are_read),
		cmocka_unit_test(addresses_are_numeric_or_a_socket_s_path),
		cmocka_unit_test(what_does_not_parse_as_an_address_is_refused),
		cmocka_unit_test(
		    origins_are_hosts_with_or_without_scheme_and_port),
		cmocka_unit_test(words_are_cut_at_spaces_and_tabs),
		cmocka_unit_test(
		    command_lines_have_quotes_and_escapes_and_no_shell),
		cmocka_unit_test(broken_command_lines_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
