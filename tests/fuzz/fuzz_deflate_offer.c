/*
 * Any bytes as Sec-WebSocket-Extensions.  What is taken stays taken behind an
 * extension that nobody knows, and in front of one; our own answer would be
 * taken as an offer, and as an answer.  An answer is refused or understood.
 */

#include "proto/deflate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int
surrounded(const char *before, const uint8_t *data, size_t len,
    const char *after, struct deflate_answer *ret_answer)
{
	size_t front = strlen(before), back = strlen(after);
	char *text = malloc(front + len + back + 1);
	int result;

	assert(text);
	memcpy(text, before, front);
	if (len > 0)
		memcpy(text + front, data, len);
	memcpy(text + front + len, after, back);
	result = deflate_offer_accept(text, front + len + back, ret_answer);
	free(text);
	return result;
}

static int
read_answer(const char *text, size_t len)
{
	struct deflate_agreement agreement = { .window_bits = 0 };
	const char *why = NULL;
	int result = deflate_answer_read(text, len, true, &agreement, &why);

	assert((result < 0) == (why != NULL));
	if (result == 1)
		assert(
		    agreement.window_bits >= 8 && agreement.window_bits <= 15);
	else
		assert(agreement.window_bits == 0);
	return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct deflate_answer answer, again;
	int result = deflate_offer_accept((const char *)data, len, &answer);

	/* A quote that is open may be closed by what follows: not there. */
	assert(surrounded("x;a=b,", data, len, "", &again) == result);
	if (result >= 0)
		assert(surrounded("", data, len, ",y", &again) == result);
	if (result == 1) {
		assert(!strcmp(answer.text, again.text));
		assert(deflate_offer_accept(
			   answer.text, strlen(answer.text), &again) == 1);
		assert(answer.window_bits == again.window_bits);
		assert(read_answer(answer.text, strlen(answer.text)) == 1);
	}
	if (read_answer((const char *)data, len) >= 0)
		assert(result >= 0); /* it is one grammar */
	return 0;
}
