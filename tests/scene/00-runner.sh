#!/bin/bash
# The runner itself: what it must call a failure, and what it must count.
set -eu

tree=$TMPDIR/tree
mkdir -p "$tree/tests/unit" "$tree/tests/scene" "$tree/build/tests/unit"
cp "$TOP/tests/run" "$tree/tests/run"

# A "cmocka binary": two pass, one fails, one is skipped, one never ends.
touch "$tree/tests/unit/test_five.c"
cat >"$tree/build/tests/unit/test_five" <<'END'
#!/bin/sh
for name in one two; do
	printf '[ RUN      ] %s\n[       OK ] %s\n' $name $name
done
printf '[ RUN      ] three\n[  FAILED  ] three\n'
printf '[ RUN      ] four\n[  SKIPPED ] four\n[ RUN      ] five\n'
exit 2
END
chmod +x "$tree/build/tests/unit/test_five"

scene() {
	cat >"$tree/tests/scene/$1"
}
scene 01-fine.sh <<'END'
[ -d "$TMPDIR" ] && touch "$TMPDIR/left-for-the-runner"
bash -c 'kill -INT $$' && echo SIGINT is ignored && exit 1
exit 0
END
scene 02-says-no.sh <<'END'
echo this is why
echo '  FAILED to please: got no, expected yes'
exit 3
END
scene 03-leaves-a-child.sh <<'END'
sleep 1000 &
END
scene 04-leaves-a-stranger.sh <<'END'
setsid sleep 1000 >/dev/null 2>&1 </dev/null &
END
scene 05-hangs.sh <<'END'
# limit: 1
trap '' TERM
sleep 1000
END
scene 06-skipped.sh <<'END'
exit 77
END
scene 07-slow.sh <<'END'
# slow
exit 0
END
scene 08-hidden-report.sh <<'END'
reports=${ASAN_OPTIONS#log_path=}
echo 'a leak' >"${reports%%:*}.1"
END

fail() {
	printf '%s\n' "$1" "$out" >&2
	exit 1
}

run() {
	# As a shell's background job: SIGINT is ignored.
	out=$(trap '' INT && B=build TEST_JOBS=8 "$tree/tests/run" "$@" 2>&1) &&
		code=0 || code=$?
	last=${out##*$'\n'}
}

run check
[ "$code" = 1 ] || fail "exit code $code, not 1"
[ "$last" = "3 passed, 7 failed, 2 skipped" ] || fail "counted: $last"
for text in 'three failed' 'five did not end' 'this is why' \
	'03-leaves-a-child' 'left running: sleep' 'not over after 1 s' \
	'report of asan'; do
	[[ $out == *"$text"* ]] || fail "does not say: $text"
done
[ "$(grep -c '^     left running' <<<"$out")" = 2 ] || fail 'missed one left'
[[ $out == *$'\nFAIL scene/02-says-no: exit code 3; to please: got no,'* ]] ||
	fail 'does not name it at the end'

run all 07 01
[ "$code $last" = "0 2 passed, 0 failed" ] || fail "all, by name: $code $last"
run sanitizer
[ "$last" = "2 passed, 2 failed, 1 skipped" ] || fail "sanitizer: $last"
