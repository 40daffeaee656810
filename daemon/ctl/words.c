/* words: no escape sequence of a server's reaches the terminal. */

#include "daemon/ctl/words.h"

#include <assert.h>

void
words_printable(char *out, size_t size, const char *text, size_t len)
{
	size_t i, n;

	assert(size > 0);
	n = len < size - 1 ? len : size - 1;
	for (i = 0; i < n; i++)
		out[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f
			     ? '?'
			     : text[i];
	out[n] = '\0';
}
