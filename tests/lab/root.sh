#!/bin/bash
# root.sh [--there]: the lab's root file system, made once, its path printed.
#
# Debian's packages of section [lab-root] in tests/setup/packages.txt, from the
# sources this machine's own apt has, in ${EARSHOT_LAB:-/var/tmp/earshot-lab},
# outside the tree because it is as large as a small system (200 MB, half a
# minute).  Nothing is written into it afterwards: boot.sh lays a file system of
# its own over it.  --there only tells whether there is one.
#
# Exit code 77: not here (not root, no namespaces, not Debian), in one sentence.
set -eu -o pipefail

here=$(dirname "$(readlink -f "$0")")
list=$here/../setup/packages.txt
cache=${EARSHOT_LAB:-/var/tmp/earshot-lab}

not_here() {
	echo "lab: $*" >&2
	exit 77
}

[ "$(id -u)" = 0 ] || not_here "a real systemd is booted by root only"
unshare --mount true 2>/dev/null || not_here "no namespaces can be made here"
# shellcheck disable=SC1091 # not ours
suite=$(. /etc/os-release && echo "${ID:-} ${VERSION_CODENAME:-}")
[[ $suite == debian\ ?* ]] || not_here "this is no Debian"
suite=${suite#* }

packages=$(awk '/^\[/ { inside = ($0 == "[lab-root]"); next }
	inside && NF && !/^#/ { print $1 }' "$list" | sort -u | paste -sd,)
key=$(cat "$0" <(echo "$suite $packages") | sha256sum | cut -c 1-16)
root=$cache/$suite-$key
if [ -e "$root/.complete" ]; then
	echo "$root"
	exit 0
fi
[ "${1:-}" != --there ] || not_here "no root file system yet; make deps-lab"

# The machine's own sources that know the suite, and how its apt reaches them.
sources() {
	local file
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
		[ -s "$file" ] && grep -qE "^(deb .*|Suites:.*)$suite" "$file" &&
			printf '%s\n' "$file"
	done
	true
}

# Only what the lab asks for is started: no timers, no device manager, nothing
# that the packages enable.
prepare() {
	local units=$1/etc/systemd/system unit
	rm -rf "$units" "$1/var/log/journal" "$1/etc/fstab"
	mkdir -p "$units" "$1/lab"
	: >"$1/etc/fstab"
	for unit in timers.target getty.target ldconfig.service \
		systemd-binfmt.service systemd-hwdb-update.service \
		systemd-journal-catalog-update.service \
		systemd-machine-id-commit.service systemd-modules-load.service \
		systemd-networkd.service systemd-resolved.service \
		systemd-sysctl.service systemd-sysusers.service \
		systemd-timesyncd.service systemd-udevd.service \
		systemd-update-done.service systemd-update-utmp.service; do
		ln -s /dev/null "$units/$unit"
	done
	# Named here, a unit is kept when it has ended, and how it ended with it.
	cat >"$units/lab.target" <<-'END'
	[Unit]
	Requires=basic.target
	After=basic.target earshot.service earshot.socket
	Wants=lab.service
	END
	cat >"$units/lab.service" <<-'END'
	[Unit]
	After=basic.target
	SuccessAction=exit-force
	FailureAction=exit-force

	[Service]
	Type=exec
	ExecStart=/lab/run
	END
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ ! -e "$root/.complete" ] || { echo "$root" && exit 0; }
mapfile -t sources < <(sources)
[ ${#sources[@]} -gt 0 ] || not_here "apt has no source for $suite here"
echo "lab: making a root file system of $packages (half a minute)" >&2
rm -rf "$cache"/*.new "${cache:?}/$suite"-*
apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries)' \
	>"$cache/apt.conf" || true
mmdebstrap --quiet --variant=minbase --mode=root --include="$packages" \
	--aptopt="$cache/apt.conf" "$suite" "$root.new" "${sources[@]}" \
	>"$cache/log" 2>&1 || {
	tail -n 20 "$cache/log" >&2
	echo "lab: no root file system; all of it is in $cache/log" >&2
	exit 1
}
prepare "$root.new"
touch "$root.new/.complete"
mv "$root.new" "$root"
echo "$root"
