#!/bin/sh
# fetch-lws.sh [--is-built] PREFIX: libwebsockets 4.3.5 into PREFIX.
#
# For Debian 12, whose own version lacks the event library interface we need:
# Debian 13's source with its security patches, every file checked against
# the sums of the signed index.  Builds in PREFIX/lws and writes the stamp
# last, so that what was interrupted is simply built again.  --is-built only
# tells whether there is nothing to do.
set -eu

is_built=
if [ "$1" = --is-built ]; then
	is_built=yes
	shift
fi
prefix=$(readlink -m "$1")
stamp=$prefix/.lws-stamp
log=$prefix/lws.log
# The installed files name their place, so a moved tree builds again.
key=$( (cat "$0"; echo "$prefix") | sha256sum | cut -c 1-64)

built() {
	[ "$(cat "$stamp" 2>/dev/null)" = "$key" ] &&
		[ -f "$prefix/lib/pkgconfig/libwebsockets.pc" ]
}

if [ -n "$is_built" ]; then
	built
	exit
fi

say() {
	printf 'setup: %s\n' "$*" >&2
}

# What is long goes into the log; its end is shown when a step fails.
step() {
	say "$1"
	shift
	if ! "$@" >>"$log" 2>&1; then
		tail -n 30 "$log" >&2
		say "failed; the whole output is in $log"
		exit 1
	fi
}

# An apt of its own: Debian 13's source index beside the machine's lists,
# from the mirrors the machine already uses, without its post-invoke hooks.
apt_conf() {
	mkdir -p "$work/parts" "$work/lists/partial" \
		"$work/cache/archives/partial"
	cat >"$work/apt.conf" <<-END
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	Dir::Etc::SourceList "/dev/null";
	Dir::Etc::SourceParts "$work/parts";
	Dir::State::Lists "$work/lists";
	Dir::Cache "$work/cache";
	APT::Sandbox::User "root";
	END
}

mirror() {
	# shellcheck disable=SC2016 # the dollars are apt's
	apt-get indextargets --format '$(RELEASE) $(REPO_URI)' \
		'Created-By: Packages' |
		awk -v want="$1" '$1 == want { print $2; exit }'
}

source_list() {
	# shellcheck disable=SC1091 # not ours
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	main=$(mirror "$codename")
	security=$(mirror "$codename-security")
	if [ -z "$main" ] || ! grep -q '^ID=debian$' /etc/os-release; then
		say "no Debian mirror here; please install libwebsockets >= 4.3"
		exit 1
	fi
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	{
		echo "deb-src [signed-by=$keys] $main trixie main"
		[ -z "$security" ] || echo "deb-src [signed-by=$keys]" \
			"$security trixie-security main"
	} >"$work/parts/trixie.list"
}

versions() {
	apt-cache -c "$work/apt.conf" showsrc libwebsockets |
		sed -n 's/^Version: \(4\.3\.5-.*\)/\1/p' | sort -Vru
}

# Some mirrors do not serve .dsc files, so take the tarballs only, by the
# sums of the index.  The orig tarball may be in one pool and not the other.
download() {
	for v in $(versions); do
		apt-get -c "$work/apt.conf" --print-uris source \
			"libwebsockets=$v" || return 1
	done >"$work/uris"
	sed -n "s/^'\([^']*\)' \(libwebsockets_[^ ]*\.tar\.[a-z0-9]*\) [0-9]* \
\(SHA256:[0-9a-f]*\)$/\1 \2 \3/p" "$work/uris" |
		while read -r uri file sum; do
			[ -s "$work/$file" ] ||
				/usr/lib/apt/apt-helper -c "$work/apt.conf" \
					download-file "$uri" "$work/$file" "$sum" ||
				rm -f "$work/$file"
		done
	version=$(versions | head -n 1)
	[ -n "$version" ] && [ -s "$work/libwebsockets_4.3.5.orig.tar.gz" ] &&
		[ -s "$work/libwebsockets_$version.debian.tar.xz" ]
}

unpack() {
	version=$(versions | head -n 1)
	mkdir "$work/src"
	tar xf "$work/libwebsockets_4.3.5.orig.tar.gz" -C "$work/src" \
		--strip-components=1
	tar xf "$work/libwebsockets_$version.debian.tar.xz" -C "$work/src"
	grep -v '^ *\(#\|$\)' "$work/src/debian/patches/series" |
		while read -r patch; do
			echo "patch $patch"
			patch -d "$work/src" -s -p1 \
				<"$work/src/debian/patches/$patch" || exit 1
		done
}

# Static, one service thread, no HTTP/2, no foreign event library: the glue
# in daemon/lws is the event library.  Netlink and the line per connection's
# birth are off because nothing of ours reads them.
configure() {
	# It takes its version from the git tree around it, and that is ours.
	GIT_CEILING_DIRECTORIES=$prefix cmake -S "$work/src" -B "$work/build" \
		-DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib \
		-DLWS_WITH_STATIC=ON -DLWS_WITH_SHARED=OFF \
		-DLWS_STATIC_PIC=ON -DDISABLE_WERROR=ON \
		-DLWS_WITH_SSL=ON -DLWS_IPV6=ON -DLWS_UNIX_SOCK=ON \
		-DLWS_WITHOUT_EXTENSIONS=OFF -DLWS_WITH_ZLIB=ON \
		-DLWS_WITH_BUNDLED_ZLIB=OFF -DLWS_WITH_HTTP2=OFF \
		-DLWS_WITH_CUSTOM_HEADERS=ON -DLWS_WITH_PEER_LIMITS=ON \
		-DLWS_MAX_SMP=1 -DLWS_WITH_NETLINK=OFF \
		-DLWS_LOG_TAG_LIFECYCLE=0 \
		-DLWS_WITH_EVLIB_PLUGINS=OFF -DLWS_WITH_LIBEVENT=OFF \
		-DLWS_WITH_LIBUV=OFF -DLWS_WITH_LIBEV=OFF \
		-DLWS_WITH_GLIB=OFF -DLWS_WITH_SYS_METRICS=OFF \
		-DLWS_WITH_SECURE_STREAMS=OFF -DLWS_WITH_SYS_SMD=OFF \
		-DLWS_WITH_SYS_STATE=ON -DLWS_WITH_LEJP=OFF \
		-DLWS_WITH_LEJP_CONF=OFF -DLWS_WITH_CONMON=OFF \
		-DLWS_WITH_UPNG=OFF -DLWS_WITH_GZINFLATE=OFF \
		-DLWS_WITH_JPEG=OFF -DLWS_WITH_DLO=OFF -DLWS_WITH_LHP=OFF \
		-DLWS_WITH_MINIMAL_EXAMPLES=OFF -DLWS_WITHOUT_TESTAPPS=ON
}

mkdir -p "$prefix"
work=$prefix/lws

# Two at once would write into each other's tree; the second finds it done.
exec 9>"$prefix/.lws-lock"
flock 9
if built; then
	exit 0
fi
rm -rf "$work" "$stamp" "$log"
mkdir -p "$work"
apt_conf
source_list
step "libwebsockets: reading Debian 13's source index" \
	apt-get -c "$work/apt.conf" -qq update
step "libwebsockets: fetching 4.3.5 (16 MB)" download
step "libwebsockets: unpacking, applying Debian's patches" unpack
step "libwebsockets: configuring" configure
step "libwebsockets: building (about half a minute)" \
	cmake --build "$work/build" -j 2
step "libwebsockets: installing into build/deps" \
	cmake --install "$work/build"
printf '%s\n' "$key" >"$stamp"
rm -rf "$work"
