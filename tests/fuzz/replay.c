/*
 * Runs a fuzzer's entry over files, in place of libFuzzer: so `make check` can
 * replay the corpus with any compiler.  Each file's bytes are on the heap by
 * themselves, where a sanitizer sees a read beyond them.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FILE_BYTES_MAX (2 * 1024 * 1024)

/* All bytes of a file into data; ends the program when it cannot. */
static size_t
read_file(const char *path, uint8_t *data)
{
	FILE *file = fopen(path, "rb");
	size_t len;

	if (!file) {
		perror(path);
		exit(2);
	}
	len = fread(data, 1, FILE_BYTES_MAX, file);
	if (ferror(file)) {
		perror(path);
		exit(2);
	}
	(void)fclose(file); /* it was only read */
	return len;
}

static void
replay(const char *path)
{
	static uint8_t data[FILE_BYTES_MAX];
	size_t len = read_file(path, data);
	uint8_t *exact = malloc(len > 0 ? len : 1);

	if (!exact) {
		perror(path);
		exit(2);
	}
	memcpy(exact, data, len);
	(void)LLVMFuzzerTestOneInput(exact, len); /* always 0 */
	free(exact);
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
