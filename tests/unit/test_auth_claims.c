/*
 * What the claims of a signed token come to: when, whose, for whom, what may
 * be done with it; and that it is one piece that outlives its keyring.
 */

#include "daemon/base/memory.h"
#include "proto/base64.h"
#include "tests/lib/token_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define NOW (1000 * RIG_S)

/* The token of these claims, which HS256 signs; NULL: *ret_fault says why. */
static struct token *
check(const char *lines, const char *claims, int64_t now_us,
    enum token_fault *ret_fault)
{
	char conf[1024], text[RIG_TEXT_MAX];
	struct keyring *keyring;
	struct token *token;
	size_t len = rig_token(text, HS256, claims);

	(void)snprintf(conf, sizeof(conf), "token_key = @/hs.key\n%s\n", lines);
	keyring = rig_keyring(conf);
	*ret_fault = rig_check(keyring, text, len, now_us, &token);
	keyring_unref(keyring);
	return token;
}

static enum token_fault
fault_at(const char *lines, const char *claims, int64_t now_us)
{
	enum token_fault fault;

	token_unref(check(lines, claims, now_us, &fault));
	return fault;
}

static enum token_fault
fault_of(const char *lines, const char *claims)
{
	return fault_at(lines, claims, NOW);
}

static struct token *
believed(const char *lines, const char *claims)
{
	enum token_fault fault;
	struct token *token = check(lines, claims, NOW, &fault);

	assert_int_equal(fault, TOKEN_FAULT_COUNT);
	return token;
}

static void
a_token_ends_at_exp_and_the_leeway(void **state)
{
	static const struct {
		const char *lines, *exp;
		int64_t last_us; /* at which it is believed */
	} cases[] = {
		{ "", "1000", 1030 * RIG_S - 1 },
		{ "token_leeway = 0s", "1000", 1000 * RIG_S - 1 },
		{ "token_leeway = 1h", "1000", 4600 * RIG_S - 1 },
		{ "token_leeway = 250ms", "1000", 1000 * RIG_S + 249999 },
		{ "token_leeway = 0s", "1000.5", 1000 * RIG_S + 499999 },
		{ "token_leeway = 0s", "1e3", 1000 * RIG_S - 1 },
		{ "token_leeway = 0s", "1E+3", 1000 * RIG_S - 1 },
		{ "token_leeway = 0s", "1000000e-3", 1000 * RIG_S - 1 },
		{ "token_leeway = 0s", "0.001e6", 1000 * RIG_S - 1 },
		{ "token_leeway = 0s", "1000.0000019", 1000 * RIG_S },
		{ "token_leeway = 0s", "1000.00000000000000000000000000009e0",
		    1000 * RIG_S - 1 },
		{ "token_leeway = 0s", "100000000000000000000000000000000e-29",
		    1000 * RIG_S - 1 },
		{ "", "0e99999999999999999999", 30 * RIG_S - 1 },
		{ "", "1e-99999999999999999999", 30 * RIG_S - 1 },
		{ "", "0.0", 30 * RIG_S - 1 },
		{ "", "-0", 30 * RIG_S - 1 },
		{ "token_leeway = 0s", "1795175498",
		    INT64_C(1795175498) * RIG_S - 1 },
		{ "token_leeway = 0s", "253402300799",
		    INT64_C(253402300799) * RIG_S - 1 },
		{ "", "-5", 25 * RIG_S - 1 },
		{ "", "0", 30 * RIG_S - 1 },
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const int64_t last = cases[i].last_us;
		enum token_fault fault;
		struct token *token;
		char claims[128];

		(void)snprintf(
		    claims, sizeof(claims), "{\"exp\":%s}", cases[i].exp);
		token = check(cases[i].lines, claims, last, &fault);
		assert_int_equal(fault, TOKEN_FAULT_COUNT);
		assert_true(token_expires_us(token) == last + 1);
		token_unref(token);
		assert_int_equal(
		    fault_at(cases[i].lines, claims, last + 1), TOKEN_EXPIRED);
		assert_int_equal(
		    fault_at(cases[i].lines, claims, INT64_MAX), TOKEN_EXPIRED);
	}
}

static void
a_token_begins_at_nbf_less_the_leeway(void **state)
{
	static const char claims[] = "{\"exp\":5000,\"nbf\":1000}";

	(void)state;
	assert_int_equal(fault_at("", claims, 970 * RIG_S), TOKEN_FAULT_COUNT);
	assert_int_equal(fault_at("", claims, 970 * RIG_S - 1), TOKEN_NOT_YET);
	assert_int_equal(fault_at("token_leeway = 0s", claims, 1000 * RIG_S),
	    TOKEN_FAULT_COUNT);
	assert_int_equal(
	    fault_at("token_leeway = 0s", claims, 1000 * RIG_S - 1),
	    TOKEN_NOT_YET);
	assert_int_equal(fault_at("", claims, 0), TOKEN_NOT_YET);
	assert_int_equal(fault_at("", claims, INT64_MIN), TOKEN_NOT_YET);
	/* When it was issued is not asked. */
	assert_int_equal(
	    fault_at("", "{\"exp\":5000,\"iat\":4000}", 0), TOKEN_FAULT_COUNT);
}

static void
a_claim_of_the_wrong_kind_refuses_it(void **state)
{
	static const char *const claims[] = { "{}", "{\"nbf\":1}",
		"{\"exp\":null}", "{\"exp\":\"2000\"}", "{\"exp\":true}",
		"{\"exp\":[2000]}", "{\"exp\":1795175498000}",
		"{\"exp\":253402300800}", "{\"exp\":1e300}", "{\"exp\":-1e300}",
		"{\"exp\":2000,\"nbf\":\"1\"}", "{\"exp\":2000,\"nbf\":null}",
		"{\"exp\":2000,\"nbf\":1e18}", "{\"exp\":2000,\"iat\":\"1\"}",
		"{\"exp\":2000,\"iss\":1}", "{\"exp\":2000,\"iss\":null}",
		"{\"exp\":2000,\"sub\":7}", "{\"exp\":2000,\"sub\":[\"a\"]}",
		"{\"exp\":2000,\"jti\":7}", "{\"exp\":2000,\"aud\":7}",
		"{\"exp\":2000,\"aud\":null}", "{\"exp\":2000,\"aud\":{}}",
		"{\"exp\":2000,\"aud\":[1]}",
		"{\"exp\":2000,\"aud\":[\"earshot\",null]}",
		"{\"exp\":2000,\"earshot\":null}",
		"{\"exp\":2000,\"earshot\":[]}",
		"{\"exp\":2000,\"earshot\":\"publish\"}",
		"{\"exp\":2000,\"earshot\":{\"subcribe\":[\"a\"]}}",
		"{\"exp\":2000,\"earshot\":{\"subscribe\":[],\"never\":[]}}",
		"{\"exp\":2000,\"earshot\":{\"subscribe\":null}}",
		"{\"exp\":2000,\"earshot\":{\"subscribe\":\"**\"}}",
		"{\"exp\":2000,\"earshot\":{\"subscribe\":{\"a\":1}}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[1]}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[\"\"]}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[\"a\",\"***\"]}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[\"/a\"]}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[\"a b\"]}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[[\"a\"]]}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[\"a\",[]]}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[\"a\\u0000\"]}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[],\"publish\":[]}}",
		"{\"exp\":2000,\"sub\":\"a\\u0000\"}",
		"{\"exp\":2000,\"sub\":\"\\ud800\"}" };

	(void)state;
	for (size_t i = 0; i < LENGTH(claims); i++)
		if (fault_of("token_audience = earshot", claims[i]) !=
		    TOKEN_CLAIMS)
			fail_msg("%s", claims[i]);
}

static void
claims_that_are_not_ours_are_let_be(void **state)
{
	static const char *const claims[] = {
		"{\"exp\":2000,\"Exp\":null,\"EARSHOT\":7,\"scope\":\"a b\"}",
		"{\"exp\":2000,\"n\":123456789012345678901234567890}",
		"{\"exp\":2000,\"a\":{\"exp\":\"x\",\"sub\":1,\"b\":[[1.5e3]]}"
		"}",
		"{\"exp\":2000,\"earshot\":{}}",
		"{\"exp\":2000,\"earshot\":{\"publish\":[]}}",
		"{\"exp\":2000,\"a\":{\"b\":1,\"b\":2},\"c\":\"\\ud800\"}",
		"{\"exp\":2000,\"\":\"\\u00e4\\n\\\"\xc3\xa4\"}",
	};

	(void)state;
	for (size_t i = 0; i < LENGTH(claims); i++) {
		struct token *token = believed("", claims[i]);

		/* Not a digit, not an escape is another. */
		assert_string_equal(token_claims(token), claims[i]);
		assert_false(token_may(token, CONF_SUBSCRIBE, "a", 1));
		assert_false(token_may(token, CONF_PUBLISH, "a", 1));
		token_unref(token);
	}
}

static void
claims_are_one_line(void **state)
{
	struct token *token =
	    believed("", "\r\n{\n\t\"exp\" :\r2000,\n\"a\":\"\\n\\t\"\n}\n");

	(void)state;
	assert_string_equal(
	    token_claims(token), "  {  \"exp\" : 2000, \"a\":\"\\n\\t\" } ");
	token_unref(token);
}

static void
an_issuer_that_is_wanted_has_to_be_it(void **state)
{
	static const char lines[] = "token_issuer = https://id.example/";

	(void)state;
	assert_int_equal(
	    fault_of(lines, "{\"exp\":2000,\"iss\":\"https://id.example/\"}"),
	    TOKEN_FAULT_COUNT);
	assert_int_equal(
	    fault_of(lines,
		"{\"exp\":2000,\"iss\":\"https:\\/\\u002fid.example\\/\"}"),
	    TOKEN_FAULT_COUNT);
	assert_int_equal(fault_of(lines, "{\"exp\":2000}"), TOKEN_ISSUER);
	assert_int_equal(
	    fault_of(lines, "{\"exp\":2000,\"iss\":\"\"}"), TOKEN_ISSUER);
	assert_int_equal(
	    fault_of(lines, "{\"exp\":2000,\"iss\":\"https://id.example\"}"),
	    TOKEN_ISSUER);
	assert_int_equal(
	    fault_of(lines, "{\"exp\":2000,\"iss\":\"https://ID.example/\"}"),
	    TOKEN_ISSUER);
	assert_int_equal(fault_of("", "{\"exp\":2000,\"iss\":\"anybody\"}"),
	    TOKEN_FAULT_COUNT);
}

/* RFC 7519 section 4.1.3: who is not named must refuse it. */
static void
an_audience_has_to_name_us(void **state)
{
	static const char lines[] = "token_audience = earshot";

	(void)state;
	assert_int_equal(fault_of(lines, "{\"exp\":2000,\"aud\":\"earshot\"}"),
	    TOKEN_FAULT_COUNT);
	assert_int_equal(
	    fault_of(lines, "{\"exp\":2000,\"aud\":[\"earshot\"]}"),
	    TOKEN_FAULT_COUNT);
	assert_int_equal(
	    fault_of(lines, "{\"exp\":2000,\"aud\":[\"a\",\"\",\"earshot\"]}"),
	    TOKEN_FAULT_COUNT);
	assert_int_equal(fault_of(lines, "{\"exp\":2000}"), TOKEN_AUDIENCE);
	assert_int_equal(
	    fault_of(lines, "{\"exp\":2000,\"aud\":[]}"), TOKEN_AUDIENCE);
	assert_int_equal(fault_of(lines, "{\"exp\":2000,\"aud\":\"earshot2\"}"),
	    TOKEN_AUDIENCE);
	assert_int_equal(
	    fault_of(lines, "{\"exp\":2000,\"aud\":[\"ears\",\"hot\"]}"),
	    TOKEN_AUDIENCE);
	assert_int_equal(
	    fault_of("", "{\"exp\":2000,\"aud\":\"earshot\"}"), TOKEN_AUDIENCE);
	assert_int_equal(
	    fault_of("", "{\"exp\":2000,\"aud\":[]}"), TOKEN_FAULT_COUNT);
}

static bool
may(const struct token *token, enum conf_rights right, const char *channel)
{
	return token_may(token, right, channel, strlen(channel));
}

static void
a_right_is_for_its_patterns_only(void **state)
{
	struct token *token = believed("",
	    "{\"exp\":2000,\"sub\":\"joe\",\"earshot\":{\"subscribe\":"
	    "[\"ticks.*\",\"n\\u0065ws\"],\"publish\":[\"jobs.**\"]}}");

	(void)state;
	assert_string_equal(token_subject(token), "joe");
	assert_true(may(token, CONF_SUBSCRIBE, "ticks.a"));
	assert_true(may(token, CONF_SUBSCRIBE, "news"));
	assert_false(may(token, CONF_SUBSCRIBE, "ticks"));
	assert_false(may(token, CONF_SUBSCRIBE, "ticks.a.b"));
	assert_false(may(token, CONF_SUBSCRIBE, "jobs.a"));
	assert_true(may(token, CONF_PUBLISH, "jobs.a.b"));
	assert_false(may(token, CONF_PUBLISH, "ticks.a"));
	assert_false(may(token, CONF_PUBLISH, "news"));
	assert_false(may(NULL, CONF_SUBSCRIBE, "news"));
	token_unref(token);
}

static void
so_many_patterns_and_no_more(void **state)
{
	char claims[RIG_TEXT_MAX];

	(void)state;
	for (int count = TOKEN_PATTERNS_MAX; count <= TOKEN_PATTERNS_MAX + 1;
	     count++) {
		size_t len = (size_t)snprintf(claims, sizeof(claims),
		    "{\"exp\":2000,\"earshot\":{\"publish\":[");

		for (int i = 1; i <= count; i++)
			len +=
			    (size_t)snprintf(claims + len, sizeof(claims) - len,
				"\"c%d\"%s", i, i < count ? "," : "]}}");
		if (count > TOKEN_PATTERNS_MAX) {
			assert_int_equal(fault_of("", claims), TOKEN_CLAIMS);
		} else {
			struct token *token = believed("", claims);

			assert_true(may(token, CONF_PUBLISH, "c1"));
			assert_true(may(token, CONF_PUBLISH, "c64"));
			assert_false(may(token, CONF_PUBLISH, "c65"));
			token_unref(token);
		}
	}
}

/* Memory of one token is bounded by its text, whatever the text is. */
static void
strings_of_every_length_fit(void **state)
{
	char claims[RIG_TEXT_MAX];

	(void)state;
	for (int n = 1; n < 120; n++) {
		(void)snprintf(claims, sizeof(claims),
		    "{\"exp\":2000,\"sub\":\"%0*d\",\"iss\":\"\",\"aud\":[]}",
		    n, 0);
		token_unref(believed("", claims));
		(void)snprintf(claims, sizeof(claims),
		    "{\"exp\":2000,\"aud\":[\"\",\"\",\"%0*d\",\"\",\"e\"]}", n,
		    0);
		token_unref(believed("token_audience = e", claims));
		(void)snprintf(claims, sizeof(claims),
		    "{\"exp\":2000,\"earshot\":{\"publish\":[\"%0*d\"]}}", n,
		    0);
		token_unref(believed("", claims));
	}
}

/* A reload: whose key, issuer or audience has gone, is known no more. */
static void
a_keyring_knows_the_tokens_of_its_keys(void **state)
{
	static const char claims[] =
	    "{\"exp\":2000,\"iss\":\"i\",\"aud\":[\"e\",\"f\"]}";
	static const struct {
		const char *lines;
		bool knows;
	} cases[] = {
		{ "token_key = @/hs.key\ntoken_audience = e\n", true },
		{ RIG_ALL_KEYS "token_audience = f\ntoken_issuer = i\n", true },
		{ "token_key = @/hs.key\ntoken_audience = g\n", false },
		{ "token_key = @/hs.key\n", false },
		{ "token_key = @/hs.key\ntoken_audience = e\ntoken_issuer = "
		  "j\n",
		    false },
		{ "token_key = @/rs.key\ntoken_audience = e\n", false },
		{ "token_key = @/a.key\ntoken_audience = e\n", false },
	};
	struct token *token = believed("token_audience = e", claims);

	(void)state;
	rig_write("a.key", "0123456789abcdef0123456789abcdeg", 32);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		struct keyring *keyring = rig_keyring(cases[i].lines);

		assert_int_equal(keyring_knows(keyring, token), cases[i].knows);
		keyring_unref(keyring);
	}
	assert_false(keyring_knows(NULL, token));
	token_unref(token);
}

static void
the_last_reference_frees(void **state)
{
	struct keyring *keyring = rig_keyring(RIG_ALL_KEYS);
	char text[RIG_TEXT_MAX];
	struct token *token;
	size_t len = rig_token(text, ES256, "{\"exp\":2000,\"sub\":\"x\"}");

	(void)state;
	assert_ptr_equal(keyring_ref(keyring), keyring);
	keyring_unref(keyring);
	assert_int_equal(
	    rig_check(keyring, text, len, NOW, &token), TOKEN_FAULT_COUNT);
	keyring_unref(keyring);
	assert_ptr_equal(token_ref(token), token);
	token_unref(token);
	assert_string_equal(token_subject(token), "x");
	token_unref(token);
	token_unref(NULL);
	keyring_unref(NULL);
}

static void
each_allocation_may_fail(void **state)
{
	static const char claims[] =
	    "{\"exp\":2000,\"iss\":\"i\",\"aud\":[\"e\"],\"earshot\":"
	    "{\"publish\":[\"a\"],\"subscribe\":[\"b\",\"c\"]}}";
	struct keyring *keyring =
	    rig_keyring(RIG_ALL_KEYS "token_audience = e\n");

	(void)state;
	for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
		char text[RIG_TEXT_MAX];
		size_t len = rig_token(text, (enum algorithm)i, claims);
		enum token_fault fault = TOKEN_FAULT_COUNT;
		struct token *token = NULL;
		int64_t n = 0;
		int error;

		do {
			memory_fail_nth(++n);
			error = token_check(
			    keyring, text, len, NOW, &token, &fault);
			assert_int_equal(fault, TOKEN_FAULT_COUNT);
			assert_true(error == 0 || error == -ENOMEM);
			assert_int_equal(error == 0, token != NULL);
			assert_int_equal(memory_fail_seen(), error != 0);
		} while (error == -ENOMEM);
		memory_fail_nth(0);
		assert_int_equal(n, 3); /* what is decoded; the token */
		token_unref(token);
	}
	keyring_unref(keyring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_ends_at_exp_and_the_leeway),
		cmocka_unit_test(a_token_begins_at_nbf_less_the_leeway),
		cmocka_unit_test(a_claim_of_the_wrong_kind_refuses_it),
		cmocka_unit_test(claims_that_are_not_ours_are_let_be),
		cmocka_unit_test(claims_are_one_line),
		cmocka_unit_test(an_issuer_that_is_wanted_has_to_be_it),
		cmocka_unit_test(an_audience_has_to_name_us),
		cmocka_unit_test(a_right_is_for_its_patterns_only),
		cmocka_unit_test(so_many_patterns_and_no_more),
		cmocka_unit_test(strings_of_every_length_fit),
		cmocka_unit_test(a_keyring_knows_the_tokens_of_its_keys),
		cmocka_unit_test(the_last_reference_frees),
		cmocka_unit_test(each_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, rig_begin, rig_end);
}
