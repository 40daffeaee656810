/* Which offers of permessage-deflate are taken, and what is answered. */

#include "proto/deflate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define P "permessage-deflate"

enum outcome { NONE, TAKEN, TAKEN_BITS, BAD };

/* clang-format off */
static const struct {
	const char *offer;
	enum outcome outcome;
} cases[] = {
	/* what clients send: browsers, python3-websockets, ws, undici */
	{ P "; client_max_window_bits", TAKEN },
	{ P "; server_no_context_takeover; client_no_context_takeover", TAKEN },
	{ P, TAKEN },
	{ P "; client_max_window_bits, " P, TAKEN },
	{ "x-webkit-deflate-frame", NONE },
	/* each parameter, with and without a value */
	{ P ";server_no_context_takeover", TAKEN },
	{ P ";server_no_context_takeover=1", NONE },
	{ P ";server_no_context_takeover=\"true\"", NONE },
	{ P ";client_no_context_takeover", TAKEN },
	{ P ";client_no_context_takeover=0", NONE },
	{ P ";client_max_window_bits=8", TAKEN },
	{ P ";client_max_window_bits=9", TAKEN },
	{ P ";client_max_window_bits=10", TAKEN },
	{ P ";client_max_window_bits=15", TAKEN },
	{ P ";client_max_window_bits=\"15\"", TAKEN },
	{ P ";client_max_window_bits=\"1\\5\"", TAKEN },
	{ P ";client_max_window_bits=7", NONE },
	{ P ";client_max_window_bits=16", NONE },
	{ P ";client_max_window_bits=08", NONE },
	{ P ";client_max_window_bits=1", NONE },
	{ P ";client_max_window_bits=015", NONE },
	{ P ";client_max_window_bits=+9", NONE },
	{ P ";client_max_window_bits=a", NONE },
	{ P ";client_max_window_bits=99999999999999999999999999", NONE },
	{ P ";server_max_window_bits=15", TAKEN_BITS },
	{ P ";server_max_window_bits=\"15\"", TAKEN_BITS },
	{ P ";server_max_window_bits", NONE },
	{ P ";server_max_window_bits=14", NONE },
	{ P ";server_max_window_bits=9", NONE },
	{ P ";server_max_window_bits=8", NONE },
	{ P ";server_max_window_bits=16", NONE },
	{ P ";server_max_window_bits=1500000015", NONE },
	/* unknown, doubled */
	{ P ";window_bits=15", NONE },
	{ P ";Server_no_context_takeover", NONE },
	{ P ";server_no_context_takeover;server_no_context_takeover", NONE },
	{ P ";client_max_window_bits;client_max_window_bits=15", NONE },
	{ P ";server_max_window_bits=15;server_max_window_bits=15", NONE },
	{ P ";client_max_window_bits;server_max_window_bits=15;"
	  "client_no_context_takeover;server_no_context_takeover", TAKEN_BITS },
	/* several offers: the first that can be kept to */
	{ P ";server_max_window_bits=10," P, TAKEN },
	{ P ";server_max_window_bits=10," P ";server_max_window_bits=9", NONE },
	{ P ";server_max_window_bits=10," P ";server_max_window_bits=15",
	    TAKEN_BITS },
	{ P "," P ";server_max_window_bits=15", TAKEN },
	{ "foo; a=b; c, bar, " P "; client_max_window_bits", TAKEN },
	{ "foo; a=\"b\", bar;x", NONE },
	{ "Permessage-Deflate", NONE },
	{ "permessage-deflate-2", NONE },
	{ "permessage-deflat", NONE },
	/* white space and empty elements */
	{ " \t" P " \t; \tclient_max_window_bits \t= \t15 \t, x ", TAKEN },
	{ "," P ",", TAKEN },
	{ " , ,, " P, TAKEN },
	{ "", NONE },
	{ " ", NONE },
	{ ",", NONE },
	/* not the grammar */
	{ ";", BAD },
	{ P ";", BAD },
	{ P ";;server_no_context_takeover", BAD },
	{ P "; =1", BAD },
	{ P "; client_max_window_bits=", BAD },
	{ P "; client_max_window_bits=;", BAD },
	{ P "; client_max_window_bits=\"", BAD },
	{ P "; client_max_window_bits=\"15", BAD },
	{ P "; client_max_window_bits=\"\"", BAD },
	{ P "; client_max_window_bits=\" 15\"", BAD },
	{ P "; client_max_window_bits=\"15\\", BAD },
	{ P "; client_max_window_bits=\"1,5\"", BAD },
	{ P "; client_max_window_bits=15 15", BAD },
	{ P " client_max_window_bits", BAD },
	{ P "=15", BAD },
	{ P ", (foo)", BAD },
	{ P ", foo;", BAD },
	{ P ", f\xc3\xb6o", BAD },
	{ "\"permessage-deflate\"", BAD },
	{ P "\n", BAD },
};
/* clang-format on */

#define BOTH "; server_no_context_takeover; client_no_context_takeover"

static void
offers_are_taken_declined_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t len = strlen(cases[i].offer);
		char *offer = malloc(len > 0 ? len : 1);
		struct deflate_answer answer = { .text = "untouched" };
		enum outcome outcome = BAD;
		int result;

		assert_non_null(offer);
		memcpy(offer, cases[i].offer, len);
		result = deflate_offer_accept(offer, len, &answer);
		free(offer);
		if (result == 0)
			outcome = NONE;
		else if (result == 1)
			outcome = answer.window_bits ? TAKEN_BITS : TAKEN;
		else
			assert_int_equal(result, -EINVAL);
		if (outcome != cases[i].outcome)
			fail_msg("%s: %d", cases[i].offer, (int)outcome);
		assert_string_equal(
		    answer.text, outcome == TAKEN        ? P BOTH
				 : outcome == TAKEN_BITS ? P BOTH
				     "; server_max_window_bits=15"
							 : "untouched");
	}
}

static void
a_nul_byte_is_no_token(void **state)
{
	struct deflate_answer answer;

	(void)state;
	assert_int_equal(
	    deflate_offer_accept(P "\0", sizeof(P), &answer), -EINVAL);
	assert_int_equal(deflate_offer_accept("\0", 1, &answer), -EINVAL);
	assert_int_equal(deflate_offer_accept(NULL, 0, &answer), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offers_are_taken_declined_or_refused),
		cmocka_unit_test(a_nul_byte_is_no_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
