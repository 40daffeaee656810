#!/bin/bash
# make install and uninstall: everything in its place, nothing left; completion
# knows what the programs know; the catalog has every id.
set -eu

fail() {
	printf '78-install: %s\n' "$*" >&2
	exit 1
}

root=$TMPDIR/root
make_it() {
	env -u MAKEFLAGS -u MAKELEVEL make -s -C "$TOP" B="$B" "$@" \
		DESTDIR="$root" >"$TMPDIR/make.log" || fail "$(<"$TMPDIR/make.log")"
}

for prefix in /usr /opt/earshot; do
	mkdir -p "$root$prefix/share/man"
	touch "$root$prefix/share/man/mine"
	make_it install-files PREFIX="$prefix"
	for place in 755:sbin/earshotd 755:bin/earshot 644:share/man/man8/earshotd.8 \
		644:share/man/man5/earshot.conf.5 \
		644:share/bash-completion/completions/earshot \
		644:lib/systemd/system/earshot.service \
		644:lib/systemd/system/earshot.socket \
		644:lib/sysusers.d/earshot.conf \
		644:lib/systemd/catalog/earshot.catalog \
		644:share/doc/earshot/examples/earshot.conf \
		644:share/doc/earshot/dropins/jit.conf; do
		[ "$(stat -c %a "$root$prefix/${place#*:}")" = "${place%%:*}" ] ||
			fail "$place below $prefix"
	done
	grep -qx "ExecStart=$prefix/sbin/earshotd -c /etc/earshot/earshot.conf" \
		"$root$prefix/lib/systemd/system/earshot.service" ||
		fail "the unit starts another program than $prefix/sbin/earshotd"
	[ "$prefix" = /usr ] || ! grep -rq '/usr/s[bh]' "$root$prefix/lib/systemd/system" ||
		fail "/usr is named below $prefix"
	"$EARSHOTD" --check -c "$root$prefix/share/doc/earshot/examples/earshot.conf" ||
		fail "the example has faults"
	make_it uninstall PREFIX="$prefix"
	left=$(find "$root" ! -type d)
	[ "$left" = "$root$prefix/share/man/mine" ] || fail "left: $left"
	[ ! -e "$root$prefix/share/doc/earshot" ] || fail "left: share/doc/earshot"
	rm "$root$prefix/share/man/mine"
done
echo 'installed and uninstalled, with two prefixes'

# complete WORD...: what is offered for the last word, in one line.
mkdir "$TMPDIR/bin"
ln -s "$EARSHOTD" "$TMPDIR/bin/earshotd"
ln -s "$EARSHOT" "$TMPDIR/bin/earshot"
complete_words() {
	PATH=$TMPDIR/bin:$PATH bash -c '. "$TOP/daemon/ctl/earshot.bash"
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		_earshot "$1"
		echo "${COMPREPLY[*]}"' bash "$@"
}
offers() {
	local wanted=$1
	shift
	case " $(complete_words "$@") " in
	*" $wanted "*) ;;
	*) fail "$*: $wanted is not offered: $(complete_words "$@")" ;;
	esac
}
offers pub earshot ''
offers sub earshot s
offers --from earshot sub ticks --f
offers --whole earshot pub --
offers --url earshot --u
offers oldest earshot sub --from o
offers --check earshotd --
[ "$(complete_words earshot sub --from x)" = '' ] || fail 'x is offered'
echo 'completion offers what the programs know'

ids() {
	grep -oE '[0-9a-f]{32}' "$1" | sort
}
[ "$(ids "$TOP/daemon/base/events.h")" = \
	"$(sed -n 's/^-- //p' "$TOP/systemd/earshot.catalog" | sort)" ] ||
	fail 'events.h and earshot.catalog name different ids'
ids "$TOP/daemon/base/events.h" | uniq -d | grep . && fail 'an id twice'
unused=$(sed -n 's/^#define \(EVENT_[A-Z_]*\) .*/\1/p' \
	"$TOP/daemon/base/events.h" | while read -r name; do
	grep -rqw "$name" "$TOP"/daemon --include=*.c || echo "$name"
done)
[ -z "$unused" ] || fail "nobody says $unused"
echo 'every id is said and explained'
