#!/usr/bin/python3
# slow
# limit: 300
"""Real input at size: every path of this machine to five consumers.

`find / -xdev` and some names that are not UTF-8 through `earshot pub`; Python's
websockets, websocket-client, npm's ws and two `earshot sub` each have to have
heard exactly the input: by its SHA-256.
"""
import hashlib
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

# All of it is kept: who reads slowly is not what is looked at here.
CONF = "[channel files]\nhistory_messages = 100000000\n" \
    "history_bytes = 900M\nbuffer_bytes = 256M\n"
NAMES = (b"\xff\xfe", b"latin-1 gr\xfcn", b"cut \xe2\x82", b"\xed\xa0\x80",
         b" ", b"tab\there", b"cr\rhere", b"\x01\x1b[31mred",
         "größer €😀".encode(), b"quote\"back\\slash", b"x" * 255)


class Sub:
    """earshot sub, its output hashed as it comes."""

    def __init__(self, daemon, channel, count):
        self.process = subprocess.Popen(
            [scene.EARSHOT, "sub", channel, "--count", str(count), "--url",
             f"ws://127.0.0.1:{daemon.port}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        scene.atexit.register(self.process.kill)
        self.kind = "earshot sub"

    def result(self, seconds):
        del seconds  # the runner's limit ends it
        digest = hashlib.sha256()
        while block := self.process.stdout.read(1 << 20):
            digest.update(block)
        said = self.process.stderr.read().decode()
        if self.process.wait() != 0:
            raise scene.Failure(f"sub: {self.process.returncode}: {said}")
        return {"sha256": digest.hexdigest(), "said": said}


def gather():
    """The input's path: lines as find writes them."""
    odd = os.fsencode(scene.TMP) + b"/odd"
    os.mkdir(odd)
    for name in NAMES:
        with open(odd + b"/" + name, "wb"):
            pass
    path = scene.TMP / "input"
    with open(path, "wb") as file:
        for where in (odd, b"/"):
            subprocess.run([b"find", where, b"-xdev"], stdout=file,
                           stderr=subprocess.DEVNULL, check=False)
    return path


def scene_every_path_to_five_consumers():
    if not os.path.exists(scene.EARSHOT):
        raise scene.Skip("no earshot here")
    path = gather()
    data = path.read_bytes()
    lines = data.count(b"\n")
    binary = sum(not valid(line) for line in data.split(b"\n"))
    wanted = hashlib.sha256(data).hexdigest()
    scene.check(binary >= 4, f"{lines} lines, {len(data)} bytes, {binary} of "
                "them not UTF-8")
    with scene.Daemon(CONF) as daemon:
        url = f"ws://127.0.0.1:{daemon.port}/ws/files"
        consumers = [scene.Client(kind, url, lines, deflate=False)
                     for kind in scene.CLIENTS]
        consumers += [Sub(daemon, "files", lines) for _ in range(2)]
        daemon.wait_metric('channel_consumers{channel="files"}', 5)
        started = time.monotonic()
        with open(path, "rb") as file:
            done = scene.run(
                [scene.EARSHOT, "pub", "files", "--url",
                 f"http://127.0.0.1:{daemon.port}"], seconds=240, stdin=file,
                code=0)
        accepted = time.monotonic() - started
        scene.equal(done.stdout, "", "earshot pub says nothing")
        for consumer in consumers:
            got = consumer.result(240)
            scene.equal(got["sha256"], wanted,
                        f"{consumer.kind}: {time.monotonic() - started:.2f} s")
        took = time.monotonic() - started
        scene.equal(daemon.metric('channel_messages_total{channel="files"}'),
                    lines, "messages")
        print(f"    published {lines / accepted:.0f} messages/s, "
              f"{len(data) / accepted / 1e6:.1f} MB/s; delivered to five in "
              f"{took:.2f} s, {5 * lines / took:.0f} deliveries/s")
        daemon.wait_metric("connections_closed_total", 5)


def valid(line):
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


scene.play(globals())
