#!/usr/bin/python3
# sanitizer: yes
"""earshot sub --state: the next run goes on where this one was."""
import os
import pathlib
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
from listener import Sub, sub

LINE = re.compile(r"([^ ]+) ([0-9a-f]{16}:[0-9]+)")


def fresh(name):
    """A path where there is nothing yet."""
    path = scene.TMP / name
    path.unlink(missing_ok=True)
    return path


def text_of(path):
    """What the file says; "" as long as it is not there."""
    return path.read_text() if path.exists() else ""


def positions(path):
    """The same as {channel: offset}."""
    header, *lines = text_of(path).splitlines() or ["earshot sub 1"]
    if header != "earshot sub 1":
        raise scene.Failure(f"the file begins with {header}")
    found = [LINE.fullmatch(line).groups() for line in lines]
    return {name: int(where.partition(":")[2]) for name, where in found}


def numbers(first, last):
    return "".join(f"{i}\n" for i in range(first, last + 1))


def scene_one_run_after_the_other():
    path = fresh("runs")
    with scene.Daemon() as daemon:
        daemon.publish("a", numbers(1, 100), arguments="?split=lines")
        out = b""
        for count in 1, 2, 30, 17:
            got, said = sub(daemon.url, "a", "--state", path, "--from",
                            "oldest", "-n", count)
            scene.equal(said, "", f"{count} messages")
            out += got
        scene.equal(out.decode(), numbers(1, 50), "each once, in order")
        scene.equal(positions(path), {"a": 50}, "the file")
        scene.equal(os.listdir(path.parent).count(path.name + ".new"), 0,
                    "nothing beside it")
        got, _ = sub(daemon.url, "a", "--state", path, "--raw", "-n", 10)
        scene.equal(got.decode(), numbers(51, 60), "--raw too")
        got, _ = sub(daemon.url, "a", "--state", path, "--json", "-n", 40)
        scene.equal(got.count(b"\n"), 40, "--json too")
        listener = Sub(daemon.url, "a", "b", "--state", path)
        daemon.wait_metric('channel_consumers{channel="b"}', 1)
        listener.process.terminate()
        scene.equal(listener.end(), (b"", ""), "nothing new")
        daemon.publish("a", "101")
        daemon.publish("b", "1")
        got, _ = sub(daemon.url, "a", "b", "--state", path, "-n", 2)
        scene.equal(sorted(got.split()), [b"1", b"101"],
                    "what came between two runs, also where nothing was yet")
        daemon.publish("c", "c1")
        got, _ = sub(daemon.url, "c", "--state", path, "--from", "oldest",
                     "-n", 1)
        scene.equal(got, b"c1\n", "a channel that is new to the file")
        scene.equal(positions(path), {"a": 101, "b": 1, "c": 1},
                    "the others stay in it")


def scene_a_restart_of_the_daemon():
    path = fresh("restart")
    with scene.Daemon() as daemon:
        daemon.publish("a", numbers(1, 10), arguments="?split=lines")
        sub(daemon.url, "a", "--state", path, "--from", "oldest", "-n", 10)
        old = path.read_text().split()[-1]
    with scene.Daemon() as daemon:
        daemon.publish("a", "new")
        out, said = sub(daemon.url, "a", "--state", path, "-n", 1)
        scene.equal(out, b"new\n", "from the oldest of the new epoch")
        scene.check(said.startswith(
            f"earshot: a: a new epoch: what came after {old} may be gone; "),
            said.strip())
        scene.check(path.read_text().split()[-1] != old, "the file says so")


def scene_saved_while_messages_flow():
    path = fresh("flow")
    with scene.Daemon() as daemon:
        listener = Sub(daemon.url, "a", "--state", path)
        daemon.wait_metric("v1_commands_total", 1)
        for i in range(1, 4):
            daemon.publish("a", f"{i}")
            listener.line()
            scene.wait_until(
                lambda: text_of(path).endswith(f":{i}\n"),
                f"position {i} is in the file")
        listener.process.kill()
        listener.process.communicate()
        daemon.publish("a", "4")
        out, said = sub(daemon.url, "a", "--state", path, "-n", 1)
        scene.equal((out, said), (b"4\n", ""), "after kill -9")


def scene_killed_again_and_again():
    """At least once: what stdout has not got is not in the file."""
    path, step = fresh("kills"), 50000 // scene.SLOWNESS
    total = 6 * step
    got = scene.TMP / "got"
    conf = f"[channel **]\nhistory_messages = {total}\n"
    with scene.Daemon(conf) as daemon:
        for i in range(0, total, step):
            daemon.publish("a", numbers(i + 1, i + step),
                           arguments="?split=lines")
        with open(got, "wb") as file:
            for i in range(8):
                listener = Sub(daemon.url, "a", "--state", path, "--from",
                               "oldest", stdout=file)
                scene.wait_until(
                    lambda: got.stat().st_size >= (i + 1) * 2 * step, "lines")
                listener.process.kill()
                listener.process.communicate()
            offset = positions(path).get("a", 0)  # killed in its first second
            listener = Sub(daemon.url, "a", "--state", path, "--from",
                           "oldest", "-n", total - offset, stdout=file)
            listener.end(seconds=60)
        scene.equal(positions(path), {"a": total}, "to the end")
    lines, doubled, expected = got.read_bytes().split(b"\n"), 0, 1
    for line in lines[:-1]:
        if line.isdigit() and int(line) == expected:
            expected += 1
        else:  # again, or the half of one before a kill
            doubled += 1
    scene.equal(expected, total + 1, f"all of it, {doubled} lines again")


def scene_a_slow_reader_is_waited_for():
    """What is in a pipe's reader's way is not written, so it is not kept."""
    path = fresh("slow")
    with scene.Daemon() as daemon:
        daemon.publish("a", (("x" * 999 + "\n") * 1000),
                       arguments="?split=lines")
        listener = Sub(daemon.url, "a", "--state", path, "--from", "oldest")
        scene.wait_until(lambda: "a" in positions(path), "a position")
        for _ in range(300):
            listener.line()
        offset = scene.wait_until(
            lambda: positions(path)["a"], "that has moved")
        scene.check(offset < 500, f"{offset}: not ahead of the reader")
        listener.process.kill()
        listener.process.communicate()


def scene_the_reader_may_leave():
    path = fresh("head")
    with scene.Daemon() as daemon:
        daemon.publish("a", numbers(1, 3), arguments="?split=lines")
        script = f"set -o pipefail; {scene.EARSHOT} -u {daemon.url} sub a " \
            f"--state {path} --from oldest --json | head -n 1"
        done = scene.run(["bash", "-c", script])
        scene.equal((done.returncode, done.stderr), (0, ""), "| head -1")
        scene.check("a" in positions(path), "and the file is written")


def scene_one_at_a_time():
    path = fresh("lock")
    with scene.Daemon() as daemon:
        listener = Sub(daemon.url, "a", "--state", path)
        daemon.wait_metric("v1_commands_total", 1)
        for _ in range(3):
            scene.equal(sub(daemon.url, "b", "--state", path, code=1),
                        (b"", f"earshot: {path}: in use by another earshot\n"),
                        "two runs on one file")
            daemon.publish("a", "x")
            listener.line()
        listener.process.send_signal(signal.SIGINT)
        listener.end()
        scene.equal(positions(path), {"a": 3}, "the first one's")


def scene_broken_files():
    path = fresh("broken")
    for text, said in (
            ("hello\n", '1: expected "earshot sub 1"'),
            ("earshot sub 1\na b\n", "2: expected a position, EPOCH:OFFSET, "
             "after the channel"),
            ("earshot sub 1\na 0123456789abcdef:1\n\n",
             "3: expected CHANNEL EPOCH:OFFSET"),
            ("earshot sub 1\na 0123456789abcdef:1", "2: expected a newline at "
             "the end of the line")):
        path.write_text(text)
        out = sub("ws://127.0.0.1:1", "a", "--state", path, code=2)
        scene.equal(out, (b"", f"earshot: {path}:{said}\n"), said)
        scene.equal(path.read_text(), text, "left as it was")
    for where, said in (("/dev/null", "not a regular file"),
                        (scene.TMP, "Is a directory"),
                        (scene.TMP / "none/file",
                         "No such file or directory")):
        out = sub("ws://127.0.0.1:1", "a", "--state", where, code=1)
        scene.equal(out, (b"", f"earshot: {where}: {said}\n"), said)


def scene_a_disk_that_does_not_take_it():
    folder = scene.TMP / "folder"
    folder.mkdir()
    path = folder / "state"
    blocked = pathlib.Path(f"{path}.new")
    blocked.mkdir()
    out = sub("ws://127.0.0.1:1", "a", "--state", path, code=1)
    scene.equal(out[1], f"earshot: {path}: Is a directory\n", "at the start")
    blocked.rmdir()
    with scene.Daemon() as daemon:
        listener = Sub(daemon.url, "a", "--state", path)
        scene.wait_until(lambda: positions(path), "the first position")
        blocked.mkdir()
        daemon.publish("a", "1")
        scene.equal(listener.line(), b"1\n", "the stream goes on")
        said = listener.process.stderr.readline().decode()
        scene.equal(said, f"earshot: {path}: Is a directory\n", "told once")
        daemon.publish("a", "2")
        listener.line()
        blocked.rmdir()
        said = listener.process.stderr.readline().decode()
        scene.equal(said, f"earshot: {path}: saved again\n", "and its end")
        scene.equal(positions(path), {"a": 2}, "the file")
        blocked.mkdir()
        daemon.publish("a", "3")
        listener.line()
        listener.process.terminate()
        listener.end(code=1)
        scene.equal(positions(path), {"a": 2}, "exit code 1: not saved")


scene.play(globals())
