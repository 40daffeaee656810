/*
 * replay: the main of a fuzzer outside `make fuzz`.
 *
 * Every file named is given to LLVMFuzzerTestOneInput() once.  A file that
 * cannot be read is a failure: a corpus that vanished must not pass.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
main(int argc, char **argv)
{
	uint8_t *input = malloc(INPUT_MAX);

	if (argc < 2 || input == NULL) {
		fprintf(stderr, "replay: no input or no memory\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		if (file == NULL) {
			perror(argv[i]);
			return 2;
		}
		size_t len = fread(input, 1, INPUT_MAX, file);
		fclose(file);

		/* Its own block, so that reading past the end is seen. */
		uint8_t *exact = malloc(len > 0 ? len : 1);
		if (exact == NULL)
			return 2;
		for (size_t n = 0; n < len; n++)
			exact[n] = input[n];
		(void)LLVMFuzzerTestOneInput(exact, len); /* always 0 */
		free(exact);
	}
	free(input);
	return 0;
}
