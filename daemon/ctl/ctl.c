/*
 * earshot: the command line.
 *
 * Options may stand before or after the command, so all of them are read in
 * one pass; each knows which commands it belongs to.
 */

#include "daemon/ctl/ctl.h"
#include "daemon/loop/loop.h"
#include "proto/channel.h"
#include "proto/position.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum command { COMMAND_NONE = 0, COMMAND_PUB = 1, COMMAND_SUB = 2 };
#define COMMAND_ANY (COMMAND_PUB | COMMAND_SUB)

enum option_key {
	OPTION_HELP = 'h',
	OPTION_VERSION = 'V',
	OPTION_VERBOSE = 'v',
	OPTION_URL = 'u',
	OPTION_COUNT = 'n',
	OPTION_FROM = 256,
	OPTION_JSON,
	OPTION_RAW,
	OPTION_STATE,
	OPTION_WHOLE,
	OPTION_BINARY,
	OPTION_CA,
	OPTION_INSECURE,
	OPTION_RETRIES,
};

static const char options_short[] = "hVvu:n:";

static const struct option options_long[] = {
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "verbose", no_argument, NULL, OPTION_VERBOSE },
	{ "url", required_argument, NULL, OPTION_URL },
	{ "count", required_argument, NULL, OPTION_COUNT },
	{ "from", required_argument, NULL, OPTION_FROM },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "raw", no_argument, NULL, OPTION_RAW },
	{ "state", required_argument, NULL, OPTION_STATE },
	{ "whole", no_argument, NULL, OPTION_WHOLE },
	{ "binary", no_argument, NULL, OPTION_BINARY },
	{ "ca", required_argument, NULL, OPTION_CA },
	{ "insecure", no_argument, NULL, OPTION_INSECURE },
	{ "retries", required_argument, NULL, OPTION_RETRIES },
	{ NULL, 0, NULL, 0 },
};

static const char help_all[] =
    "earshot COMMAND CHANNEL... [OPTION...]: talk to earshotd.\n"
    "\n"
    "  pub CHANNEL      publish stdin, a message a line\n"
    "  sub CHANNEL...   print what is published, a message a line\n"
    "\n"
    "  -u, --url URL    the server (EARSHOT_URL, else " CTL_URL_DEFAULT ")\n"
    "      --ca FILE    certificates (PEM) to trust instead of the system's\n"
    "      --insecure   trust any certificate\n"
    "      --retries N  failed attempts in a row after which to give up\n"
    "                   (5 before the first success, then no limit)\n"
    "  -v, --verbose    say what happens\n"
    "  -h, --help       also: earshot COMMAND --help\n"
    "  -V, --version\n";

static const char help_pub[] =
    "earshot pub CHANNEL [OPTION...] < MESSAGES\n"
    "\n"
    "Publishes each line of stdin, without its newline: as text if it is\n"
    "UTF-8, else as binary.  Ends with 1 and the number of the first line\n"
    "that was not accepted.\n"
    "\n"
    "      --whole      all of stdin is one message\n"
    "      --binary     everything is binary\n"
    "\n"
    "earshot --help tells the options of every command.\n";

static const char help_sub[] =
    "earshot sub CHANNEL... [OPTION...]\n"
    "\n"
    "Prints each message and a newline.  A lost connection is made again and\n"
    "goes on where it was; what is missing is told on stderr.\n"
    "\n"
    "      --from FROM   oldest; -N, the last N; or a position EPOCH:OFFSET,\n"
    "                    what came after it; without it: what comes from now\n"
    "  -n, --count N     end after N messages\n"
    "      --json        an object a line, as earshot.v1 has it: channel,\n"
    "                    offset, time, and data, text or base64\n"
    "      --state FILE  go on where the last run with this file was\n"
    "      --raw         the raw view of one channel, for other servers\n"
    "\n"
    "earshot --help tells the options of every command.\n";

__attribute__((format(printf, 1, 2))) static int
usage(const char *fmt, ...)
{
	char text[CTL_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ctl_say("%s", text);
	ctl_say("try 'earshot --help'");
	return CTL_USAGE;
}

static unsigned
commands_of(int key)
{
	switch (key) {
	case OPTION_WHOLE:
	case OPTION_BINARY:
		return COMMAND_PUB;
	case OPTION_COUNT:
	case OPTION_FROM:
	case OPTION_JSON:
	case OPTION_RAW:
	case OPTION_STATE:
		return COMMAND_SUB;
	default:
		return COMMAND_ANY;
	}
}

static const char *
name_of(int key)
{
	const struct option *option = options_long;

	while (option->val != key)
		option++;
	return option->name;
}

static int
take_number(int64_t min, int64_t *ret_number)
{
	char *end;

	errno = 0;
	const long long number = strtoll(optarg, &end, 10);

	if (optarg[0] < '0' || optarg[0] > '9' || *end != '\0' || errno != 0 ||
	    number < min)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

struct command_line {
	struct ctl_options options;
	unsigned commands; /* those that know all options given */
	int narrowed_by; /* the option that said so first */
	bool help, version;
};

static int
take_valued(struct command_line *line, int key)
{
	struct ctl_options *options = &line->options;
	struct from from;

	switch (key) {
	case OPTION_URL:
		options->url_text = optarg;
		break;
	case OPTION_CA:
		options->trust.ca_path = optarg;
		break;
	case OPTION_STATE:
		if (optarg[0] == '\0')
			return usage("--state: expected a file's name");
		options->state_path = optarg;
		break;
	case OPTION_COUNT:
		if (take_number(1, &options->count) < 0)
			return usage(
			    "--count %s: expected a number from 1 on", optarg);
		break;
	case OPTION_RETRIES:
		if (take_number(0, &options->retries) < 0)
			return usage("--retries %s: expected a number", optarg);
		break;
	default: /* OPTION_FROM */
		if (from_get(optarg, strlen(optarg), &from) < 0 ||
		    optarg[0] == '\0')
			return usage("--from %s: expected oldest, -N or "
				     "EPOCH:OFFSET",
			    optarg);
		options->from = optarg;
	}
	return 0;
}

static int
take_option(struct command_line *line, int key)
{
	struct ctl_options *options = &line->options;

	if (commands_of(key) != COMMAND_ANY) {
		line->commands &= commands_of(key);
		line->narrowed_by = key;
	}
	switch (key) {
	case OPTION_HELP:
		line->help = true;
		break;
	case OPTION_VERSION:
		line->version = true;
		break;
	case OPTION_VERBOSE:
		options->verbosity++;
		break;
	case OPTION_JSON:
		options->json = true;
		break;
	case OPTION_RAW:
		options->raw = true;
		break;
	case OPTION_WHOLE:
		options->whole = true;
		break;
	case OPTION_BINARY:
		options->binary = true;
		break;
	case OPTION_INSECURE:
		options->trust.insecure = true;
		break;
	default:
		return take_valued(line, key);
	}
	return 0;
}

static enum command
command_named(const char *name)
{
	if (name != NULL && strcmp(name, "pub") == 0)
		return COMMAND_PUB;
	if (name != NULL && strcmp(name, "sub") == 0)
		return COMMAND_SUB;
	return COMMAND_NONE;
}

static int
check_channels(struct ctl_options *options, enum command command)
{
	const char *const name = command == COMMAND_PUB ? "pub" : "sub";
	size_t i;

	if (options->channel_count == 0)
		return usage("%s: which channel?", name);
	if (command == COMMAND_PUB && options->channel_count > 1)
		return usage(
		    "pub: one channel, not also '%s'", options->channels[1]);
	if (options->raw && options->channel_count > 1)
		return usage("sub --raw: one channel, not also '%s'",
		    options->channels[1]);
	if (options->channel_count > CTL_CHANNELS_MAX)
		return usage("sub: at most %d channels", CTL_CHANNELS_MAX);
	for (i = 0; i < options->channel_count; i++)
		if (!channel_name_valid(
			options->channels[i], strlen(options->channels[i])))
			return usage("channel '%s': expected 1 to %d of A-Z "
				     "a-z 0-9 _ - . :, the first a letter or "
				     "digit",
			    options->channels[i], CHANNEL_NAME_MAX);
	if (options->from != NULL && strchr(options->from, ':') != NULL &&
	    options->channel_count > 1)
		return usage(
		    "--from %s: a position is of one channel", options->from);
	return 0;
}

static int
check(struct command_line *line, enum command command)
{
	struct ctl_options *options = &line->options;
	int error;

	if (!(line->commands & command))
		return usage("--%s is not for '%s'", name_of(line->narrowed_by),
		    command == COMMAND_PUB ? "pub" : "sub");
	error = check_channels(options, command);
	if (error != 0)
		return error;
	if (url_parse(options->url_text, &options->url) < 0)
		return usage("URL '%s': expected ws://HOST[:PORT][/PATH], or "
			     "wss, http, https",
		    options->url_text);
	return 0;
}

static int
run(const struct ctl_options *options, enum command command)
{
	static const int signals[] = { SIGINT, SIGTERM, 0 };
	static const int none[] = { 0 };
	int error;

	/* pub ends by them as every filter does; sub says goodbye. */
	error = es_signals_block(command == COMMAND_SUB ? signals : none);
	if (error < 0) {
		ctl_say("signals: %s", strerror(-error));
		return CTL_FAILED;
	}
	return command == COMMAND_PUB ? pub_run(options) : sub_run(options);
}

static int
show(const char *text)
{
	return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? CTL_FAILED
							      : CTL_OK;
}

int
main(int argc, char **argv)
{
	const char *url = getenv("EARSHOT_URL");
	struct command_line line = {
		.options = { .url_text = url != NULL && url[0] != '\0'
					     ? url
					     : CTL_URL_DEFAULT,
		    .retries = -1 },
		.commands = COMMAND_ANY,
	};
	static char name[] = "earshot";
	enum command command;
	int key, error;

	if (argc < 1)
		return usage("which command?");
	argv[0] = name; /* for getopt_long()'s messages */
	while ((key = getopt_long(
		    argc, argv, options_short, options_long, NULL)) != -1) {
		if (key == '?') /* getopt_long() has said what */
			return CTL_USAGE;
		error = take_option(&line, key);
		if (error != 0)
			return error;
	}
	argv += optind;
	command = command_named(argv[0]);
	if (line.version)
		return show("earshot " EARSHOT_VERSION "\n");
	if (line.help)
		return show(command == COMMAND_PUB   ? help_pub
			    : command == COMMAND_SUB ? help_sub
						     : help_all);
	if (command == COMMAND_NONE)
		return argv[0] != NULL ? usage("no command '%s'", argv[0])
				       : usage("which command?");
	line.options.channels = (const char *const *)argv + 1;
	while (argv[1 + line.options.channel_count] != NULL)
		line.options.channel_count++;
	error = check(&line, command);
	return error != 0 ? error : run(&line.options, command);
}
