/*
 * Out of memory inside OpenSSL, too: each of its allocations fails once.  A
 * token that is not believed for that is the worst that may happen: no crash,
 * nothing believed that should not be, nothing left behind, and the next check
 * is as ever.
 */

#include "daemon/base/memory.h"
#include "tests/lib/token_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <cmocka.h>

#define NOW (1000 * RIG_S)

static void *
take(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return memory_alloc(n);
}

static void *
change(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return memory_realloc(p, n);
}

static void
give(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	memory_free(p);
}

static void
a_check_that_runs_out_of_memory_believes_nothing(void **state)
{
	struct keyring *keyring = rig_keyring(RIG_ALL_KEYS);

	(void)state;
	for (int i = 0; i < ALGORITHM_COUNT; i++) {
		char text[RIG_TEXT_MAX], other[RIG_TEXT_MAX];
		const enum algorithm algorithm = (enum algorithm)i;
		size_t len = rig_token(text, algorithm, "{\"exp\":1001}");
		size_t other_len =
		    rig_token(other, algorithm, "{\"exp\":1002}");
		bool failed = true;

		/* With the end of the other one's signature. */
		assert_int_equal(len, other_len);
		memcpy(other + len - 20, text + len - 20, 20);
		for (int64_t n = 1; failed; n++) {
			enum token_fault fault = TOKEN_FAULT_COUNT;
			struct token *token = NULL;
			int error;

			memory_fail_nth(n);
			error = token_check(
			    keyring, text, len, NOW, &token, &fault);
			failed = memory_fail_seen();
			memory_fail_nth(0);
			assert_true(error == 0 || error == -ENOMEM ||
				    fault == TOKEN_UNSIGNED_BY_US);
			assert_int_equal(error == 0, token != NULL);
			token_unref(token);
			memory_fail_nth(n);
			error = token_check(
			    keyring, other, other_len, NOW, &token, NULL);
			memory_fail_nth(0);
			assert_true(error == -ENOMEM || error == -EACCES);
			assert_int_equal(ERR_peek_error(), 0);
			assert_believed(keyring, text, NOW);
		}
	}
	keyring_unref(keyring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    a_check_that_runs_out_of_memory_believes_nothing),
	};

	if (CRYPTO_set_mem_functions(take, change, give) != 1)
		return 1;
	return cmocka_run_group_tests(tests, rig_begin, rig_end);
}
