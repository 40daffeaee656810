/* Percent encoding, query arguments and addresses. */

#include "proto/url.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void
escapes_are_decoded(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "a%20b", "a b" },
		{ "%41%4a%4A", "AJJ" },
		{ "a+b", "a+b" },
		{ "%25", "%" },
		{ "%2541", "%41" },
		{ "%c3%BC", "\xc3\xbc" },
		{ "%0a%ff%01", "\n\xff\x01" },
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		int len = url_decode(
		    out, sizeof(out), cases[i][0], strlen(cases[i][0]));

		assert_int_equal(len, strlen(cases[i][1]));
		assert_string_equal(out, cases[i][1]);
	}
}

static void
broken_escapes_and_nul_bytes_are_refused(void **state)
{
	static const char *const cases[] = { "%", "%4", "a%", "%g0", "%0g",
		"%00", "a%00b", "% 1", "%-1", "%%41" };
	char out[32];

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		assert_int_equal(
		    url_decode(out, sizeof(out), cases[i], strlen(cases[i])),
		    -EINVAL);
	assert_int_equal(url_decode(out, sizeof(out), "a\0b", 3), -EINVAL);
	/* The escape is not read beyond the end. */
	assert_int_equal(url_decode(out, sizeof(out), "%41", 2), -EINVAL);
}

static void
what_is_too_long_is_refused_and_nothing_is_written_beyond(void **state)
{
	char out[8];

	(void)state;
	memset(out, '#', sizeof(out));
	assert_int_equal(url_decode(out, 4, "a%62c", 5), 3);
	assert_memory_equal(out, "abc\0####", 8);
	assert_int_equal(url_decode(out, 3, "abc", 3), -EMSGSIZE);
	assert_int_equal(url_decode(out, 1, "", 0), 0);
	assert_int_equal(url_decode(out, 0, "", 0), -EMSGSIZE);
	assert_int_equal(out[4], '#');

	memset(out, '#', sizeof(out));
	assert_int_equal(url_encode(out, 6, "a b", 3), 5);
	assert_memory_equal(out, "a%20b\0##", 8);
	assert_int_equal(url_encode(out, 5, "a b", 3), -EMSGSIZE);
	assert_int_equal(url_encode(out, 4, " ", 1), 3);
	assert_int_equal(url_encode(out, 3, " ", 1), -EMSGSIZE);
	assert_int_equal(url_encode(out, 3, "abc", 3), -EMSGSIZE);
	assert_int_equal(url_encode(out, 1, "", 0), 0);
	assert_int_equal(url_encode(out, 0, "", 0), -EMSGSIZE);
	assert_int_equal(out[6], '#');
}

static void
every_byte_survives_encoding(void **state)
{
	char out[800], back[300], all[255];
	int len;

	(void)state;
	for (int i = 0; i < 255; i++)
		all[i] = (char)(i + 1);
	len = url_encode(out, sizeof(out), all, sizeof(all));
	assert_true(len > 0);
	assert_int_equal(strlen(out), len);
	for (int i = 0; i < len; i++)
		assert_true(out[i] > ' ' && out[i] < 0x7f && out[i] != '/');
	assert_int_equal(
	    url_decode(back, sizeof(back), out, (size_t)len), sizeof(all));
	assert_memory_equal(back, all, sizeof(all));
	assert_int_equal(url_encode(out, sizeof(out), "a.b-c_d:e", 9), 9);
	assert_string_equal(out, "a.b-c_d:e");
}

static int
query(const char *text, const char *name, char out[16])
{
	return url_query_get(text, strlen(text), name, out, 16);
}

static void
an_argument_of_a_query_is_found_by_its_name(void **state)
{
	char out[16];

	(void)state;
	assert_int_equal(query("from=oldest", "from", out), 6);
	assert_string_equal(out, "oldest");
	assert_int_equal(query("a=1&from=-5&b=2", "from", out), 2);
	assert_string_equal(out, "-5");
	assert_int_equal(query("from=5f2c%3A41", "from", out), 7);
	assert_string_equal(out, "5f2c:41");
	assert_int_equal(query("fr%6fm=x", "from", out), 1);
	assert_int_equal(query("from=a=b", "from", out), 3);
	assert_string_equal(out, "a=b");
	assert_int_equal(query("from=", "from", out), 0);
	assert_string_equal(out, "");
	assert_int_equal(query("from", "from", out), 0);
	assert_int_equal(query("&&from=1&", "from", out), 1);
}

static void
an_argument_that_is_not_there_is_not_found(void **state)
{
	char out[16];

	(void)state;
	assert_int_equal(query("", "from", out), -ENOENT);
	assert_int_equal(query("fro=1&fromm=2&=3", "from", out), -ENOENT);
	assert_int_equal(query("x=from=1", "from", out), -ENOENT);
	assert_int_equal(query("From=1", "from", out), -ENOENT);
	assert_int_equal(query("fr%6=1&from%00=1", "from", out), -ENOENT);
	assert_int_equal(query("xfrom=1", "from", out), -ENOENT);
	assert_int_equal(url_query_get(NULL, 0, "from", out, 16), -ENOENT);
}

static void
an_argument_given_twice_or_broken_is_refused(void **state)
{
	char out[16];

	(void)state;
	assert_int_equal(query("from=1&from=1", "from", out), -EINVAL);
	assert_int_equal(query("from&from", "from", out), -EINVAL);
	assert_int_equal(query("from=1&x=2&fro%6d=3", "from", out), -EINVAL);
	assert_int_equal(query("from=%zz", "from", out), -EINVAL);
	assert_int_equal(query("from=%00", "from", out), -EINVAL);
	assert_int_equal(
	    query("from=0123456789abcdef", "from", out), -EMSGSIZE);
	assert_int_equal(query("from=0123456789abcde", "from", out), 15);
}

static void
addresses_are_taken_apart(void **state)
{
	static const struct {
		const char *text;
		struct url url;
	} cases[] = {
		{ "ws://localhost", { false, "localhost", 80, "" } },
		{ "wss://a.example/", { true, "a.example", 443, "" } },
		{ "http://127.0.0.1:8080", { false, "127.0.0.1", 8080, "" } },
		{ "https://h:1/a/b", { true, "h", 1, "/a/b" } },
		{ "WS://h:65535/a/", { false, "h", 65535, "/a" } },
		{ "ws://[::1]:8080/x", { false, "::1", 8080, "/x" } },
		{ "wss://[2001:db8::1]", { true, "2001:db8::1", 443, "" } },
		{ "ws://a_b-c.d~e", { false, "a_b-c.d~e", 80, "" } },
		{ "ws://h/%41%20b", { false, "h", 80, "/%41%20b" } },
		{ "ws://h//", { false, "h", 80, "" } },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct url url;

		assert_int_equal(url_parse(cases[i].text, &url), 0);
		assert_int_equal(url.tls, cases[i].url.tls);
		assert_string_equal(url.host, cases[i].url.host);
		assert_int_equal(url.port, cases[i].url.port);
		assert_string_equal(url.path, cases[i].url.path);
	}
}

static void
what_is_no_address_of_ours_is_refused(void **state)
{
	static const char *const cases[] = { "", "ws", "ws:/", "ws://",
		"ws:///x", "ftp://h", "h:80", "//h", "ws://h:", "ws://h:0",
		"ws://h:65536", "ws://h:99999999999999999999", "ws://h:8x",
		"ws://h:-1", "ws://h: 80", "ws://u@h", "ws://u:p@h",
		"ws://h/a?b", "ws://h?b", "ws://h#b", "ws://h/a#b",
		"ws://h/a b", "ws://h/%", "ws://h/%4", "ws://h/%00",
		"ws://h/\xc3\xbc", "ws://h\n", "ws://[::1", "ws://::1",
		"ws://[]", "ws://[::1]x", "ws://[::g]", "ws://[127.0.0.1]",
		"ws://h\\x", " ws://h" };
	struct url url = { .port = 7 };

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		assert_int_equal(url_parse(cases[i], &url), -EINVAL);
	assert_int_equal(url.port, 7);
}

static void
host_and_path_may_fill_their_room_and_no_more(void **state)
{
	char text[1024];
	struct url url;

	(void)state;
	(void)strcpy(text, "ws://");
	memset(text + 5, 'h', 255);
	(void)strcpy(text + 260, "/");
	memset(text + 261, 'p', 510);
	text[771] = '\0';
	assert_int_equal(url_parse(text, &url), 0);
	assert_int_equal(strlen(url.host), 255);
	assert_int_equal(strlen(url.path), 511);
	text[771] = 'p';
	text[772] = '\0';
	assert_int_equal(url_parse(text, &url), -EINVAL);
	memset(text + 5, 'h', 256);
	text[261] = '\0';
	assert_int_equal(url_parse(text, &url), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_are_decoded),
		cmocka_unit_test(broken_escapes_and_nul_bytes_are_refused),
		cmocka_unit_test(
		    what_is_too_long_is_refused_and_nothing_is_written_beyond),
		cmocka_unit_test(every_byte_survives_encoding),
		cmocka_unit_test(an_argument_of_a_query_is_found_by_its_name),
		cmocka_unit_test(an_argument_that_is_not_there_is_not_found),
		cmocka_unit_test(an_argument_given_twice_or_broken_is_refused),
		cmocka_unit_test(addresses_are_taken_apart),
		cmocka_unit_test(what_is_no_address_of_ours_is_refused),
		cmocka_unit_test(host_and_path_may_fill_their_room_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
