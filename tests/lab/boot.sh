#!/bin/bash
# boot.sh [-b] [-t SECONDS] COMMAND [ARG...]: COMMAND on a machine of its own, a
# real systemd as process 1, with this build of earshot installed.
#
#   -b          bare: without earshot
#   -t SECONDS  then all of it is killed, exit code 124 (60)
#
# What COMMAND finds: the tree in /lab/top, the build in /lab/build, both
# read-only; the variables named LAB_* and EARSHOT_TEST_MODE of here; a root file
# system that is its own and is forgotten, /lab/keep, which is $LAB_KEEP of here
# if that is given; loopback as its only network.  Its output comes here as it is
# written, its exit code is ours.  125: it did not come to that; 77: not here
# (root.sh).
#
# How: systemd-nspawn over an overlay of root.sh's packages, our installation
# and a tmpfs, in a mount namespace and in control groups of its own, so that
# nothing stays even if we are killed.  What a machine of this kind does not
# enforce: MemoryMax=, TasksMax=, CPUQuota=, where the kernel's controllers are
# on the old hierarchy, IPAddressDeny=, limits above the machine's own.
# shellcheck disable=SC2317 # traps and the inner shell call functions, too
set -eu -o pipefail

here=$(dirname "$(readlink -f "$0")")
top=$(readlink -f "$here/../..")
build=$(readlink -m "${B:-$top/build}")
limit=60
bare=
while getopts bt: option; do
	case $option in
	b) bare=yes ;;
	t) limit=$OPTARG ;;
	*) exit 125 ;;
	esac
done
shift $((OPTIND - 1))

root=$("$here/root.sh" --there)
work=$(mktemp -d)
groups=()
machine=

# Processes of the lab are in its own control groups, whoever their parent is.
end_group() {
	local pids
	for _ in {1..50}; do
		mapfile -t pids < <(find "$1" -name cgroup.procs -exec cat {} +)
		[ ${#pids[@]} = 0 ] || kill -KILL "${pids[@]}" || true
		find "$1" -depth -type d -exec rmdir {} + || true
		[ -d "$1" ] || break
		sleep 0.02
	done 2>/dev/null
}

cleanup() {
	local group
	[ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null || true
	for group in "${groups[@]}"; do
		end_group "$group"
	done
	wait
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

own_groups() {
	local mount kind options line path
	while read -r _ mount kind options _; do
		case $kind,$options in
		cgroup2,*) line=0:: ;;
		cgroup,*name=systemd*) line=name=systemd: ;;
		*) continue ;;
		esac
		path=$(sed -n "s|^.*$line||p" /proc/self/cgroup)
		path=$mount${path%/}/earshot-lab.$$
		mkdir "$path" && groups+=("$path")
	done </proc/self/mounts
}

mkdir "$work"/{lab,installed,over}
mkdir "$work"/lab/{top,build,keep}
mkfifo "$work/lab/out"
{
	echo '#!/bin/sh'
	echo 'exec >/lab/out 2>&1 </dev/null'
	for name in ${!LAB_*} EARSHOT_TEST_MODE; do
		[ -z "${!name:-}" ] || printf 'export %s=%q\n' "$name" "${!name}"
	done
	echo 'export LAB=/lab TOP=/lab/top B=/lab/build TMPDIR=/tmp'
	echo 'cd /lab/top'
	[ -n "$bare" ] || echo 'systemd-sysusers 2>/dev/null'
	printf 'exec'
	printf ' %q' "$@"
	echo
} >"$work/lab/run"
chmod 755 "$work/lab/run" "$work/lab" "$work"
[ -n "$bare" ] || env -u MAKEFLAGS -u MAKELEVEL make -s -C "$top" \
	B="$build" install-files DESTDIR="$work/installed" PREFIX=/usr >/dev/null
tr -d - </proc/sys/kernel/random/uuid >"$work/machine-id"
install -D -m 444 "$work/machine-id" "$work/installed/etc/machine-id"
own_groups

# Runs inside the mount namespace, and becomes the machine.
become() {
	local group
	for group in "${groups[@]}"; do
		echo "$BASHPID" >"$group/cgroup.procs"
	done
	mount -t tmpfs -o mode=755 lab "$work/over"
	mkdir "$work"/over/{upper,work,root}
	mount -t overlay lab "$work/over/root" -o "$(printf '%s' \
		"lowerdir=$work/installed:$root,upperdir=$work/over/upper," \
		"workdir=$work/over/work")"
	# It notes its machines in /run, and nobody else need see them.
	mount -t tmpfs lab /run
	SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --boot \
		--directory="$work/over/root" --machine="earshot-lab-$$" \
		--register=no --keep-unit --private-network --console=pipe \
		--link-journal=no --resolv-conf=off --timezone=off \
		--bind="$work/lab:/lab" --bind-ro="$top:/lab/top" \
		--bind-ro="$build:/lab/build" \
		--bind="${LAB_KEEP:-$work/lab/keep}:/lab/keep" \
		systemd.unit=lab.target systemd.show_status=no </dev/null
}
export -f become
export work root top build
groups_text=${groups[*]}
export groups_text

cat "$work/lab/out" &
reader=$!
# shellcheck disable=SC2016 # the inner shell's
unshare --mount --propagation private bash -eu -c \
	'read -ra groups <<<"$groups_text"; become' \
	>"$work/console" 2>&1 &
machine=$!
(
	sleep "$limit" &
	trap 'kill $!' TERM
	wait $! && kill -KILL "$machine" && : >"$work/late"
) 2>/dev/null &
timer=$!
code=0
wait "$machine" 2>/dev/null || code=$?
machine=
kill "$timer" 2>/dev/null || true
: <>"$work/lab/out" # who never came to write lets the reader go
wait "$reader" || true
if [ -e "$work/late" ]; then
	echo "lab: not over after $limit s" >&2
	code=124
elif [ "$code" != 0 ] && [ -s "$work/console" ]; then
	sed 's/^/lab: /' "$work/console" >&2
fi
exit "$code"
