#!/usr/bin/python3
# slow
# sanitizer: yes
"""[file NAME]: followed by its name, through rotation, truncation, restarts.
"""
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene


LINES = 20000


def folder():
    return pathlib.Path(tempfile.mkdtemp(dir=scene.TMP))


def file_feed(path, more="", state=None):
    text = f"[file log]\npath = {path}\nchannel = log\n{more}\n"
    return text + (f"[state]\ndirectory = {state}\n" if state else "")


def state_is(daemon, name, feed="log"):
    scene.wait_until(
        lambda: any(f'feed="{feed}"' in sample and f'state="{name}"' in sample
                    for sample in daemon.metrics()
                    if sample.startswith("feed_up{")), f"state {name}")


def texts(consumer, count):
    return [consumer.read_text() for _ in range(count)]


def append(path, data):
    with open(path, "ab") as file:
        file.write(data)


def scene_lines_as_they_come():
    path = folder() / "log"
    path.write_text("old\nolder")
    with scene.Daemon(file_feed(path)) as daemon:
        state_is(daemon, "running")
        consumer = daemon.ws("log")
        append(path, b" and new\none\ntw")
        scene.equal(texts(consumer, 2), [" and new", "one"],
                    "from the end on, line by line")
        append(path, b"o\n\xff\n")
        scene.equal(consumer.read_text(), "two", "a line in two pieces")
        scene.equal(consumer.read_message(), (scene.BINARY, b"\xff"),
                    "a line that is not UTF-8")


def scene_begins_at_the_start_and_with_nuls():
    path = folder() / "log"
    path.write_bytes(b"a\nb\0c\0")
    with scene.Daemon(file_feed(
            path, "begin = start\nframing = null")) as daemon:
        consumer = daemon.ws("log", "?from=oldest")
        scene.equal(texts(consumer, 2), ["a\nb", "c"], "framing = null")


def scene_missing_then_there():
    path = folder() / "log"
    with scene.Daemon(file_feed(path)) as daemon:
        state_is(daemon, "waiting")
        consumer = daemon.ws("log")
        path.write_text("first\n")
        scene.equal(consumer.read_text(), "first",
                    "what appears is read from its start")
        state_is(daemon, "running")
        path.unlink()
        state_is(daemon, "waiting")
        path.write_text("again\n")
        scene.equal(consumer.read_text(), "again", "and so is the next one")


def scene_folders_and_pipes():
    path = folder()
    with scene.Daemon(file_feed(path, "backoff_max = 100ms\n"
                                "backoff_min = 10ms")) as daemon:
        daemon.wait_log("file cannot be read: Is a directory")
        path.rmdir()
        os.mkfifo(path)
        daemon.wait_log("file cannot be read: it is no regular file")
        path.unlink()
        path.write_text("now\n")
        consumer = daemon.ws("log", "?from=oldest")
        scene.equal(consumer.read_text(), "now", "a file at last")


def scene_truncated():
    path = folder() / "log"
    path.write_text("")
    with scene.Daemon(file_feed(path)) as daemon:
        state_is(daemon, "running")
        consumer = daemon.ws("log")
        append(path, b"before\nhalf")
        scene.equal(consumer.read_text(), "before", "before")
        daemon.wait_metric("feed_messages_total", 1, feed="log")
        os.truncate(path, 0)
        scene.equal(consumer.read_text(), "half",
                    "the line that will have no end")
        append(path, b"after\n")
        scene.equal(consumer.read_text(), "after", "copytruncate")
        # As long as before, and other bytes: only a look tells.
        with open(path, "r+b") as file:
            file.write(b"AFTER\nmore\n")
        scene.equal(texts(consumer, 2), ["AFTER", "more"],
                    "rewritten in place")


def scene_rotated_ten_times_while_written():
    path = folder() / "log"
    path.write_text("")
    lines = [f"line {i} " + "x" * (i % 300) for i in range(LINES)]
    with scene.Daemon(file_feed(path)
                      + "[channel **]\nhistory_messages = 100000\n") as daemon:
        state_is(daemon, "running")
        url = f"ws://127.0.0.1:{daemon.port}/ws/log"
        readers = [scene.Client(kind, url, len(lines))
                   for kind in ("ws", "websockets", "websocket-client")]
        daemon.wait_metric('channel_consumers{channel="log"}', 3)
        file = open(path, "ab", buffering=0)
        for i, line in enumerate(lines):
            file.write(line.encode() + b"\n")
            if i % (LINES // 10) == LINES // 20:
                rotation = i // (LINES // 10)
                os.rename(path, f"{path}.{rotation}")
                # Who writes goes on with the old one for a while.
                file.write(b"")
                new = open(path, "ab", buffering=0)
                if rotation % 2:
                    daemon.wait_metric(
                        "feed_messages_total", i // 2, feed="log")
                file.close()
                file = new
        file.close()
        wanted = scene.digest(line.encode() for line in lines)
        for reader in readers:
            scene.equal(reader.result(60)["sha256"], wanted,
                        f"{LINES} lines through 10 rotations by {reader.kind}")


def scene_the_place_is_kept():
    home = folder()
    path, state = home / "log", home / "state"
    state.mkdir()
    path.write_text("never\n")
    conf = file_feed(path, state=state)
    with scene.Daemon(conf) as daemon:
        state_is(daemon, "running")
        append(path, b"1\n2\nhal")
        daemon.wait_metric("feed_messages_total", 2, feed="log")
    append(path, b"f\n3\n")
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("log", "?from=oldest")
        scene.equal(texts(consumer, 2), ["half", "3"],
                    "what was written meanwhile, and nothing twice")
    append(path, b"4\n")
    os.rename(path, f"{path}.1")
    path.write_text("5\n")
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("log", "?from=oldest")
        scene.equal(texts(consumer, 2), ["4", "5"], "rotated meanwhile")
    path.write_text("other\n")
    with scene.Daemon(conf, env={"STATE_DIRECTORY": "/nowhere"}) as daemon:
        consumer = daemon.ws("log", "?from=oldest")
        scene.equal(consumer.read_text(), "other", "another file by that name")
    with scene.Daemon(file_feed(path), env={
            "STATE_DIRECTORY": f"{state}:/nowhere"}) as daemon:
        state_is(daemon, "running")
        append(path, b"last\n")
        consumer = daemon.ws("log", "?from=oldest")
        scene.equal(consumer.read_text(), "last", "STATE_DIRECTORY's place")


def scene_a_place_that_cannot_be_kept():
    path = folder() / "log"
    path.write_text("")
    with scene.Daemon(file_feed(path, state="/nowhere/at/all")) as daemon:
        state_is(daemon, "running")
        append(path, b"1\n")
        daemon.wait_log("file's place cannot be kept: No such file")
        consumer = daemon.ws("log", "?from=oldest")
        append(path, b"2\n")
        scene.equal(texts(consumer, 2), ["1", "2"], "and it goes on")
        scene.equal(daemon.log_count("cannot be kept"), 1, "told once")


def scene_it_dies():
    """SIGKILL: some lines come twice then, none is lost."""
    home = folder()
    path, state = home / "log", home / "state"
    state.mkdir()
    path.write_text("")
    conf = file_feed(path, state=state) + \
        "[channel **]\nhistory_messages = 100000\n"
    heard = []
    written = 0
    for life in range(4):
        daemon = scene.Daemon(conf)
        state_is(daemon, "running")
        consumer = daemon.ws("log", "?from=oldest")
        last = written + 300
        place = state / "file-log.place"
        before = life and place.read_text()  # once without, as well
        while written < last or (life > 0 and place.read_text() == before):
            append(path, b"%d\n" % written)
            written += 1
            if written == last - 100 and life % 2:
                os.rename(path, f"{path}.{life}")
            while not heard or heard[-1] != written - 1:
                heard.append(int(consumer.read_text()))
        append(path, b"%d\n" % written)  # perhaps unheard
        written += 1
        daemon.process.kill()
        daemon.process.wait()
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("log", "?from=oldest")
        while not heard or heard[-1] != written - 1:
            heard.append(int(consumer.read_text()))
    scene.equal(sorted(set(heard)), list(range(written)), "none is lost")
    scene.check(len(heard) > written, f"{len(heard) - written} came twice")


def scene_lines_are_heard_when_they_are_written():
    """Rotated while nobody followed, the next file is watched, too."""
    home = folder()
    path, state = home / "log", home / "state"
    state.mkdir()
    path.write_text("")
    conf = file_feed(path, state=state)
    with scene.Daemon(conf) as daemon:
        state_is(daemon, "running")
    append(path, b"old\n")
    os.rename(path, f"{path}.1")
    path.write_text("")
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("log", "?from=oldest")
        scene.equal(consumer.read_text(), "old", "what was rotated")
        append(path, b"first\n")
        scene.equal(consumer.read_text(), "first", "its successor")
        started = time.monotonic()
        for i in range(20):
            append(path, b"%d\n" % i)
            scene.equal(consumer.read_text(), f"{i}", f"{i}")
        scene.in_time(time.monotonic() - started, 1, "not by looks alone")


def scene_what_no_event_tells_is_found():
    """The name is in another folder than the file: a look, each 5 s."""
    path, other = folder() / "log", folder() / "target"
    path.symlink_to(other)
    other.write_text("")
    with scene.Daemon(file_feed(path)) as daemon:
        state_is(daemon, "running")
        consumer = daemon.ws("log")
        other.unlink()
        state_is(daemon, "waiting")
        append(other, b"new\n")
        scene.equal(consumer.read_text(), "new", "found all the same")


def scene_what_is_there_at_the_stop_is_read():
    path = folder() / "log"
    path.write_text("")
    conf = file_feed(path, "max_rate = 10\n") + \
        "[channel **]\nhistory_messages = 100000\n"
    lines = [f"{i} " + "x" * 100 for i in range(3000)]
    daemon = scene.Daemon(conf)
    state_is(daemon, "running")
    consumer = daemon.ws("log")
    append(path, "".join(line + "\n" for line in lines).encode())
    consumer.read_text()
    daemon.signal()
    scene.equal(texts(consumer, len(lines) - 1), lines[1:],
                "five reads' worth of lines")
    scene.equal(consumer.read_closed()[0], 1001, "then the close")
    scene.equal(daemon.wait(), 0, "exit code")


def scene_a_folder_takes_the_name():
    path = folder() / "log"
    path.write_text("")
    with scene.Daemon(file_feed(path, "backoff_max = 50ms\n"
                                "backoff_min = 10ms")) as daemon:
        state_is(daemon, "running")
        consumer = daemon.ws("log")
        with open(path, "a", encoding="ascii", buffering=1) as file:
            os.rename(path, f"{path}.old")
            os.mkdir(path)
            state_is(daemon, "backoff")
            file.write("still here\n")
            scene.equal(consumer.read_text(), "still here",
                        "who has the old one is heard")
        os.rmdir(path)
        path.write_text("new\n")
        scene.equal(consumer.read_text(), "new", "and so is the new one")
        state_is(daemon, "running")
        since = len(daemon.lines)
        path.unlink()
        os.mkdir(path)
        again = daemon.wait_log(r"; again in (\d+) ms", since=since)
        scene.check(int(again[1]) <= 10, "its back-off has begun anew")
        scene.check(daemon.metric("feed_failures_total", feed="log") >= 1,
                    "counted")


def scene_one_that_may_not_be_read():
    home = folder()
    path = home / "log"
    path.write_text("secret\n")
    path.chmod(0)
    for at in scene.TMP, home:
        at.chmod(0o755)
    prefix = []
    if os.geteuid() == 0:  # who may read everything
        prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    with scene.Daemon(file_feed(path, "begin = start\nbackoff_max = 50ms\n"
                                "backoff_min = 10ms"),
                      prefix=prefix) as daemon:
        daemon.wait_log("file cannot be read: Permission denied; again in")
        state_is(daemon, "backoff")
        path.chmod(0o600)
        scene.equal(daemon.ws("log", "?from=oldest").read_text(), "secret",
                    "once it may")


def scene_many_rotations_at_once():
    """A hundred between two looks: read, or counted and told."""
    path = folder() / "log"
    path.write_text("")
    with scene.Daemon(file_feed(path)) as daemon:
        state_is(daemon, "running")
        consumer = daemon.ws("log")
        for i in range(100):
            append(path, b"%d\n" % i)
            os.rename(path, f"{path}.{i}")
        append(path, b"the end\n")
        got = 0
        while consumer.read_text() != "the end":
            got += 1
        missed = 0
        if got < 100:
            told = daemon.wait_log(r"rotated too fast, (\d+) were missed")
            scene.wait_until(lambda: got + daemon.metric(
                "feed_failures_total", feed="log") >= 100, "counted")
            missed = daemon.metric("feed_failures_total", feed="log")
            scene.check(0 < int(told[1]) <= missed, "told")
        scene.check(got >= 64, f"{got} were read")
        scene.check(got + missed >= 100, f"{missed} were missed")


def scene_a_file_that_comes_and_goes():
    path = folder() / "log"
    with scene.Daemon(file_feed(path)) as daemon:
        for i in range(60):
            state_is(daemon, "waiting")
            append(path, b"%d\n" % i)
            daemon.wait_metric("feed_messages_total", i + 1, feed="log")
            path.unlink()
        state_is(daemon, "waiting")
        scene.check(daemon.metric("feed_failures_total", feed="log") >= 60,
                    "counted")
        scene.check(daemon.log_count("does not exist") <= 45, "not each told")


def scene_limits():
    path = folder() / "log"
    path.write_text("")
    more = "message_bytes_max = 10\nnot_utf8 = replace\n"
    with scene.Daemon(file_feed(path, more)) as daemon:
        state_is(daemon, "running")
        consumer = daemon.ws("log")
        append(path, b"0123456789\n0123456789abc\n\xffab\n")
        scene.equal(texts(consumer, 3),
                    ["0123456789", "0123456789", "\ufffdab"],
                    "cut off, replaced")
        scene.equal(daemon.metric("feed_lines_cut_total", feed="log"), 1,
                    "counted")
    with scene.Daemon(file_feed(path, "not_utf8 = reject\nmax_rate = 100\n"
                                "over_rate = drop")) as daemon:
        state_is(daemon, "running")
        append(path, b"\xff\n" + b"x\n" * 5000)
        daemon.wait_metric("feed_over_rate_total", 4000, feed="log")
        scene.equal(daemon.metric("feed_not_utf8_total", feed="log"), 1,
                    "rejected")
    with scene.Daemon(file_feed(path, "max_rate = 1000")) as daemon:
        state_is(daemon, "running")
        consumer = daemon.ws("log")
        append(path, b"".join(b"%d\n" % i for i in range(500)))
        got = texts(consumer, 500)
        scene.equal(got, [str(i) for i in range(500)],
                    "above max_rate: later, and all of it")


scene.play(globals())
