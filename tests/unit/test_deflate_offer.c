/*
 * Which offers of permessage-deflate are taken, and what is answered; which
 * answers to our own are.
 */

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

#define S "; server_no_context_takeover"
#define C "; client_no_context_takeover"
#define SIZE "window bits that are not 8 to 15"
#define VALUE "a value where none belongs"
#define OTHER "an extension that was not offered"
#define GRAMMAR "words that RFC 6455 does not know"

/* clang-format off */
static const struct {
	const char *answer;
	const char *why; /* NULL: it is good */
	bool keep_context;
	int window_bits; /* 0: no extension */
} answers[] = {
	{ "", NULL, false, 0 },
	{ " , ,", NULL, false, 0 },
	{ P, NULL, true, 15 },
	{ P S, NULL, false, 15 },
	{ P C, NULL, true, 15 },
	{ P C S, NULL, false, 15 },
	{ P "; client_max_window_bits=8", NULL, true, 15 },
	{ P "; client_max_window_bits=15", NULL, true, 15 },
	{ P "; server_max_window_bits=8", NULL, true, 8 },
	{ P "; server_max_window_bits=9", NULL, true, 9 },
	{ P ";server_max_window_bits=\"12\"", NULL, true, 12 },
	{ P "; server_max_window_bits=15" S C "; client_max_window_bits=10",
	    NULL, false, 15 },
	{ " ,, " P " ; server_max_window_bits = 11 , ", NULL, true, 11 },
	{ P "; server_max_window_bits", SIZE, false, 0 },
	{ P "; server_max_window_bits=7", SIZE, false, 0 },
	{ P "; server_max_window_bits=16", SIZE, false, 0 },
	{ P "; server_max_window_bits=08", SIZE, false, 0 },
	{ P "; server_max_window_bits=-9", SIZE, false, 0 },
	{ P "; client_max_window_bits", SIZE, false, 0 },
	{ P "; client_max_window_bits=0", SIZE, false, 0 },
	{ P "; client_max_window_bits=115", SIZE, false, 0 },
	{ P S "=1", VALUE, false, 0 },
	{ P C "=\"true\"", VALUE, false, 0 },
	{ P S S, "a parameter twice", false, 0 },
	{ P C S C, "a parameter twice", false, 0 },
	{ P "; server_max_window_bits=9; server_max_window_bits=9",
	    "a parameter twice", false, 0 },
	{ P "; mode=fast", "an unknown parameter", false, 0 },
	{ P "; Server_no_context_takeover", "an unknown parameter", false, 0 },
	{ P ", " P, "permessage-deflate twice", false, 0 },
	{ "x-webkit-deflate-frame", OTHER, false, 0 },
	{ "permessage-bzip2, " P, OTHER, false, 0 },
	{ P ", foo; a=b", OTHER, false, 0 },
	{ "Permessage-Deflate", OTHER, false, 0 },
	{ P ";", GRAMMAR, false, 0 },
	{ P "; =1", GRAMMAR, false, 0 },
	{ P "; server_max_window_bits=", GRAMMAR, false, 0 },
	{ P " server_max_window_bits=9", GRAMMAR, false, 0 },
	{ "\"" P "\"", GRAMMAR, false, 0 },
	{ ";", GRAMMAR, false, 0 },
	{ P "; mode=fast;", GRAMMAR, false, 0 },
};
/* clang-format on */

static void
answers_are_taken_or_fail_the_connection(void **state)
{
	(void)state;
	for (size_t i = 0; i < LENGTH(answers); i++) {
		size_t len = strlen(answers[i].answer);
		char *answer = malloc(len > 0 ? len : 1);
		struct deflate_agreement agreement = { .window_bits = 0 };
		const char *why = NULL;
		int result;

		assert_non_null(answer);
		memcpy(answer, answers[i].answer, len);
		result =
		    deflate_answer_read(answer, len, true, &agreement, &why);
		free(answer);
		if (result < 0)
			assert_int_equal(result, -EPROTO);
		else
			assert_int_equal(result, answers[i].window_bits > 0);
		if ((why == NULL) != (answers[i].why == NULL) ||
		    (why != NULL && strcmp(why, answers[i].why) != 0))
			fail_msg("%s: %s", answers[i].answer, why);
		if (agreement.window_bits != answers[i].window_bits ||
		    agreement.keep_context != answers[i].keep_context)
			fail_msg("%s: %d bits", answers[i].answer,
			    agreement.window_bits);
	}
}

static void
who_has_offered_nothing_gets_nothing(void **state)
{
	struct deflate_agreement agreement;
	const char *why = NULL;

	(void)state;
	assert_int_equal(
	    deflate_answer_read(P, strlen(P), false, &agreement, &why),
	    -EPROTO);
	assert_string_equal(why, OTHER);
	assert_int_equal(
	    deflate_answer_read(NULL, 0, false, &agreement, &why), 0);
}

/* What we offer as a client we take as a server, and the other way round. */
static void
our_two_ends_agree(void **state)
{
	struct deflate_agreement agreement;
	struct deflate_answer answer;
	const char *why = NULL;

	(void)state;
	assert_int_equal(
	    deflate_offer_accept(DEFLATE_OFFER, strlen(DEFLATE_OFFER), &answer),
	    1);
	assert_int_equal(deflate_answer_read(answer.text, strlen(answer.text),
			     true, &agreement, &why),
	    1);
	assert_false(agreement.keep_context);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offers_are_taken_declined_or_refused),
		cmocka_unit_test(answers_are_taken_or_fail_the_connection),
		cmocka_unit_test(who_has_offered_nothing_gets_nothing),
		cmocka_unit_test(our_two_ends_agree),
		cmocka_unit_test(a_nul_byte_is_no_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
