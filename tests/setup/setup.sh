#!/bin/sh
# setup.sh SECTION...: install what is missing of packages.txt's sections.
#
# The happy path: everything is there, nothing is printed, no network is
# used.  Otherwise apt installs what dpkg does not know, as root or through
# sudo, and where no libwebsockets >= 4.3 can be had, fetch-lws.sh builds one
# into build/deps.  Without apt, or without a way to be root, one message
# names what is needed.  Every step can be interrupted and run again.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
deps=$(cd "$here/../.." && pwd)/build/deps
list=$here/packages.txt
lws_min=4.3
PKG_CONFIG_PATH=$deps/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
NODE_PATH=$deps/node_modules:/usr/share/nodejs
export PKG_CONFIG_PATH NODE_PATH

say() {
	printf 'setup: %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# The lines of one section: package and proof.
section() {
	awk -v want="[$1]" '
		/^\[/ { inside = ($0 == want); seen = seen || inside; next }
		inside && NF && !/^#/ { print }
		END { exit !seen }' "$list" ||
		die "no section $1 in tests/setup/packages.txt"
}

# Is the thing itself here, whoever brought it?
proven() {
	case ${1:-} in
	command) command -v "$2" ;;
	module) pkg-config --exists "$2" ;;
	library) echo 'int main(void){return 0;}' |
		gcc -x c -o /dev/null - "-l$2" ;;
	python) /usr/bin/python3 -c "import $2" ;;
	node) node -e "require('$2')" ;;
	*) false ;;
	esac >/dev/null 2>&1
}

# Of the given sections, the packages that are neither installed nor proven.
missing() {
	lines=$(for s in "$@"; do section "$s"; done)
	names=$(printf '%s\n' "$lines" | awk '{ print $1 }' | sort -u)
	# shellcheck disable=SC2086 # names are words
	known=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' \
		$names 2>/dev/null | sed -n 's/^installed //p') || true
	printf '%s\n' "$lines" | while read -r name proof; do
		printf '%s\n' "$known" | grep -qxF -- "$name" && continue
		# shellcheck disable=SC2086 # two words: what kind, which
		proven $proof || printf '%s\n' "$name"
	done | sort -u
}

can_be_root() {
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# A source without network must not stop us as long as the packages come from
# another one: so update may fail, install may not.
update_once() {
	[ -z "${updated:-}" ] || return 0
	say "apt-get update"
	as_root apt-get -qq update >&2 ||
		say "apt-get update: some sources failed, going on"
	updated=yes
}

install_quietly() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
		-o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 \
		--no-install-recommends "$@" >"$deps/apt.log" 2>&1
}

# The second try is for what was killed in the middle of unpacking.
apt_install() {
	can_be_root ||
		die "not root and no sudo; please run: apt-get install $*"
	update_once
	say "apt-get install $*"
	mkdir -p "$deps"
	install_quietly "$@" || {
		as_root dpkg --configure -a >&2 && install_quietly "$@"
	} || {
		tail -n 30 "$deps/apt.log" >&2
		die "apt could not install: $*"
	}
}

# A node that dpkg does not know must not be doubled by node-ws' own.
npm_ws() {
	command -v npm >/dev/null 2>&1 && command -v node >/dev/null 2>&1 &&
		! dpkg-query -W nodejs >/dev/null 2>&1 || return 1
	say "npm install ws (into build/deps)"
	mkdir -p "$deps" && cp "$here/package.json" "$deps/package.json" &&
		npm install --prefix "$deps" --silent --no-audit --no-fund >&2
}

# EventSource for Node is in no package of Debian 12; what wants it is skipped
# where npm cannot bring it.
npm_undici() {
	node -e 'require("undici").EventSource.name' >/dev/null 2>&1 ||
		! command -v npm >/dev/null 2>&1 || {
		say "npm install undici (into build/deps)"
		mkdir -p "$deps"
		npm install --prefix "$deps" --no-save --silent --no-audit \
			--no-fund undici@6 >&2 || say "no undici; going on"
	}
}

packages() {
	absent=$(missing "$@")
	if printf '%s\n' "$absent" | grep -qxF node-ws && npm_ws; then
		absent=$(printf '%s\n' "$absent" | grep -vxF node-ws) || true
	fi
	# shellcheck disable=SC2086 # names are words
	[ -z "$absent" ] || apt_install $absent
}

lws_there() {
	PKG_CONFIG_PATH='' pkg-config --exists \
		"libwebsockets >= $lws_min" 2>/dev/null ||
		"$here/fetch-lws.sh" --is-built "$deps"
}

lws_packaged() {
	candidate=$(apt-cache policy libwebsockets-dev 2>/dev/null |
		sed -n 's/^ *Candidate: *//p')
	[ -n "$candidate" ] && [ "$candidate" != "(none)" ] &&
		dpkg --compare-versions "$candidate" ge "$lws_min"
}

# The distribution's package if it is new enough, else our own build.
libwebsockets() {
	if can_be_root; then
		update_once
	fi
	if lws_packaged; then
		apt_install libwebsockets-dev
	else
		packages lws
		"$here/fetch-lws.sh" "$deps"
	fi
}

without_apt() {
	absent=$(missing "$@" | tr '\n' ' ')
	[ -z "$want_lws" ] || lws_there ||
		absent="${absent}libwebsockets-dev (>= $lws_min)"
	[ -z "$absent" ] ||
		die "no apt here; please install, by Debian's names: $absent"
}

[ $# -gt 0 ] || set -- build
want_lws=
for s in "$@"; do
	[ "$s" != build ] || want_lws=yes
done
if ! command -v apt-get >/dev/null 2>&1; then
	without_apt "$@"
	exit 0
fi
packages "$@"
case " $* " in
*" test "*) npm_undici ;;
esac
[ -z "$want_lws" ] || lws_there || libwebsockets
