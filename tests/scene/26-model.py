#!/usr/bin/python3
# sanitizer: yes
"""Random scripts beside a model: nothing lost without a notice, nothing twice.

A script publishes, lets retention overtake, connects consumers of three
transports, reads some bytes, cuts connections anywhere and resumes by
position.  The model is what was acknowledged.  SCRIPTS (500; 100 of make
check) and SEED in the environment; make check-model runs 10000.  The seed of a
failure is printed.
"""
import json
import os
import random
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

SCRIPTS = int(os.environ.get("SCRIPTS", 100 if scene.MODE == "check"
                             else 500 // scene.SLOWNESS))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
POLICIES = ("skip", "latest", "close", "deep")
CONF = "".join(
    f"[channel {p}.*]\nhistory_messages = 5\nbuffer_bytes = 64K\n"
    f"overrun = {p}\n" for p in POLICIES[:3])
A_DAEMON = 500  # scripts; each has channels of its own, which fill its memory
GAPS = []  # what was told, for the record
SIZES = (0, 1, 20, 125, 126, 3000, 16384, 16385, 40000)


class Model:
    """A channel as it was acknowledged: payload of each offset, from 1."""

    def __init__(self, daemon, name):
        self.daemon, self.name, self.epoch = daemon, name, None
        self.payloads = []

    def publish(self, size):
        offset = len(self.payloads) + 1
        payload = f"{offset}:".encode() + b"x\xc3\xa9"[:3] * (size // 3)
        told = self.daemon.publish(self.name, payload)
        epoch, at = told["position"].split(":")
        if int(at) != offset or self.epoch not in (None, epoch):
            raise scene.Failure(f"{told} for {self.epoch}:{offset}")
        self.epoch = epoch
        self.payloads.append(payload)

    def newest(self):
        return len(self.payloads)


class Consumer:
    """Checks what it hears against the model; has a place of its own."""

    def __init__(self, model, kind, rng):
        self.model, self.kind, self.rng = model, kind, rng
        self.last, self.sock, self.data = None, None, b""
        self.ended = False  # by the policy
        self.connects = 0
        self.narrow = rng.random() < 0.5

    def hear(self, offset, payload):
        if self.last is not None and offset != self.last + 1:
            raise scene.Failure(
                f"{self.kind}: {offset} after {self.last}, no notice")
        if payload != self.model.payloads[offset - 1]:
            raise scene.Failure(f"{self.kind}: {offset} has wrong bytes")
        self.last = offset

    def gap(self, first, to):
        if self.last is not None and first != self.last + 1:
            raise scene.Failure(
                f"{self.kind}: gap from {first} after {self.last}")
        self.last = to
        GAPS.append(to - first + 1)

    def connect(self):
        self.connects += 1
        if self.last is None:
            start = self.rng.choice(("", "oldest", "-2", "-1000"))
        else:
            start = f"{self.model.epoch}:{self.last}"
        self.data = b""
        self.sock = socket.socket()
        if self.narrow:  # the kernel keeps little for it
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            self.sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.sock.settimeout(scene.DEADLINE_S * scene.SLOWNESS)
        self.sock.connect(("127.0.0.1", self.model.daemon.port))
        self.open(start)

    def head(self, path, headers=""):
        self.sock.sendall((f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
                           f"{headers}\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            got = self.sock.recv(4096)
            if not got:
                raise scene.Failure(f"{self.kind}: no answer: {head}")
            head += got
        head, _, self.data = head.partition(b"\r\n\r\n")
        return head.decode()

    def begin(self, epoch, offset, recovered, told):
        """Where the stream goes on, as the answer says."""
        if self.last is None:
            self.last = offset
        elif epoch != self.model.epoch and self.model.epoch:
            raise scene.Failure(f"{self.kind}: epoch {epoch}")
        elif recovered != (offset == self.last):
            raise scene.Failure(f"{self.kind}: recovered {recovered}, from "
                                f"{self.last} to {offset}")
        elif told:
            self.last = offset

    def cut(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def read(self, most):
        """At most that many bytes of what is there now; False: it ended."""
        self.sock.settimeout(0)
        try:
            got = self.sock.recv(most)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            got = b""
        if not got:
            self.cut()
            return False
        self.data += got
        self.parse()
        return True


class Ws(Consumer):
    def upgrade(self, path, headers=""):
        head = self.head(path, "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                         "Sec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
                         headers)
        if " 101 " not in head:
            raise scene.Failure(f"{self.kind}: {head}")
        self.parts = b""
        return head

    def parse(self):
        while self.sock and len(self.data) >= 2:
            length, at = self.data[1] & 127, 2
            if length > 125:
                at = 4 if length == 126 else 10
                length = int.from_bytes(self.data[2:at], "big")
            if len(self.data) < at + length or len(self.data) < at:
                return
            first, payload = self.data[0], self.data[at:at + length]
            self.data = self.data[at + length:]
            self.frame(first, payload)

    def frame(self, first, payload):
        opcode = first & 15
        if opcode == 8:
            self.closed(int.from_bytes(payload[:2], "big"),
                        payload[2:].decode())
            self.cut()
        elif opcode < 3:
            self.parts += payload
            if first & 128:
                whole, self.parts = self.parts, b""
                self.message(whole)


class RawView(Ws):
    """Its stream has no notices: 4009 names the gap, then it comes back."""
    silent = False

    def open(self, start):
        silent = "&gap=silent" if self.silent else ""
        head = self.upgrade(
            f"/ws/{self.model.name}?from={start}{silent}")
        epoch, offset = re.search(
            r"Earshot-Position: (\w+):(\d+)", head).groups()
        recovered = "Earshot-Recovered: true" in head
        self.begin(epoch, int(offset), recovered, self.silent)
        self.parse()

    def message(self, payload):
        self.hear(self.last + 1, payload)

    def closed(self, code, reason):
        if code == 1013:
            self.ended = True
        elif code != 4009:
            raise scene.Failure(f"{self.kind}: closed {code} {reason}")
        else:
            first, to = re.search(r":(\d+)-(\d+)$", reason).groups()
            self.gap(int(first), int(to))


class V1(Ws):
    def open(self, start):
        self.upgrade("/ws", "Sec-WebSocket-Protocol: earshot.v1\r\n")
        command = {"channel": self.model.name}
        if start:
            command["from"] = start
        text = json.dumps({"id": self.connects, "subscribe": command})
        self.sock.sendall(scene.frame(1, text.encode()))
        self.subscribed = False
        while not self.subscribed:
            self.sock.settimeout(scene.DEADLINE_S * scene.SLOWNESS)
            self.data += self.sock.recv(65536)
            self.parse()

    def message(self, payload):
        said = json.loads(payload)
        if "ok" in said:
            self.subscribed = True
            epoch, offset = said["ok"]["position"].split(":")
            recovered = said["ok"]["recovered"]
            self.begin(epoch, int(offset), recovered, False)
        elif "gap" in said:
            self.gap(said["gap"]["from"], said["gap"]["to"])
        elif "offset" in said:
            self.hear(said["offset"], said["text"].encode())
        else:
            raise scene.Failure(f"{self.kind}: {said}")

    def closed(self, code, reason):
        if code == 1013:
            self.ended = True
        elif code != 4009:
            raise scene.Failure(f"{self.kind}: closed {code} {reason}")


class Sse(Consumer):
    def open(self, start):
        place = f"Last-Event-ID: {start}\r\n" if ":" in start else ""
        query = "" if place else f"?from={start}"
        head = self.head(f"/sse/{self.model.name}{query}", place)
        if " 200 " not in head:
            raise scene.Failure(f"{self.kind}: {head}")
        epoch, offset = re.search(
            r"Earshot-Position: (\w+):(\d+)", head).groups()
        self.begin(epoch, int(offset), "Recovered: true" in head, False)
        self.parse()

    def parse(self):
        while b"\n\n" in self.data:
            block, _, self.data = self.data.partition(b"\n\n")
            fields = [line.partition(b": ")[::2]
                      for line in block.split(b"\n")]
            data = [v for k, v in fields if k == b"data"]
            offset = [int(v.split(b":")[1]) for k, v in fields if k == b"id"]
            if (b"event", b"gap") in fields:
                gap = json.loads(data[0])
                self.gap(gap["from"], gap["to"])
            elif data:
                self.hear(offset[0], data[0])


def step(rng, model, consumers):
    consumer = rng.choice(consumers)
    what = rng.random()
    if what < 0.45:
        for _ in range(rng.choice((1, 1, 2, 8))):
            model.publish(rng.choice(SIZES))
    elif consumer.ended:
        return
    elif consumer.sock is None:
        consumer.connect()
    elif what < 0.60:
        consumer.cut()
    else:
        consumer.read(rng.choice((1, 3, 100, 5000, 70000)))


def finish(model, consumers):
    """Everybody gets the rest, and the last word."""
    model.publish(10)
    until = scene.deadline(60)
    for consumer in consumers:
        while not consumer.ended and consumer.last != model.newest():
            if consumer.sock is None:
                consumer.connect()
            else:
                consumer.read(1 << 20)
            if time.monotonic() > until:
                raise scene.Failure(
                    f"{consumer.kind} of {model.name} is at {consumer.last} "
                    f"of {model.newest()}")
        consumer.cut()


def script(daemon, number):
    rng = random.Random(SEED * 1000003 + number)
    model = Model(daemon, f"{POLICIES[number % 4]}.{number}")
    model.publish(1)
    kinds = (RawView, V1, Sse)
    consumers = [kinds[i % 3](model, kinds[i % 3].__name__, rng)
                 for i in range(rng.randrange(1, 7))]
    for _ in range(rng.randrange(5, 60)):
        step(rng, model, consumers)
    finish(model, consumers)


def scene_random_scripts():
    print(f"    SEED={SEED} SCRIPTS={SCRIPTS}")
    for first in range(0, SCRIPTS, A_DAEMON):
        with scene.Daemon(CONF) as daemon:
            for number in range(first, min(first + A_DAEMON, SCRIPTS)):
                try:
                    script(daemon, number)
                except Exception as error:
                    raise scene.Failure(
                        f"script {number} of SEED={SEED}: {error!r}") \
                        from error
            print(f"    {number + 1} scripts; "
                  f"{daemon.metric('overruns_total'):.0f} overruns, "
                  f"{daemon.metric('messages_in_total'):.0f} messages in, "
                  f"{daemon.metric('messages_out_total'):.0f} out")
    print(f"    {len(GAPS)} gaps told")


scene.play(globals())
