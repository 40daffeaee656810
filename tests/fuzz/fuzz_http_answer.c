/*
 * Any bytes as an HTTP answer: in two pieces the same comes out as in one.
 * The first byte says where the cut is.
 */

#include "daemon/lws/http_answer.h"

#include <assert.h>
#include <string.h>

#define BODY_MAX 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int
feed(struct http_answer *answer, const uint8_t *data, size_t len, size_t cut)
{
	size_t used = 0;
	int result = 0;

	http_answer_init(answer, BODY_MAX);
	if (cut > 0)
		result = http_answer_feed(answer, data, cut, &used);
	if (result == 0 && cut < len)
		result = http_answer_feed(answer, data + cut, len - cut, &used);
	return result == 0 ? http_answer_end(answer) : result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct http_answer one, two;
	size_t cut;
	int result;

	if (len == 0)
		return 0;
	cut = data[0] < len - 1 ? data[0] : len - 1;
	result = feed(&one, data + 1, len - 1, 0);
	assert(feed(&two, data + 1, len - 1, cut) == result);
	if (result == 1) {
		assert(one.status == two.status && one.status >= 101);
		assert(
		    one.body.len == two.body.len && one.body.len <= BODY_MAX);
		assert(one.body.len == 0 ||
		       memcmp(one.body.data, two.body.data, one.body.len) == 0);
	}
	http_answer_fini(&one);
	http_answer_fini(&two);
	return 0;
}
