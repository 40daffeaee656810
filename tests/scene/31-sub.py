#!/usr/bin/python3
# sanitizer: yes
"""earshot sub: what is published comes out, once, whatever happens between."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import scripted

EPOCH = "0123456789abcdef"
OTHER = "fedcba9876543210"


class Sub:
    """earshot sub as a process; stdout and stderr are pipes."""

    def __init__(self, url, *arguments, **options):
        options.setdefault("stdout", subprocess.PIPE)
        self.process = subprocess.Popen(
            [scene.EARSHOT, "sub", "--url", url, *map(str, arguments)],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)

    def line(self):
        """One line of stdout, as soon as it is there."""
        return self.process.stdout.readline()

    def end(self, code=0, seconds=scene.DEADLINE_S):
        """What is left of stdout and stderr; the exit code has to be that."""
        try:
            out, said = self.process.communicate(
                timeout=seconds * scene.SLOWNESS)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            raise scene.Failure("sub does not end") from late
        if self.process.returncode != code:
            raise scene.Failure(f"exit code {self.process.returncode}, "
                                f"expected {code}: {scene.short(said)}")
        return out, said.decode(errors="replace")


def sub(url, *arguments, code=0):
    return Sub(url, *arguments).end(code)


def scene_a_message_is_a_line():
    with scene.Daemon() as daemon:
        for body, kind in ((b"one", "text/plain"), (b"", "text/plain"),
                           (b"\xff\x00", "application/octet-stream"),
                           (b'{"a": 1}', "application/json")):
            daemon.publish("a", body, kind)
        out, said = sub(daemon.url, "a", "--from", "oldest", "-n", "4")
        scene.equal(out, b'one\n\n\xff\x00\n{"a": 1}\n', "payload and newline")
        scene.equal(said, "", "nothing on stderr, which is no terminal")
        out, _ = sub(daemon.url, "--json", "a", "--from", "-3", "--count", 3)
        scene.equal([json.loads(line) for line in out.splitlines()], [
            {"channel": "a", "offset": 2, "text": ""},
            {"channel": "a", "offset": 3, "base64": "/wA="},
            {"channel": "a", "offset": 4, "text": '{"a": 1}'}], "--json")
        position = daemon.ws("a").position
        daemon.publish("a", "five")
        out, _ = sub(daemon.url, "a", "--from", position, "-n", "1")
        scene.equal(out, b"five\n", "after a position")


def scene_lines_come_at_once():
    with scene.Daemon() as daemon:
        listener = Sub(daemon.url, "a", "b")
        daemon.wait_metric('connections{state="websocket"}', 2)
        for i in range(3):
            daemon.publish("ab"[i % 2], f"line {i}")
            scene.equal(listener.line(), b"line %d\n" % i,
                        "through a pipe, live")
        listener.process.terminate()
        scene.equal(listener.end(), (b"", ""), "SIGTERM: nothing more, 0")


def scene_a_count_is_exact():
    with scene.Daemon() as daemon:
        body = "".join(f"{i}\n" for i in range(1000))
        daemon.publish("a", body, arguments="?split=lines")
        for count in 1, 10, 999:
            out, _ = sub(daemon.url, "a", "--from", "oldest", "-n", count)
            scene.equal(out, "".join(
                f"{i}\n" for i in range(count)).encode(), f"the first {count}")
        daemon.wait_log("ready")
        scene.wait_until(
            lambda: daemon.metric('connections{state="websocket"}') == 0,
            "its connections are gone")


def scene_a_signal_says_goodbye():
    closes = []

    def script(peer):
        peer.upgrade(peer.read_request())
        peer.send_text("hello")
        code = peer.read_close()
        closes.append(code)
        peer.send_close(code)

    for signo in signal.SIGINT, signal.SIGTERM:
        with scripted.Server(script) as server:
            listener = Sub(server.url, "a")
            scene.equal(listener.line(), b"hello\n", "connected")
            listener.process.send_signal(signo)
            listener.end()
    scene.equal(closes, [1000, 1000], "close 1000, exit code 0")


def scene_a_peer_that_does_not_close():
    def script(peer):
        peer.upgrade(peer.read_request())
        peer.send_text("hello")
        peer.read_all()

    with scripted.Server(script) as server:
        listener = Sub(server.url, "a")
        listener.line()
        started = time.monotonic()
        listener.process.terminate()
        listener.process.send_signal(signal.SIGINT)
        listener.end()
        scene.check(time.monotonic() - started < 1.9 * scene.SLOWNESS,
                    "a second signal does not wait")
        listener = Sub(server.url, "a")
        listener.line()
        listener.process.terminate()
        listener.end()
        scene.check(True, "one signal waits two seconds at most")


def scene_nothing_is_lost_by_lost_connections():
    total = 200

    def start(step):
        """A server that sends on from where it is asked to, and breaks off."""
        asked = []

        def script(peer):
            request = peer.read_request()
            asked.append(request.path)
            offset = 0
            if "from=" in request.path:
                offset = int(request.path.rpartition(":")[2])
            peer.upgrade(request, Earshot_Position=f"{EPOCH}:{offset}",
                         Earshot_Recovered="true")
            wire = b"".join(
                scene.frame(scene.TEXT, b"%d" % (i + 1), mask=False)
                for i in range(offset, total))
            if peer.number < 4:
                peer.send(wire[:step * (peer.number + 1)])
            else:
                peer.send(wire)
                peer.read_close()

        return asked, scripted.Server(script)

    runs = []
    for step in 1, 7, 50, 97:  # frames have 3 to 5 bytes
        asked, server = start(step)
        runs.append((asked, server, Sub(server.url, "a", "-n", total)))
    for asked, server, listener in runs:
        out, said = listener.end(seconds=3 * scene.DEADLINE_S)
        server.close()
        scene.equal(out, "".join(f"{i + 1}\n" for i in range(total)).encode(),
                    f"{total} messages, {server.count} connections")
        scene.equal(said, "", "nothing to say")
        scene.equal(asked[0], "/ws/a", "the first is live")
        scene.check(all(f"from={EPOCH}:" in p for p in asked[1:]),
                    "the others ask for a position")


def scene_a_gap_is_told():
    asked = []

    def script(peer):
        request = peer.read_request()
        asked.append(request.path)
        if peer.number == 0:
            peer.upgrade(request, Earshot_Position=f"{EPOCH}:4")
            peer.send_text("five")
            peer.send_close(4009, f"gap {EPOCH}:6-90")
            peer.read_close()
        elif peer.number == 1:  # not even from there
            peer.upgrade(request, Earshot_Position=f"{OTHER}:7",
                         Earshot_Recovered="false")
            peer.send_close(4009, "gap: not recovered")
            peer.read_close()
        else:
            peer.upgrade(request, Earshot_Position=f"{OTHER}:7",
                         Earshot_Recovered="true")
            peer.send_text("eight")
            peer.read_close()

    with scripted.Server(script) as server:
        out, said = sub(server.url, "a", "--json", "-n", 2)
    scene.equal([json.loads(line)["offset"] for line in out.splitlines()],
                [5, 8], "offsets around the gaps")
    scene.equal(said, "earshot: a: messages 6 to 90 are gone\n"
                "earshot: a: some messages are gone; goes on after "
                f"{OTHER}:7\n", "both gaps")
    scene.equal(asked, ["/ws/a", f"/ws/a?from={EPOCH}:90",
                        f"/ws/a?from={OTHER}:7"], "what it asked for")


def scene_a_server_says_when_to_come_back():
    times = []

    def script(peer):
        times.append(time.monotonic())
        peer.upgrade(peer.read_request())
        if peer.number == 0:
            peer.send_close(1001, "shutdown retry_after_ms=700")
            peer.read_close()
        else:
            peer.send_text("again")
            peer.read_close()

    with scripted.Server(script) as server:
        scene.equal(sub(server.url, "a", "-n", 1)[0], b"again\n", "it came")
    scene.check(times[1] - times[0] >= 0.7, "not before the time")


def scene_a_refusal_is_final():
    def expect(reply, code, said):
        def script(peer):
            request = peer.read_request()
            if peer.number == 0:
                peer.send(reply)
            else:
                peer.upgrade(request)
                peer.send_text("yes")
                peer.read_close()

        with scripted.Server(script) as server:
            out, err = sub(server.url, "a", "-n", 1, code=code)
            scene.equal((out, err), (b"" if code else b"yes\n", said),
                        said or "tried again")

    expect(scripted.answer(403, {"error": {
        "code": "not_allowed", "message": "subscribing is not allowed"}}),
        1, "earshot: a: not_allowed: subscribing is not allowed\n")
    expect(scripted.answer(404, b"<html>", "Not Found"), 1,
           "earshot: a: the answer was HTTP 404 Not Found, expected 101\n")
    expect(scripted.answer(302, b"", "Found", "Location: /\r\n"), 1,
           "earshot: a: the answer was HTTP 302 Found, expected 101\n")
    for status in 408, 429, 500, 503:
        expect(scripted.answer(status), 0, "")


def scene_close_codes():
    def expect(code, reason, said):
        def script(peer):
            peer.upgrade(peer.read_request())
            peer.send_close(code, reason)
            peer.read_close()

        with scripted.Server(script) as server:
            scene.equal(sub(server.url, "a", code=1)[1], said, said.strip())

    expect(1008, "no\x1bno", "earshot: a: closed with 1008: no?no\n")
    expect(4401, "", "earshot: a: closed with 4401\n")

    def script(peer):
        peer.upgrade(peer.read_request())
        peer.send_frame(scene.TEXT, b"\xff")
        peer.read_close()

    with scripted.Server(script) as server:
        scene.equal(sub(server.url, "a", code=1)[1],
                    "earshot: a: closed with 1007: text is not UTF-8\n",
                    "text that is none")


def scene_the_daemon_refuses():
    with scene.Daemon("[auth]\nanonymous = publish\n") as daemon:
        scene.equal(sub(daemon.url, "a", code=1)[1],
                    "earshot: a: not_allowed: subscribing is not allowed\n",
                    "no right to subscribe")


def scene_attempts_have_an_end():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"ws://127.0.0.1:{probe.getsockname()[1]}"
    scene.equal(sub(url, "a", "--retries", 0, code=1)[1],
                f"earshot: a: {url}: Connection refused\n", "none but one")
    said = sub(url, "a", "--retries", 2, "-v", code=1)[1]
    scene.equal(said.count("again in"), 2, "two more")


def scene_a_daemon_that_comes_back():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    conf = f"[listener]\nlisten = 127.0.0.1:{port}\n"
    url = f"ws://localhost:{port}"  # which may be ::1 first
    with scene.Daemon(conf) as daemon:
        listener = Sub(url, "a", "-v")
        daemon.wait_metric('connections{state="websocket"}', 1)
        daemon.publish("a", "before")
        scene.equal(listener.line(), b"before\n", "before")
    with scene.Daemon(conf) as daemon:
        daemon.publish("a", "between")
        scene.equal(listener.line(), b"between\n", "of the new epoch")
        daemon.wait_metric('connections{state="websocket"}', 1,
                           2 * scene.DEADLINE_S)
        daemon.publish("a", "after")
        scene.equal(listener.line(), b"after\n", "after")
        listener.process.terminate()
        said = listener.end()[1]
    scene.check("a: some messages are gone; goes on after " in said,
                "another epoch is told")


def scene_the_reader_may_leave():
    with scene.Daemon() as daemon:
        daemon.publish("a", "x\n" * 100, arguments="?split=lines")
        done = scene.run(
            ["bash", "-c", f"set -o pipefail; {scene.EARSHOT} --url "
             f"{daemon.url} sub a --from oldest | head -n 1"])
        scene.equal((done.returncode, done.stdout, done.stderr),
                    (0, "x\n", ""), "| head -n 1")
        listener = Sub(daemon.url, "quiet")
        daemon.wait_metric('connections{state="websocket"}', 1)
        listener.process.stdout.close()
        scene.equal(listener.process.wait(scene.DEADLINE_S * scene.SLOWNESS),
                    0, "noticed although nothing is published")
        listener.process.stderr.close()


def memory_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def scene_a_slow_reader_loses_nothing():
    line = b"x" * 999
    count = 30000
    conf = "[channel **]\nhistory_messages = 1000000\nhistory_bytes = 64M\n" \
        "buffer_bytes = 64M\n"
    with scene.Daemon(conf) as daemon:
        listener = Sub(daemon.url, "a", "-n", count)
        daemon.wait_metric('connections{state="websocket"}', 1)
        for _ in range(count // 1000):
            daemon.publish("a", (line + b"\n") * 1000,
                           arguments="?split=lines")
        scene.check(daemon.metric('channel_lag_messages{channel="a"}') > 0,
                    "the server keeps what is not read")
        if scene.SLOWNESS == 1:
            scene.check(memory_kib(listener.process.pid) < 32 * 1024,
                        "it keeps little of 30 MB")
        out, _ = listener.end(seconds=60)
        scene.check(out == (line + b"\n") * count, "all of it, in the end")


def scene_files_and_null():
    with scene.Daemon() as daemon:
        daemon.publish("a", "x\n" * 1000, arguments="?split=lines")
        path = scene.TMP / "out"
        with open(path, "wb") as file:
            Sub(daemon.url, "a", "--from", "oldest", "-n", 1000,
                stdout=file).end()
        scene.equal(path.read_bytes(), b"x\n" * 1000, "into a file")
        Sub(daemon.url, "a", "--from", "oldest", "-n", 1000,
            stdout=subprocess.DEVNULL).end()
        with open("/dev/full", "wb") as full:
            _, said = Sub(daemon.url, "a", "--from", "oldest", "-n", 1000,
                          stdout=full).end(code=1)
        scene.equal(said, "earshot: stdout: No space left on device\n",
                    "a full device is a fault")


def scene_many_channels():
    names = [f"c{i}" for i in range(100)]
    with scene.Daemon() as daemon:
        for name in names:
            daemon.publish(name, name)
        out, _ = sub(daemon.url, *names, "--from", "oldest", "--json",
                     "-n", len(names))
        got = sorted(json.loads(line)["channel"] for line in out.splitlines())
        scene.equal(got, sorted(names), "a message of each")


scene.play(globals())
