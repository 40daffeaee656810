#!/usr/bin/python3
# limit: 180
# slow
"""A message of 10 MB to 100 consumers, half of them slow, all of them pinging
and pinged inside it: intact everywhere, pongs in time."""
import os
import selectors
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
from scene import BINARY, CONTINUATION, PING, PONG, TEXT

CONSUMERS = 100
SIZE = 10 * 1000 * 1000
PONG_S = 10  # pong_timeout, for both sides
PING_EACH = 1000 * 1000  # bytes of the message
FAST_BYTES, SLOW_BYTES = 256 * 1024, 8 * 1024
CONF = f"""[limits]
message_bytes_max = 16M
body_bytes_max = 16M
ping_interval = 200ms
pong_timeout = {PONG_S}s
[channel *]
buffer_bytes = 64M
"""


class Ear:
    """Reads frames as they come and compares them with what was published."""

    def __init__(self, daemon, message, slow):
        self.message, self.slow = memoryview(message), slow
        self.client = daemon.ws("c", receive_bytes=16384 if slow else 0)
        self.sock, self.data = self.client.sock, self.client.buffer
        self.sock.setblocking(False)
        self.most = SLOW_BYTES if slow else FAST_BYTES
        self.at = 0  # bytes of the message
        self.inside = self.over = False
        self.pinged, self.pings_sent = None, 0
        self.waits, self.inside_pongs, self.answered = [], 0, 0

    def fail(self, what):
        raise scene.Failure(f"{'slow' if self.slow else 'fast'} consumer at "
                            f"{self.at} of the message: {what}")

    def read(self):
        try:
            data = self.sock.recv(self.most)
        except BlockingIOError:
            return
        if not data:
            self.fail("the connection ended")
        self.data += data
        begin = 0
        while True:
            header, length = 2, 0
            if len(self.data) - begin >= 2:
                length = self.data[begin + 1]
                if length == 126:
                    header = 4
                if length > 126:
                    self.fail(f"a frame of length {length}")
            if len(self.data) - begin < header:
                break
            if header == 4:
                length, = struct.unpack_from(">H", self.data, begin + 2)
            if len(self.data) - begin < header + length:
                break
            body = bytes(self.data[begin + header:begin + header + length])
            self.frame(self.data[begin], body)
            begin += header + length
        del self.data[:begin]

    def frame(self, first, body):
        fin, opcode = first & 0x80, first & 0x7f
        if opcode == PING:
            self.sock.send(scene.frame(PONG, body))
            self.answered += 1
        elif opcode == PONG:
            self.pong(body)
        elif self.at == SIZE:
            if self.over or (fin, opcode, body) != (0x80, TEXT, b"the next"):
                self.fail(f"behind the message: {first} {scene.short(body)}")
            self.over = True
        else:
            self.fragment(fin, opcode, body)

    def fragment(self, fin, opcode, body):
        if opcode != (CONTINUATION if self.inside else BINARY):
            self.fail(f"opcode {opcode}")
        if body != self.message[self.at:self.at + len(body)]:
            self.fail("other bytes")
        self.inside = True
        self.at += len(body)
        if bool(fin) != (self.at == SIZE):
            self.fail(f"FIN is {fin}")
        if not self.pinged and self.at // PING_EACH > len(self.waits):
            self.pings_sent += 1
            self.pinged = time.monotonic()
            self.sock.send(scene.frame(PING, b"%d" % self.pings_sent))

    def pong(self, body):
        if not self.pinged or body != b"%d" % self.pings_sent:
            self.fail(f"a pong for nothing: {body}")
        self.waits.append(time.monotonic() - self.pinged)
        self.inside_pongs += self.at < SIZE
        self.pinged = None


def hear_all(ears):
    """Slow ones read little, and only once while the others read five times."""
    poll = selectors.DefaultSelector()
    for ear in ears:
        poll.register(ear.sock, selectors.EVENT_READ, ear)
    end, turn = scene.deadline(120), 0
    while poll.get_map():
        if time.monotonic() > end:
            raise scene.Failure(f"{len(poll.get_map())} have not heard all")
        turn += 1
        fast = any(not key.data.slow for key in poll.get_map().values())
        for key, _ in poll.select(0.1):
            ear = key.data
            if not ear.slow or not fast or turn % 5 == 0:
                ear.read()
            if ear.over and not ear.pinged:
                poll.unregister(ear.sock)


def scene_ten_megabytes_to_a_hundred():
    message = os.urandom(SIZE)
    with scene.Daemon(CONF) as daemon:
        ears = [Ear(daemon, message, n % 2) for n in range(CONSUMERS)]
        daemon.publish("c", message, "image/png")
        daemon.publish("c", "the next")
        started = time.monotonic()
        hear_all(ears)
        print(f"    {CONSUMERS} x {SIZE} bytes in "
              f"{time.monotonic() - started:.1f} s")
        for slow in False, True:
            some = [e for e in ears if e.slow == slow]
            name = "slow" if slow else "fast"
            scene.equal({e.at for e in some}, {SIZE}, f"{name}: intact")
            waits = [w for e in some for w in e.waits]
            scene.check(min(len(e.waits) for e in some) >= 1,
                        f"{name}: {len(waits)} pongs")
            scene.in_time(max(waits), PONG_S, f"{name}: the longest wait")
            scene.check(any(e.inside_pongs for e in some),
                        f"{name}: {sum(e.inside_pongs for e in some)} of them "
                        "inside the message")
        scene.equal((daemon.metric("timeouts_pong_total"),
                     daemon.metric("overruns_total")), (0, 0),
                    f"{sum(e.answered for e in ears)} pings of the server "
                    "answered, nobody cut, nobody overtaken")


scene.play(globals())
