/*
 * believe FILE: tokens on stdin, one a line, by the [auth] of a configuration;
 * for each a line, "yes CLAIMS" or "no WHY".  Faults of FILE go to stderr, with
 * status 1.
 */

#include "daemon/auth/token.h"
#include "daemon/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
on_fault(const char *text, void *arg)
{
	(void)fprintf(arg, "%s\n", text);
}

static void
check(const struct keyring *keyring, const char *text)
{
	enum token_fault fault;
	struct token *token;

	if (token_check(keyring, text, strlen(text), clock_wall_us(), &token,
		&fault) < 0) {
		(void)printf("no %s\n", token_fault_text(fault));
		return;
	}
	(void)printf("yes %s\n", token_claims(token));
	token_unref(token);
}

int
main(int argc, char **argv)
{
	static char line[2 * TOKEN_BYTES_MAX];
	struct conf *conf = conf_new();
	struct keyring *keyring = NULL;

	if (argc != 2 || conf == NULL)
		return 2;
	if (conf_read_files(conf, argv[1], on_fault, stderr) != 0 ||
	    conf_finish(conf, on_fault, stderr) != 0 ||
	    keyring_new(conf, on_fault, stderr, &keyring) != 0) {
		conf_free(conf);
		return 1;
	}
	conf_free(conf);
	while (keyring != NULL && fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		check(keyring, line);
	}
	keyring_unref(keyring);
	return 0;
}
