#!/bin/bash
# The text checks of `make lint`: each must find what it is for, and only that.
set -eu

cd "$TMPDIR"
mkdir -p tests/lint daemon/{base,loop,tape,hub,net,lws} proto
cp "$TOP/tests/lint/floors.txt" tests/lint

fail() {
	printf '%s\n' "$1" "$out" >&2
	exit 1
}

lint() {
	out=$("$PY" "$TOP/tests/lint/house.py" "$@") && code=0 || code=$?
}

# finds FILE TEXT: the file, whose content is stdin, has one finding: TEXT.
finds() {
	cat >"$1"
	lint "$1"
	[[ $code = 1 && $out == "$1:"*": $2" ]] || fail "$1, expected: $2"
}

header() {
	printf '#ifndef %s\n#define %s\n#endif\n' "$1" "$1"
}

header DAEMON_BASE_CLOCK_H >daemon/base/clock.h
header DAEMON_HUB_HUB_H >daemon/hub/hub.h
header DAEMON_HUB_SIEVE_H >daemon/hub/sieve.h
header DAEMON_LOOP_LOOP_H >daemon/loop/loop.h
header DAEMON_NET_NET_H >daemon/net/net.h
header DAEMON_TAPE_TAPE_H >daemon/tape/tape.h

# What is allowed.
cat >daemon/net/fine.c <<'END'
#include "daemon/net/net.h"
#include "daemon/base/clock.h"
#include "daemon/hub/hub.h"
#include <libwebsockets.h>
#include <unistd.h>
END
lint daemon/net/fine.c daemon/*/*.h
[ "$code" = 0 ] || fail 'a finding where there is nothing to find'

# Floors, doors, foreign headers, quiet rooms.
finds daemon/hub/up.c 'daemon/hub may not include daemon/net' \
	<<<'#include "daemon/net/net.h"'
finds daemon/loop/up.c 'daemon/loop may not include daemon/tape' \
	<<<'#include "daemon/tape/tape.h"'
finds daemon/net/window.c 'daemon/hub/sieve.h is not a door of daemon/hub' \
	<<<'#include "daemon/hub/sieve.h"'
finds daemon/hub/eyes.c 'daemon/hub may not see libwebsockets' \
	<<<'#include <libwebsockets.h>'
finds daemon/net/eyes.c 'daemon/net may not see event2' \
	<<<'#include <event2/event.h>'
finds daemon/tape/noise.c 'daemon/tape is quiet: no pthread.h' \
	<<<'#include <pthread.h>'
finds proto/noise.c 'proto is quiet: no daemon/base/clock.h' \
	<<<'#include "daemon/base/clock.h"'
finds daemon/hub/short.c '"hub.h": no such file from the top' \
	<<<'#include "hub.h"'

# Waits, and what wakes from them.
for call in 'pthread_cond_wait(&c, &m)' 'pthread_mutex_lock(&m)' 'usleep(1)' \
	'sem_wait(&s)' 'eventfd(0, 0)' 'pthread_create(&t, NULL, f, NULL)'; do
	finds daemon/net/wait.c "${call%%(*}: who waits, waits in daemon/loop" \
		<<<"	$call;"
done
printf '\tpthread_cond_wait(&c, &m);\n' >daemon/loop/wait.c
printf '\tpthread_sigmask(SIG_BLOCK, &s, NULL);\n' >daemon/net/fine.c
lint daemon/loop/wait.c daemon/net/fine.c
[ "$code" = 0 ] || fail 'daemon/loop may wait, and a mask is no wait'

# Sizes.  A function of 70 lines is not too long, one of 71 is.
lines() {
	for ((i = 0; i < $1; i++)); do
		echo '	;'
	done
}
{ printf 'void\nlong_enough(void)\n{\n' && lines 70 && echo '}'; } \
	>daemon/net/fine.c
lint daemon/net/fine.c
[ "$code" = 0 ] || fail 'a function of 70 lines is allowed'
{ printf 'void\ntoo_long(void)\n{\n' && lines 71 && echo '}'; } |
	finds daemon/net/long.c 'a function of 71 lines, more than 70'
lines 601 | finds daemon/net/much.c '601 lines, more than 600'
{ header DAEMON_NET_MUCH_H && lines 148; } |
	finds daemon/net/much.h '151 lines, more than 150'
printf '\t\t\t/* %070d */\n' 0 |
	finds daemon/net/wide.c 'wider than 80 columns'

# Guards, unfinished work.
header NET_H | finds daemon/net/guard.h 'the guard is not DAEMON_NET_GUARD_H'
word=TO
finds daemon/net/later.c "${word}DO: unfinished work has an issue" \
	<<<"/* ${word}DO: later */"

# A room of three files needs a DESIGN that names its .c files.
touch daemon/lws/{one,two,three}.c
lint daemon/lws/*.c
[ "$out" = 'daemon/lws/DESIGN:1: missing: daemon/lws has 3 files' ] ||
	fail 'a missing DESIGN'
printf 'Code structure\none.c  the first\ntwo.c  the other\n' >daemon/lws/DESIGN
lint daemon/lws/*.c
[ "$out" = 'daemon/lws/DESIGN:1: does not name three.c' ] ||
	fail 'a file that the DESIGN does not name'
