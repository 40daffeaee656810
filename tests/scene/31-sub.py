#!/usr/bin/python3
# sanitizer: yes
"""earshot sub: what is published comes out, and how it ends."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import scripted
from listener import Sub, sub

EPOCH = "0123456789abcdef"


def scene_a_message_is_a_line():
    with scene.Daemon() as daemon:
        for body, kind in ((b"one", "text/plain"), (b"", "text/plain"),
                           (b"\xff\x00", "application/octet-stream"),
                           (b'{"a":\r\n1.10}', "application/json")):
            daemon.publish("a", body, kind)
        out, said = sub(daemon.url, "a", "--from", "oldest", "-n", "4")
        scene.equal(out, b'one\n\n\xff\x00\n{"a":\r\n1.10}\n',
                    "payload and newline")
        scene.equal(said, "", "nothing on stderr, which is no terminal")
        out, _ = sub(daemon.url, "--json", "a", "--from", "-3", "--count", 3)
        lines = out.splitlines()
        scene.check(lines[2].endswith(b',"data":{"a":  1.10}}'),
                    "--json: an object a line, digits as they were")
        times = [json.loads(line).pop("time") for line in lines]
        scene.check(all(abs(t - time.time()) < 60 for t in times), "times")
        scene.equal([{**json.loads(line), "time": 0} for line in lines], [
            {"channel": "a", "offset": 2, "time": 0, "text": ""},
            {"channel": "a", "offset": 3, "time": 0, "base64": "/wA="},
            {"channel": "a", "offset": 4, "time": 0, "data": {"a": 1.1}}],
            "--json")
        position = daemon.ws("a").position
        daemon.publish("a", "five")
        out, _ = sub(daemon.url, "a", "--from", position, "-n", "1")
        scene.equal(out, b"five\n", "after a position")


def scene_compressed():
    """Both views; and what the server has compressed is counted."""
    with scene.Daemon() as daemon:
        lines = "\n".join(f"tick {n} " * (n % 40) for n in range(500))
        daemon.publish("a", lines, arguments="?split=lines")
        for more, compressed in (("", 0), ("--compress", 500),
                                 ("--compress --raw", 1000)):
            out, _ = sub(daemon.url, "a", "--from", "oldest", "-n", 500,
                         *more.split())
            scene.equal(out.decode(), lines + "\n", f"sub {more}")
            scene.equal(daemon.metric("views_compressed_total"), compressed,
                        "messages compressed")


def scene_lines_come_at_once():
    with scene.Daemon() as daemon:
        listener = Sub(daemon.url, "a", "b", "a")
        daemon.wait_metric("v1_commands_total", 2)
        for i in range(3):
            daemon.publish("ab"[i % 2], f"line {i}")
            scene.equal(listener.line(), b"line %d\n" % i,
                        "through a pipe, live")
        scene.equal(daemon.metric('connections{state="websocket"}'), 1,
                    "one connection for both")
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


def say_hello(peer):
    """Subscribed, and a first message."""
    peer.upgrade_v1()
    peer.send_ok(*peer.read_subscribe()[:2], f"{EPOCH}:0")
    peer.send_message("a", 1, "hello")


def scene_a_signal_says_goodbye():
    closes = []

    def script(peer):
        say_hello(peer)
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
        say_hello(peer)
        peer.read_all()

    with scripted.Server(script) as server:
        listener = Sub(server.url, "a")
        listener.line()
        started = time.monotonic()
        listener.process.terminate()
        listener.process.send_signal(signal.SIGINT)
        listener.end()
        at_once = time.monotonic() - started
        listener = Sub(server.url, "a")
        listener.line()
        started = time.monotonic()
        listener.process.terminate()
        listener.end()
        waited = time.monotonic() - started
        scene.check(waited >= 2, f"one signal waits two seconds, {waited:.1f}")
        scene.in_time(at_once, 0.2, "a second signal does not wait")


def scene_a_refusal_is_final():
    advice = "; without earshot.v1: --raw, one channel at a time"

    def expect(reply, code, said):
        def script(peer):
            if peer.number == 0:
                peer.read_request()
                peer.send(reply)
            else:
                say_hello(peer)
                peer.read_close()

        with scripted.Server(script) as server:
            if said:
                said = f"earshot: {server.url}: {said}\n"
            out, err = sub(server.url, "a", "-n", 1, code=code)
            scene.equal((out, err), (b"" if code else b"hello\n", said),
                        said.strip() or "tried again")

    expect(scripted.answer(403, {"error": {
        "code": "origin", "message": "no"}}), 1, "origin: no")
    expect(scripted.answer(400, {"error": {
        "code": "bad_subprotocol", "message": "expected none"}}), 1,
        f"bad_subprotocol: expected none{advice}")
    expect(scripted.answer(404, b"<html>", "Not Found"), 1,
           f"the answer was HTTP 404 Not Found, expected 101{advice}")
    expect(scripted.answer(302, b"", "Found", "Location: /\r\n"), 1,
           "the answer was HTTP 302 Found, expected 101")
    for status in 408, 429, 500, 503:
        expect(scripted.answer(status), 0, "")


def scene_a_server_without_earshot_v1():
    def script(peer):
        peer.upgrade(peer.read_request())
        peer.read_all()

    with scripted.Server(script) as server:
        scene.equal(sub(server.url, "a", code=1)[1],
                    f"earshot: {server.url}: the peer does not speak the "
                    "subprotocol; without earshot.v1: --raw, one channel at "
                    "a time\n", "101 without the subprotocol")


def scene_close_codes():
    def expect(code, reason, said):
        def script(peer):
            say_hello(peer)
            peer.send_close(code, reason)
            peer.read_close()

        with scripted.Server(script) as server:
            scene.equal(sub(server.url, "a", code=1)[1],
                        f"earshot: {server.url}: {said}\n", said)

    expect(1008, "no\x1bno", "closed with 1008: no?no")
    expect(4401, "", "closed with 4401")

    def script(peer):
        say_hello(peer)
        peer.send_frame(scene.TEXT, b"\xff")
        peer.read_close()

    with scripted.Server(script) as server:
        scene.equal(sub(server.url, "a", code=1)[1],
                    f"earshot: {server.url}: closed with 1007: text is not "
                    "UTF-8\n", "text that is none")


def scene_the_daemon_refuses():
    with scene.Daemon("[auth]\nanonymous = publish\n") as daemon:
        scene.equal(sub(daemon.url, "a", code=1)[1],
                    "earshot: a: not_allowed: subscribe.channel: not allowed"
                    "\n", "no right to subscribe")
    conf = "[limits]\nsubscriptions_max = 2\n"
    with scene.Daemon(conf) as daemon:
        scene.equal(sub(daemon.url, "a", "b", "c", code=1)[1],
                    "earshot: c: too_many_subscriptions: subscribe: "
                    "subscriptions_max is reached\n", "one channel too many")


def scene_attempts_have_an_end():
    url = f"ws://127.0.0.1:{scene.free_port()}"
    scene.equal(sub(url, "a", "--retries", 0, code=1)[1],
                f"earshot: {url}: Connection refused\n", "none but one")
    said = sub(url, "a", "--retries", 2, "-v", code=1)[1]
    scene.equal(said.count("again in"), 2, "two more")


def scene_the_reader_may_leave():
    with scene.Daemon() as daemon:
        daemon.publish("a", "x\n" * 100, arguments="?split=lines")
        for options in "", "--json", "--raw":
            done = scene.run(
                ["bash", "-c", f"set -o pipefail; {scene.EARSHOT} --url "
                 f"{daemon.url} sub a --from oldest {options} | head -n 1"])
            scene.equal((done.returncode, done.stdout.count("\n"),
                         done.stderr), (0, 1, ""), f"{options} | head -n 1")
        listener = Sub(daemon.url, "quiet")
        daemon.wait_metric("v1_commands_total", 1)
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
        daemon.wait_metric("v1_commands_total", 1)
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
    names = [f"c{i}" for i in range(1000)]
    conf = "[limits]\nsubscriptions_max = 1000\nout_bytes_max = 8K\n"
    with scene.Daemon(conf) as daemon:
        for name in names[::10]:
            daemon.publish(name, name)
        out, _ = sub(daemon.url, *names, "--from", "oldest", "--json",
                     "-n", len(names[::10]))
        got = sorted(json.loads(line)["channel"] for line in out.splitlines())
        scene.equal(got, sorted(names[::10]), "a message of each")
        listener = Sub(daemon.url, *names)
        daemon.wait_metric("v1_commands_total", 2000)
        for name in names[::-10]:
            daemon.publish(name, name)
        got = sorted(listener.line().decode().strip() for _ in names[::-10])
        scene.equal(got, sorted(names[::-10]), "and live")
        listener.process.terminate()
        listener.end()


scene.play(globals())
