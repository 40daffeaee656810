/*
 * Any bytes as a configuration, read as one text and as two: every fault is one
 * printable line, their number is right, and what has none is complete.
 */

#include "conf/conf.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
count(const char *text, void *arg)
{
	for (const char *c = text; *c; c++)
		assert((unsigned char)*c >= 0x20 && *c != 0x7f);
	assert(strlen(text) < 4096);
	++*(int *)arg;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data;
	size_t parts[2] = { len, len / 2 };

	for (int i = 0; i < 2; i++) {
		struct conf *conf = conf_new();
		int told = 0, faults;

		assert(conf);
		faults =
		    conf_read_text(conf, "f", text, parts[i], count, &told);
		faults += conf_read_text(
		    conf, "g", text + parts[i], len - parts[i], count, &told);
		faults += conf_finish(conf, count, &told);
		assert(faults == told);
		assert(conf_channel_for(conf, "a", 1));
		if (faults == 0)
			assert(conf->listener_count > 0 &&
			       conf->listeners[0].address);
		conf_free(conf);
	}
	return 0;
}
