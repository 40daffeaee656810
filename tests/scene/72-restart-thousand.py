#!/usr/bin/python3
# slow
# limit: 240
"""Restarts that nobody notices: a thousand consumers, a third of each kind
(raw, earshot.v1, SSE), and a publisher that goes on.

Every consumer of a life of the daemon hears all that was acknowledged in it,
without a hole, and is closed with 1001 and a hint that it follows; nobody is
refused.  make check-lab-long: the full count.
"""
import base64
import collections
import json
import os
import re
import select
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import crowd
import lab
import scene

CONSUMERS = 1000
RESTARTS = 20 if lab.LONG else 2
SPREAD_MS = 800
PAUSE_S = 0.05  # between two publishes
QUIET_S = 0.3  # of work with everybody there
CONF = f"[drain]\ntimeout = 20s\nretry_spread = {SPREAD_MS}ms\n"
KINDS = "raw", "v1", "sse"
KEY = base64.b64encode(b"0123456789abcdef").decode()
UPGRADE = ("Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n")
SUBSCRIBE = b'{"id":1,"subscribe":{"channel":"ticks"}}'


class Ear:
    """One consumer's life on one connection, as bytes."""

    def __init__(self, kind):
        self.kind = kind
        self.sock = socket.socket()
        self.sock.setblocking(True)
        self.sock.settimeout(20)
        self.sock.connect(("127.0.0.1", lab.PORT))
        path, more = {
            "raw": ("/ws/ticks", UPGRADE),
            "v1": ("/ws", UPGRADE + "Sec-WebSocket-Protocol: earshot.v1\r\n"),
            "sse": ("/sse/ticks", "Host: x\r\n"),
        }[kind]
        self.sock.sendall(f"GET {path} HTTP/1.1\r\n{more}\r\n".encode())
        self.sock.setblocking(False)
        self.buffer = bytearray()
        self.at = 0  # of the first frame or event not looked at
        self.open = False
        self.epoch, self.first, self.last = None, 0, 0
        self.holes = 0
        self.code = self.retry_ms = self.ended_at = self.broken = None

    def fileno(self):
        return self.sock.fileno()

    def readable(self):
        """False: that was its end."""
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError as error:
            self.broken = str(error)
            data = b""
        self.buffer += data
        if not self.open:
            self.read_head()
        if self.open:
            self.read_events() if self.kind == "sse" else self.read_frames()
        if not data:
            self.ended_at = time.monotonic()
            self.sock.close()
        return bool(data)

    def read_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).decode()
        self.at = end + 4
        if head.split()[1] != ("200" if self.kind == "sse" else "101"):
            self.broken = head.splitlines()[0]
            return
        self.open = True
        if self.kind == "v1":
            self.sock.sendall(scene.frame(scene.TEXT, SUBSCRIBE))
        else:
            self.begin(re.search(r"Earshot-Position: (\S+)", head)[1])

    def begin(self, position):
        self.epoch, offset = position.split(":")
        self.first = self.last = int(offset)

    def hear(self, offset):
        self.holes += offset != self.last + 1
        self.last = offset

    def read_frames(self):
        while len(self.buffer) >= self.at + 2:
            opcode, length = self.buffer[self.at] & 15, self.buffer[self.at + 1]
            head = 2
            if length == 126:
                if len(self.buffer) < self.at + 4:
                    return
                length = struct.unpack_from(">H", self.buffer, self.at + 2)[0]
                head = 4
            end = self.at + head + length
            if len(self.buffer) < end:
                return
            self.on_frame(opcode, bytes(self.buffer[self.at + head:end]))
            self.at = end

    def on_frame(self, opcode, payload):
        if opcode == scene.CLOSE:
            self.code = struct.unpack(">H", payload[:2])[0]
            self.hint(rb"retry_after_ms=(\d+)", payload)
            self.sock.sendall(scene.frame(scene.CLOSE, payload[:2]))
        elif opcode == scene.PING:
            self.sock.sendall(scene.frame(scene.PONG, payload))
        elif opcode == scene.TEXT and self.kind == "raw":
            self.hear(self.last + 1)
        elif opcode == scene.TEXT:
            self.on_object(json.loads(payload))

    def on_object(self, told):
        if "ok" in told:
            self.begin(told["ok"]["position"])
        elif "offset" in told:
            self.hear(told["offset"])
        elif "closing" in told:
            self.retry_ms = told["closing"]["retry_after_ms"]

    def read_events(self):
        while (end := self.buffer.find(b"\n\n", self.at)) >= 0:
            event = bytes(self.buffer[self.at:end])
            self.at = end + 2
            found = re.search(rb"^id: ?[0-9a-f]+:(\d+)$", event, re.M)
            if found and b"data:" in event:
                self.hear(int(found[1]))
            if self.hint(rb"^retry: ?(\d+)$", event):
                self.code = 1001  # SSE has no other way to say it

    def hint(self, pattern, text):
        found = re.search(pattern, text, re.M)
        if found:
            self.retry_ms = int(found[1])
        return found


class Publisher(threading.Thread):
    """Goes on whatever happens; what was acknowledged, by epoch."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop = threading.Event()
        self.acknowledged = {}
        self.refused = collections.Counter()
        self.sock = None

    def run(self):
        number = 0
        while not self.stop.wait(PAUSE_S):
            number += 1
            try:
                self.publish(f"tick {number}".encode())
            except OSError as error:
                self.refused[type(error).__name__] += 1
                self.sock = None

    def publish(self, body):
        if self.sock is None:
            self.sock = scene.Raw(lab.PORT, seconds=20)
        self.sock.send(
            b"POST /channels/ticks/messages HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" %
            (len(body), body))
        answer = self.sock.read_answer()
        if answer is None or answer.status != 201:
            self.refused[answer.status if answer else "end of file"] += 1
            self.sock.close()
            self.sock = None
            return
        epoch, offset = scene.json_of(answer)["position"].split(":")
        self.acknowledged[epoch] = int(offset)


def serve(ears, until, seconds=60):
    """Reads all that come until the condition; ends are taken out."""
    poll = select.epoll()
    by_fd = {}
    for ear in ears:
        if ear.ended_at is None:
            by_fd[ear.fileno()] = ear
            poll.register(ear.fileno(), select.EPOLLIN)
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise scene.Failure(f"not within {seconds} s: {census(ears)}")
        for fd, _ in poll.poll(0.02):
            if not by_fd[fd].readable():
                del by_fd[fd]  # closed, so epoll has forgotten it
    poll.close()


def census(ears):
    return collections.Counter(
        (e.kind, e.open, e.epoch is not None, e.code, e.broken)
        for e in ears).most_common(8)


def come_back(old):
    """Each after its hint; the longest wait for a connection."""
    order = sorted(old, key=lambda e: e.ended_at + e.retry_ms / 1000)
    ears, longest = [], 0
    for ear in order:
        late = ear.ended_at + ear.retry_ms / 1000 - time.monotonic()
        if late > 0:
            time.sleep(late)
        began = time.monotonic()
        ears.append(Ear(ear.kind))
        longest = max(longest, time.monotonic() - began)
    return ears, longest


def check_life(ears, publisher):
    """What everybody of one life has heard."""
    epoch = ears[0].epoch
    acknowledged = publisher.acknowledged.get(epoch, 0)
    lasts = {e.last for e in ears}
    faults = [e for e in ears if e.broken or e.holes or e.code != 1001 or
              e.retry_ms is None or e.epoch != epoch or
              e.last < acknowledged or e.last == e.first]
    if faults:
        e = faults[0]
        raise scene.Failure(
            f"{len(faults)} of {len(ears)}, as {e.kind}: code {e.code}, retry "
            f"{e.retry_ms}, holes {e.holes}, {e.broken}, last {e.last} of "
            f"{acknowledged}, epochs {e.epoch} {epoch}")
    scene.check(len(lasts) == 1, f"{len(ears)} closed with 1001 and a hint, "
                f"each has all {acknowledged} acknowledged")
    return [e.retry_ms for e in ears]


def scene_a_thousand():
    lab.configure(CONF)
    lab.systemctl("start", "earshot.socket")
    hints, waits = [], []
    with lab.service() as earshot:
        publisher = Publisher()
        publisher.start()
        ears = [Ear(KINDS[n % 3]) for n in range(CONSUMERS)]
        for n in range(RESTARTS):
            serve(ears, lambda: all(e.last > e.first for e in ears) or
                  any(e.broken for e in ears))
            quiet = time.monotonic() + QUIET_S
            serve(ears, lambda: time.monotonic() > quiet)
            restart = lab.background("systemctl", "restart", "earshot.service")
            serve(ears, lambda: all(e.ended_at for e in ears))
            hints += check_life(ears, publisher)
            ears, longest = come_back(ears)
            waits.append(longest)
            scene.equal(restart.wait(60), 0, f"restart {n + 1}")
            restart.stdout.close()
        serve(ears, lambda: all(e.last > e.first for e in ears))
        publisher.stop.set()
        publisher.join(60)
        for ear in ears:
            ear.sock.close()
        scene.wait_until(
            lambda: earshot.metric('connections{state="websocket"}') == 0,
            "gone")
        # Its last requests meet a drain: refused with 503, or hung up on
        # before they were read; never while connecting.
        scene.check(publisher.refused["ConnectionRefusedError"] == 0,
                    f"the publisher: {dict(publisher.refused)}")
        crowd.check_spread(hints, SPREAD_MS)
        scene.in_time(max(waits), 1, "the longest wait for a connection")
        lines = [m for m in lab.messages(earshot.since) if "drained in" in m]
        scene.equal(len(lines), RESTARTS, "drains")
        scene.check(all(" 0 cut, 0 lost, 0 messages undelivered" in l
                        for l in lines), lines[-1])
        scene.equal(lab.cores(), [], "no core")


lab.play(__file__, globals(), limit=220)
