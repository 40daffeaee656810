#!/bin/sh
# build.sh DIR: a Debian package in DIR, from a copy of the tree: what is
# tracked, as it stands now.  Ends with lintian, whose errors are ours.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
version=$(sed -n '1s/.*(\([^-]*\)-.*/\1/p' "$top/systemd/debian/changelog")
copy=$out/earshot-$version

if ! grep -qx "VERSION = $version" "$top/Makefile"; then
	echo "deb: systemd/debian/changelog says $version, the Makefile not" >&2
	exit 1
fi
rm -rf "$copy" "$out"/earshot*_"$version"-*
mkdir "$copy"
cd "$top"
{ git ls-files -z 2>/dev/null || find . -path './build*' -prune -o \
	-type f -print0; } | tar -c --null --files-from=- \
	--ignore-failed-read 2>/dev/null | tar -x -C "$copy"
cp -r systemd/debian "$copy/debian"

# A build below make would inherit its variables, B= for one.
cd "$copy"
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u B \
	dpkg-buildpackage -b -us -uc >"$out/build.log" 2>&1 || {
	tail -n 40 "$out/build.log" >&2
	echo "deb: failed; all of it is in $out/build.log" >&2
	exit 1
}
cd "$top"
rm -rf "$copy"
lintian --allow-root --fail-on error --tag-display-limit 0 \
	"$out"/earshot_"$version"-*.changes
ls "$out"/earshot_"$version"-*.deb
