/*
 * Runs a fuzzer's entry over files, in place of libFuzzer: so `make check` can
 * replay the corpus with any compiler.  Each file's bytes are on the heap by
 * themselves, where a sanitizer sees a read beyond them.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FILE_BYTES_MAX (2 * 1024 * 1024)

static void
replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(FILE_BYTES_MAX), *exact;
	size_t len;

	if (!file || !data) {
		perror(path);
		exit(2);
	}
	len = fread(data, 1, FILE_BYTES_MAX, file);
	if (ferror(file)) {
		perror(path);
		exit(2);
	}
	(void)fclose(file); /* it was only read */
	exact = realloc(data, len > 0 ? len : 1);
	(void)LLVMFuzzerTestOneInput(exact ? exact : data, len); /* is 0 */
	free(exact ? exact : data);
}

int
main(int argc, char **argv)
{
	if (argc < 2) {
		(void)fprintf(stderr, "usage: %s FILE...\n", argv[0]);
		return 2;
	}
	for (int i = 1; i < argc; i++)
		replay(argv[i]); /* a fault ends the program */
	printf("%d files replayed\n", argc - 1);
	return 0;
}
