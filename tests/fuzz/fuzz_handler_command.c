/* Any line of a process: a command or a fault, never more than its bytes. */

#include "daemon/handler/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char fault[WIRE_FAULT_BYTES_MAX];
	struct wire_command command;
	uint8_t *line = malloc(size > 0 ? size : 1);

	if (!line)
		return 0;
	memcpy(line, data, size);
	if (wire_get_command(line, size, &command, fault) < 0) {
		if (strnlen(fault, sizeof(fault)) == sizeof(fault))
			abort();
	} else if (command.payload &&
		   (command.payload < line ||
		       command.payload + command.payload_len > line + size)) {
		abort();
	}
	free(line);
	return 0;
}
