#ifndef CONF_AUTH_H
#define CONF_AUTH_H

/*
 * auth: the settings of [auth], a part of conf.h.
 *
 * Memory   Strings belong to the struct conf.
 * Units    *_us are microseconds.
 */

#include "conf/feeds.h"

#define CONF_TOKEN_KEYS_MAX 16

enum conf_rights { CONF_SUBSCRIBE = 1, CONF_PUBLISH = 2 };

struct conf_auth {
	unsigned anonymous; /* enum conf_rights, default subscribe */
	struct conf_list token_keys; /* paths; none: tokens are not looked at */
	struct conf_list token_keys_where; /* "FILE:LINE: " of each */
	char *token_issuer, *token_audience; /* NULL: not given */
	int64_t token_leeway_us; /* 30 s */
};

#endif
