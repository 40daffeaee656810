#!/usr/bin/python3
# sanitizer: yes
"""[command NAME]: lines become messages; what a command does wrong is its own.

Back-off, one log line a state change, nothing of it left behind.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

ZEROS = int(os.environ.get("ZEROS", "60000000"))
KIB = 1024
HOLD = "exec sleep 1000"  # what holds still, for the group's SIGTERM
QUICK = "backoff_min = 20ms\nbackoff_max = 80ms\n"


def command(name, line, more=""):
    return f"[command {name}]\nexec = {line}\nchannel = {name}\n{more}\n"


def shell(name, script, more=""):
    """A command of that name, into a channel of that name."""
    path = scene.TMP / f"{name}.sh"
    path.write_text(script + "\n")
    return command(name, f"sh {path}", more)


def feed(daemon, what, name):
    return daemon.metric(f"feed_{what}", feed=name)


def running(mark):
    """Processes with that word among their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(int(pid))
    return found


def scene_vmstat():
    with scene.Daemon(command("vmstat", "vmstat -n 1")) as daemon:
        consumer = daemon.ws("vmstat", "?from=oldest")
        lines = [consumer.read_text() for _ in range(4)]
        scene.check(lines[0].startswith("procs"), lines[0])
        scene.check(lines[1].split()[:2] == ["r", "b"], lines[1])
        for line in lines[2:]:
            scene.check(len(line.split()) >= 16 and
                        all(w.isdigit() for w in line.split()), line)


def scene_all_of_it_in_order():
    go = scene.TMP / "go"
    conf = shell("seq", f"until [ -e {go} ]; do sleep 0.01; done\n"
                 f"seq 1 100000\n{HOLD}")
    for more in "", "[limits]\nfeed_read_bytes_max = 4K\n":
        with scene.Daemon(conf + more) as daemon:
            url = f"ws://127.0.0.1:{daemon.port}/ws/seq"
            readers = [scene.Client(k, url, 100000, deflate=False)
                       for k in ("ws", "websockets")]
            daemon.wait_metric('channel_consumers{channel="seq"}', 2)
            go.touch()
            wanted = scene.digest(b"%d" % i for i in range(1, 100001))
            for reader in readers:
                scene.equal(reader.result(60)["sha256"], wanted,
                            f"seq 1 100000 by {reader.kind}"
                            + (", 4 KiB an iteration" if more else ""))
            go.unlink()


def scene_what_a_line_is():
    script = r"""printf 'text\n\n \r\n\377\376 not text\ngr\303\274n\n\303\n'
printf '%02000d\n' 0
printf 'the end'"""
    conf = shell("lines", script, "backoff_min = 1h\nbackoff_max = 1h") + \
        "[limits]\nmessage_bytes_max = 1K\n"
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("lines", "?from=oldest")
        for opcode, line in (
                (scene.TEXT, b"text"), (scene.TEXT, b""),
                (scene.TEXT, b" \r"), (scene.BINARY, b"\xff\xfe not text"),
                (scene.TEXT, "grün".encode()), (scene.BINARY, b"\xc3"),
                (scene.TEXT, b"0" * 1024), (scene.TEXT, b"the end")):
            scene.equal(consumer.read_message(), (opcode, line),
                        f"{line[:20]!r}")
        scene.equal(feed(daemon, "lines_cut_total", "lines"), 1,
                    "a line that was too long is cut and counted")
        daemon.wait_log("WARN command's lines of more than 1024")


def scene_no_end_of_a_line():
    conf = shell("zero", f"head -c {ZEROS} /dev/zero\necho\necho after\n"
                 + HOLD)
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("zero", "?from=oldest")
        scene.equal(len(consumer.read_message()[1]), 1024 * KIB,
                    f"{ZEROS} bytes without a newline: the first MiB")
        scene.equal(consumer.read_text(), "after", "and on with the next")
        status = open(f"/proc/{daemon.pid}/status", encoding="ascii").read()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
        scene.check(peak < 60000 * scene.SLOWNESS,
                    f"the daemon's memory stayed within {peak} KiB")


def scene_failures():
    """Not there, dies at once, is killed: back-off, and the daemon lives."""
    if scene.MODE == "valgrind":
        raise scene.Skip("a child that cannot exec reports the parent's heap")
    conf = command("nothing", "/no/such/program", QUICK) + \
        command("nowhere", "no-such-program", QUICK) + \
        command("file", f"{scene.TMP}", QUICK) + \
        command("false", "false", QUICK) + \
        shell("killed", "kill -9 $$", QUICK) + \
        shell("fine", f"echo fine\n{HOLD}")
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("fine", "?from=oldest")
        scene.equal(consumer.read_text(), "fine", "another is not disturbed")
        for name, why in (
                ("nothing", "cannot be started: No such file or directory"),
                ("nowhere", "cannot be started: No such file or directory"),
                ("file", "cannot be started: Permission denied"),
                ("false", "ended with status 1"),
                ("killed", "was ended by SIGKILL")):
            pattern = rf"WARN command ({why}).*; again in (\d+) ms.*={name}\b"
            fifth = daemon.wait_log(pattern, count=5)
            scene.check(40 <= int(fifth[2]) <= 80,
                        f"{name}: the fifth time again in {fifth[2]} ms")
            first = int(daemon.wait_log(pattern)[2])
            scene.check(10 <= first <= 20, f"the first time in {first} ms")
        scene.wait_until(lambda: feed(daemon, "restarts_total", "false") >= 5,
                         "restarts are counted")
        about = [line for line in daemon.log().splitlines()
                 if re.search(r"=false\b", line)]
        kinds = {"runs": 0, "ended": 0}
        for line in about:
            kinds["runs" if "command runs" in line else "ended"] += 1
        scene.check(len(about) == kinds["runs"] + kinds["ended"] and
                    abs(kinds["runs"] - kinds["ended"]) <= 1,
                    f"a log line each state: {kinds}")
        scene.equal(feed(daemon, "messages_total", "fine"), 1, "still one")
        scene.equal(daemon.http("GET", "/readyz").status, 200, "ready")


def scene_backoff_is_over_when_it_ran():
    go = scene.TMP / "ran"
    conf = shell("ran", f"[ -e {go} ] || exit 1\nrm {go}; sleep 1; exit 1",
                 "backoff_min = 100ms\nbackoff_max = 400ms\n")
    with scene.Daemon(conf) as daemon:
        pattern = r"status 1; again in (\d+) ms"
        daemon.wait_log(pattern, count=4)
        scene.check(int(daemon.wait_log(pattern, count=4)[1]) >= 200,
                    "it waits longer and longer")
        go.touch()
        scene.wait_until(lambda: not go.exists(), "it runs")
        since = len(daemon.lines)
        after = int(daemon.wait_log(pattern, since=since)[1])
        scene.check(after <= 100, f"after a second of work {after} ms again")


def scene_stderr_is_logged():
    with scene.Daemon(shell("talk", "echo 'oh dear' >&2\n" + HOLD)) as daemon:
        line = daemon.wait_log("oh dear")
        scene.check("talk" in line.string, line.string)


def scene_ignores_sigterm():
    mark = f"98761.{os.getpid()}"
    conf = shell("stubborn", f"trap '' TERM\necho here\nsleep {mark} &\n"
                 f"while :; do sleep {mark}; done", "stop_timeout = 200ms")
    daemon = scene.Daemon(conf)
    daemon.wait_metric("feed_messages_total", 1, feed="stubborn")
    scene.equal(len(scene.wait_until(lambda: len(running(mark)) == 2 and
                                     running(mark), "its children")), 2,
                "it has two children")
    scene.equal(daemon.stop(), 0, "exit code, in spite of it")
    scene.check("does not end within its stop_timeout: killed"
                in daemon.log(), "told in the log")
    scene.equal(running(mark), [], "none of them is left")


def scene_leaves_children():
    """It ends, its children do not: they are ended before it starts again."""
    mark = f"98762.{os.getpid()}"
    conf = shell("parent", f"sleep {mark} & sleep {mark} >&- 2>&- &\necho up",
                 "backoff_min = 300ms\nbackoff_max = 300ms\n"
                 "stop_timeout = 300ms")
    daemon = scene.Daemon(conf)
    daemon.wait_log("command ended with status 0; again in", count=2)
    scene.check(len(running(mark)) <= 2, "they do not add up")
    scene.equal(daemon.stop(), 0, "exit code")
    scene.equal(running(mark), [], "and none is left at the end")


def scene_last_words():
    """What a command says when it is asked to stop is delivered."""
    conf = shell("words", "trap 'echo bye; exit 0' TERM\necho hello\n"
                 "while :; do sleep 0.01; done")
    daemon = scene.Daemon(conf)
    consumer = daemon.ws("words", "?from=oldest")
    scene.equal(consumer.read_text(), "hello", "its first words")
    daemon.signal()
    scene.equal(consumer.read_text(), "bye", "its last words")
    scene.equal(consumer.read_closed()[0], 1001, "then the close")
    scene.equal(daemon.wait(), 0, "exit code")


def scene_closes_its_stdout():
    conf = shell("mute", f"echo one\nexec >&-\n{HOLD}",
                 QUICK + "stop_timeout = 100ms\n")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("closed its stdout and goes on: it is stopped")
        daemon.wait_metric("feed_messages_total", 2, feed="mute")
        scene.check(True, "it is stopped and started again")


def scene_what_it_is_given():
    """No descriptors of ours, no signals blocked, a group of its own."""
    conf = shell("given", "ls /proc/self/fd | wc -l\n"
                 "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f 2\n"
                 f"cut -d ' ' -f 1,5 /proc/$$/stat\n{HOLD}")
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("given", "?from=oldest")
        fds, blocked, ignored, ids = [consumer.read_text() for _ in range(4)]
        scene.equal(fds, "4", "stdin, stdout, stderr, and the folder of ls")
        libc = 3 << 31  # two signals of its own, which it leaves ignored
        scene.equal((int(blocked, 16), int(ignored, 16) & ~libc), (0, 0),
                    "no signal is blocked or ignored")
        pid, group = ids.split()
        scene.equal(pid, group, "it leads its group")


scene.play(globals())
