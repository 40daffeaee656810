/*
 * earshot: the command line.
 *
 * Options may stand before or after the command, so all of them are read in
 * one pass; each knows which commands it belongs to.
 */

#include "daemon/ctl/ctl.h"
#include "daemon/ctl/control.h"
#include "daemon/loop/loop.h"
#include "proto/channel.h"
#include "proto/decimal.h"
#include "proto/position.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum command {
	COMMAND_NONE = 0,
	COMMAND_PUB = 1,
	COMMAND_SUB = 2,
	COMMAND_LOOK = 4, /* status, channels, connections, feeds */
	COMMAND_KICK = 8,
	COMMAND_LEVEL = 16,
	COMMAND_ACT = 32, /* drain, reload */
	COMMAND_TOP = 64,
};
#define COMMAND_SERVER (COMMAND_PUB | COMMAND_SUB)
#define COMMAND_CONTROL                                                        \
	(COMMAND_LOOK | COMMAND_KICK | COMMAND_LEVEL | COMMAND_ACT |           \
	    COMMAND_TOP)
#define COMMAND_ANY (COMMAND_SERVER | COMMAND_CONTROL)

static const struct {
	const char *name;
	enum command command;
} commands[] = {
	{ "pub", COMMAND_PUB },
	{ "sub", COMMAND_SUB },
	{ "status", COMMAND_LOOK },
	{ "top", COMMAND_TOP },
	{ "channels", COMMAND_LOOK },
	{ "connections", COMMAND_LOOK },
	{ "feeds", COMMAND_LOOK },
	{ "kick", COMMAND_KICK },
	{ "drain", COMMAND_ACT },
	{ "reload", COMMAND_ACT },
	{ "log-level", COMMAND_LEVEL },
};

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
	OPTION_SILENCE,
	OPTION_TOKEN,
	OPTION_COMPRESS,
	OPTION_WHOLE,
	OPTION_BINARY,
	OPTION_CA,
	OPTION_INSECURE,
	OPTION_RETRIES,
	OPTION_CONTROL,
	OPTION_CHANNEL,
	OPTION_CODE,
	OPTION_REASON,
};

#define KICK_REASON_MAX 123 /* RFC 6455 section 5.5 */

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
	{ "silence", required_argument, NULL, OPTION_SILENCE },
	{ "token-file", required_argument, NULL, OPTION_TOKEN },
	{ "compress", no_argument, NULL, OPTION_COMPRESS },
	{ "whole", no_argument, NULL, OPTION_WHOLE },
	{ "binary", no_argument, NULL, OPTION_BINARY },
	{ "ca", required_argument, NULL, OPTION_CA },
	{ "insecure", no_argument, NULL, OPTION_INSECURE },
	{ "retries", required_argument, NULL, OPTION_RETRIES },
	{ "control", required_argument, NULL, OPTION_CONTROL },
	{ "channel", required_argument, NULL, OPTION_CHANNEL },
	{ "code", required_argument, NULL, OPTION_CODE },
	{ "reason", required_argument, NULL, OPTION_REASON },
	{ NULL, 0, NULL, 0 },
};

static const char help_all[] =
    "earshot COMMAND [OPTION...]: talk to earshotd.\n"
    "\n"
    "  pub CHANNEL      publish stdin, a message a line\n"
    "  sub CHANNEL...   print what is published, a message a line\n"
    "\n"
    "  status           how the daemon is; exit code 0: it serves\n"
    "  top              channels and connections, live; q ends\n"
    "  channels         what there is, a line each\n"
    "  connections      who there is, and how far behind\n"
    "  feeds            what publishes by itself\n"
    "  kick CONN        close a connection; or --channel PATTERN\n"
    "  drain            end the daemon, with delivery\n"
    "  reload           read the configuration again\n"
    "  log-level LEVEL  error, warn, info or debug, until the next reload\n"
    "\n"
    "  -u, --url URL    the server (EARSHOT_URL, else " CTL_URL_DEFAULT ")\n"
    "      --ca FILE    certificates (PEM) to trust instead of the system's\n"
    "      --insecure   trust any certificate\n"
    "      --token-file FILE  the token to show the server, read again at\n"
    "                   each connection (EARSHOT_TOKEN, else none)\n"
    "      --retries N  failed attempts in a row after which to give up\n"
    "                   (5 before the first success, then no limit)\n"
    "      --control PATH  the daemon's control socket, for status to\n"
    "                   log-level (EARSHOT_CONTROL, else\n"
    "                   /run/earshot/control.sock)\n"
    "      --json       answers as they are, for programs\n"
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
    "      --silence SECONDS  connect again when nothing was heard for that\n"
    "                    long, pings not answered (30)\n"
    "      --compress    ask for compressed messages, for slow links\n"
    "\n"
    "earshot --help tells the options of every command.\n";

static const char help_control[] =
    "earshot status|channels|connections|feeds [--json]\n"
    "earshot top [-n FRAMES] [--json]\n"
    "earshot kick CONN|--channel PATTERN [--code CODE] [--reason TEXT]\n"
    "earshot drain\n"
    "earshot reload\n"
    "earshot log-level [LEVEL]\n"
    "\n"
    "Looks after a daemon on this machine, over its control socket; for root,\n"
    "the daemon's user and members of its group.\n"
    "\n"
    "      --channel PATTERN  all who hear such a channel\n"
    "      --code CODE        the close code (1008)\n"
    "      --reason TEXT      at most 123 bytes (kicked)\n"
    "  -n, --count N          end top after N frames\n"
    "\n"
    "Exit: 0 done, 1 refused, 2 usage, 3 the daemon drains, 4 it cannot be\n"
    "reached, 5 not allowed.\n"
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
	case OPTION_FROM:
	case OPTION_RAW:
	case OPTION_STATE:
	case OPTION_SILENCE:
	case OPTION_COMPRESS:
		return COMMAND_SUB;
	case OPTION_COUNT:
		return COMMAND_SUB | COMMAND_TOP;
	case OPTION_JSON:
		return COMMAND_SUB | COMMAND_CONTROL;
	case OPTION_URL:
	case OPTION_CA:
	case OPTION_INSECURE:
	case OPTION_RETRIES:
	case OPTION_TOKEN:
		return COMMAND_SERVER;
	case OPTION_CONTROL:
		return COMMAND_CONTROL;
	case OPTION_CHANNEL:
	case OPTION_CODE:
	case OPTION_REASON:
		return COMMAND_KICK;
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
	int64_t number;

	if (decimal_get(optarg, strlen(optarg), &number) < 0 || number < min)
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
	case OPTION_TOKEN:
		if (optarg[0] == '\0')
			return usage("--token-file: expected a file's name");
		options->token_path = optarg;
		break;
	case OPTION_CONTROL:
		options->control_path = optarg;
		break;
	case OPTION_CHANNEL:
		if (!channel_pattern_valid(optarg, strlen(optarg)))
			return usage("--channel %s: expected a channel or a "
				     "pattern",
			    optarg);
		options->kick_channel = optarg;
		break;
	case OPTION_REASON:
		if (strlen(optarg) > KICK_REASON_MAX)
			return usage("--reason: expected at most %d bytes",
			    KICK_REASON_MAX);
		options->kick_reason = optarg;
		break;
	case OPTION_CODE:
		if (take_number(1000, &options->kick_code) < 0 ||
		    options->kick_code > 4999)
			return usage(
			    "--code %s: expected 1000 to 4999", optarg);
		break;
	case OPTION_COUNT:
		if (take_number(1, &options->count) < 0)
			return usage(
			    "--count %s: expected a number from 1 on", optarg);
		break;
	case OPTION_SILENCE:
		if (take_number(CTL_SILENCE_MIN, &options->silence) < 0 ||
		    options->silence > CTL_SILENCE_MAX)
			return usage("--silence %s: expected %d to %d seconds",
			    optarg, CTL_SILENCE_MIN, CTL_SILENCE_MAX);
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
	case OPTION_COMPRESS:
		options->compress = true;
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
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (name != NULL && strcmp(name, commands[i].name) == 0)
			return commands[i].command;
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

/* Arguments of what looks after a daemon. */
static int
check_control(
    struct ctl_options *options, enum command command, const char *name)
{
	const size_t most =
	    command == COMMAND_KICK || command == COMMAND_LEVEL ? 1 : 0;

	if (options->channel_count > most)
		return usage(
		    "%s: what is '%s'?", name, options->channels[most]);
	if (command == COMMAND_KICK &&
	    (options->channel_count > 0) == (options->kick_channel != NULL))
		return usage("kick: expected CONN or --channel PATTERN");
	return 0;
}

static int
check(struct command_line *line, enum command command, const char *name)
{
	struct ctl_options *options = &line->options;
	int error;

	if (!(line->commands & command))
		return usage(
		    "--%s is not for '%s'", name_of(line->narrowed_by), name);
	if (command & COMMAND_CONTROL)
		return check_control(options, command, name);
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
run(const struct ctl_options *options, enum command command, const char *name)
{
	static const int signals[] = { SIGINT, SIGTERM, 0 };
	static const int none[] = { 0 };
	int error;

	if (command & COMMAND_CONTROL)
		return control_run(options, name);
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
	const char *token = getenv("EARSHOT_TOKEN");
	struct command_line line = {
		.options = { .url_text = url != NULL && url[0] != '\0'
					     ? url
					     : CTL_URL_DEFAULT,
		    .retries = -1,
		    .token_text =
			token != NULL && token[0] != '\0' ? token : NULL,
		    .silence = CTL_SILENCE_DEFAULT },
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
		return show(command == COMMAND_PUB    ? help_pub
			    : command == COMMAND_SUB  ? help_sub
			    : command != COMMAND_NONE ? help_control
						      : help_all);
	if (command == COMMAND_NONE)
		return argv[0] != NULL ? usage("no command '%s'", argv[0])
				       : usage("which command?");
	line.options.channels = (const char *const *)argv + 1;
	while (argv[1 + line.options.channel_count] != NULL)
		line.options.channel_count++;
	error = check(&line, command, argv[0]);
	return error != 0 ? error : run(&line.options, command, argv[0]);
}
