#!/usr/bin/python3
# sanitizer: yes
"""What RFC 6455 forbids, byte by byte: the close code, and nobody else hurt."""
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
from scene import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

LIMIT = 64 * 1024
LIMITS = f"[limits]\nmessage_bytes_max = {LIMIT}\nclose_timeout = 2s\n"
BAD_UTF8 = (b"\xff", b"a\xc3(", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\x80", b"\xfe")
CUT_UTF8 = (b"\xc3", b"ok \xe2\x82", b"\xf0\x9f\x98")


class Bystander:
    """Another consumer of the channel: hears the good messages, all of them,
    and nothing else."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.consumer = daemon.ws("c")

    def undisturbed(self, what):
        self.daemon.publish("c", what)
        got = self.consumer.read_text()
        if got != what:
            raise scene.Failure(f"after {what}: heard {got!r}")
        name = 'connections{state="websocket"}'
        scene.wait_until(lambda: self.daemon.metric(name) == 1,
                         f"{what}: the others are gone")


def closed_with(daemon, data, code, what, reason=""):
    """The bytes, on a connection of their own, end it with that code.

    We end it then: behind such bytes our own close is not always seen.
    """
    with daemon.ws("c") as client:
        try:
            client.send(data)
        except ConnectionError:
            pass  # closed while it was sent; what matters is the answer
        got = client.read_closed(answer=False)
    if got[0] != code or reason not in got[1]:
        raise scene.Failure(f"{what}: {got}, expected {code} {reason}")
    print(f"    {code} {what}", flush=True)


def scene_too_long():
    with scene.Daemon(LIMITS) as daemon:
        bystander = Bystander(daemon)
        for what, data in (
                ("a frame that announces a byte too many",
                 frame(BINARY, b"", length=LIMIT + 1) + b"x" * 10),
                ("a frame that announces 4 EiB",
                 frame(TEXT, b"", length=1 << 62) + b"x" * 10),
                ("fragments that are too long together",
                 frame(TEXT, b"x" * LIMIT, fin=False)
                 + frame(CONTINUATION, b"x")),
                ("a fragment that announces it",
                 frame(BINARY, b"x" * 1000, fin=False)
                 + frame(CONTINUATION, b"", fin=False, length=LIMIT - 999)
                 + b"x"),
                ("a thousand fragments",
                 frame(TEXT, b"x" * 100, fin=False)
                 + frame(CONTINUATION, b"x" * 100, fin=False) * 1000)):
            closed_with(daemon, data, 1009, what, "message_bytes_max")
        bystander.undisturbed("after what was too long")
        with daemon.ws("c") as client:
            client.send_frame(BINARY, b"y" * LIMIT)
            scene.equal(bystander.consumer.read_message(),
                        (BINARY, b"y" * LIMIT), "as long as the limit")
            client.send_frame(TEXT, b"z" * LIMIT, fin=False)
            client.send_frame(CONTINUATION, b"")
            scene.equal(bystander.consumer.read_message(),
                        (TEXT, b"z" * LIMIT), "the same in fragments")


def scene_not_utf8():
    with scene.Daemon(LIMITS) as daemon:
        bystander = Bystander(daemon)
        for bad in BAD_UTF8 + CUT_UTF8:
            closed_with(daemon, frame(TEXT, b"ok" + bad), 1007,
                        f"{bad} at the end")
        for bad in BAD_UTF8:
            for cut in range(1, len(bad)):
                closed_with(daemon, frame(TEXT, bad[:cut], fin=False)
                            + frame(CONTINUATION, bad[cut:], fin=False), 1007,
                            f"{bad[:cut]} | {bad[cut:]}, unfinished message")
        for bad in CUT_UTF8:
            closed_with(daemon, frame(TEXT, bad, fin=False)
                        + frame(CONTINUATION), 1007, f"{bad} is all of it")
        whole = frame(TEXT, b"\xff" + b"x" * 60000)
        closed_with(daemon, whole[:40], 1007, "in what came of a long frame")
        closed_with(daemon, frame(TEXT, b"\xc3", fin=False) + frame(PING)
                    + frame(CONTINUATION, b"\xc3"), 1007, "around a ping")
        bystander.undisturbed("after bad text")
        good = "aé€😀\U0010ffff\0".encode()
        with daemon.ws("c") as client:
            for i in range(1, len(good)):
                client.send_frame(TEXT, good[:i], fin=False)
                client.send_frame(CONTINUATION, good[i:])
            for i in range(1, len(good)):
                got = bystander.consumer.read_message()
                if got != (TEXT, good):
                    raise scene.Failure(f"cut at {i}: {got}")
            client.send_frame(BINARY, b"\xff\xc3")
            scene.equal(bystander.consumer.read_message(),
                        (BINARY, b"\xff\xc3"), "good text cut anywhere, "
                        "binary of any kind")
        scene.equal(daemon.metric("refused_payload_total"), 0,
                    "refused as it came, not when it was published")


def scene_against_the_protocol():
    with scene.Daemon(LIMITS) as daemon:
        bystander = Bystander(daemon)
        for rsv in (1, 2, 4, 7):
            for opcode in (TEXT, BINARY, PING, PONG):
                closed_with(daemon, frame(opcode, b"x", rsv=rsv), 1002,
                            f"reserved bits {rsv}, opcode {opcode}")
        closed_with(daemon, frame(TEXT, b"x", fin=False)
                    + frame(CONTINUATION, b"x", rsv=4), 1002,
                    "reserved bit in a continuation")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            closed_with(daemon, frame(opcode, b"x"), 1002, f"opcode {opcode}")
        for opcode in (PING, PONG, CLOSE):
            closed_with(daemon, frame(opcode, b"", fin=False), 1002,
                        f"a fragmented control frame, opcode {opcode}")
            # The library hangs up on these without a close frame.
            closed_with(daemon, frame(opcode, b"x" * 126), None,
                        f"a control frame of 126 bytes, opcode {opcode}")
        closed_with(daemon, frame(CONTINUATION, b"x"), 1002,
                    "a continuation of nothing")
        closed_with(daemon, frame(TEXT, b"x") + frame(CONTINUATION, b"x"),
                    1002, "a continuation of what was complete")
        for opcode in (TEXT, BINARY):
            closed_with(daemon, frame(TEXT, b"x", fin=False)
                        + frame(opcode, b"y"), 1002,
                        f"a new message in a message, opcode {opcode}")
        closed_with(daemon, frame(BINARY, b"", length=1 << 63), None,
                    "a length with its highest bit")
        bystander.consumer.read_text()  # the complete one
        bystander.undisturbed("after all that")


def scene_closes_of_the_client():
    with scene.Daemon(LIMITS) as daemon:
        bystander = Bystander(daemon)
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011,
                     3000, 3999, 4000, 4999):
            with daemon.ws("c") as client:
                client.send_close(code, "bye")
                if client.read_closed()[0] != code:
                    raise scene.Failure(f"close {code} was not echoed")
        scene.check(True, "codes are echoed")
        with daemon.ws("c") as client:
            client.close_sent = True
            client.send_frame(CLOSE)
            scene.check(client.read_closed()[0] in (1000, 1005),
                        "a close without a code is answered")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999):
            closed_with(daemon, frame(CLOSE, struct.pack(">H", code)), 1002,
                        f"close with {code}")
        closed_with(daemon, frame(CLOSE, b"\x03"), 1002, "half a code")
        closed_with(daemon, frame(CLOSE, b"\x03\xe8\xff"), 1007,
                    "a reason that is not UTF-8")
        with daemon.ws("c") as client:
            client.send_frame(TEXT, b"begun", fin=False)
            client.send_close(1000)
            scene.equal(client.read_closed()[0], 1000,
                        "in a fragmented message")
        with daemon.ws("c") as client:
            client.send(frame(CLOSE, struct.pack(">H", 1000))
                        + frame(TEXT, b"too late"))
            client.close_sent = True
            scene.equal(client.read_closed()[0], 1000, "and what comes after")
        for _ in range(20):
            daemon.ws("c").reset()
        bystander.undisturbed("after closes and resets")
        scene.equal(daemon.metric('channel_messages_total{channel="c"}'), 1,
                    "nothing half or late was published")
        daemon.wait_metric("connections_closed_total", 20)
        scene.wait_until(
            lambda: daemon.metric('channel_consumers{channel="c"}') == 1,
            "one consumer is left")


def scene_control_frames_between():
    with scene.Daemon(LIMITS) as daemon:
        bystander = Bystander(daemon)
        with daemon.ws("c") as client:
            client.send_frame(TEXT, b"one ", fin=False)
            client.send_frame(PING, b"\xff\xfe payload")
            scene.equal(client.read_frame(), (True, 0, PONG,
                                              b"\xff\xfe payload"),
                        "a ping in a message is answered in it")
            client.send_frame(PONG, b"\xff unasked")
            client.send_frame(CONTINUATION, b"two ", fin=False)
            client.send_frame(PING, b"")
            client.send_frame(CONTINUATION, b"three")
            scene.equal(bystander.consumer.read_text(), "one two three",
                        "and the message is whole")
            scene.equal(client.read_text(), "one two three", "for all")
            scene.equal(client.pongs or [client.read_frame().payload], [b""],
                        "the empty ping, too")
            client.send_frame(PING, b"p" * 125)
            scene.equal(client.read_frame().payload, b"p" * 125,
                        "a ping of 125 bytes")
            client.send_text("text")
            client.send_frame(PONG, b"\xff\xfe")
            client.send_text("more")
            scene.equal([client.read_text(), client.read_text()],
                        ["text", "more"], "a binary pong after text")
            for i in range(1000):
                client.send_frame(PING, b"%d" % i)
            client.send_text("still here")
            before = len(client.pongs)
            scene.equal(client.read_text(), "still here",
                        "1000 pings are survived")
            if len(client.pongs) == before:
                client.pongs.append(client.read_frame().payload)
            scene.check(client.pongs[-1].isdigit(), "and answered: "
                        f"{len(client.pongs) - before} of them")


def scene_unmasked_frames():
    """Documented: libwebsockets takes them."""
    with scene.Daemon(LIMITS) as daemon:
        bystander = Bystander(daemon)
        with daemon.ws("c") as client:
            client.send_frame(TEXT, "grüße".encode(), mask=False)
            client.send_frame(BINARY, b"\xff" * 70000, mask=False, length=4096)
            scene.equal(bystander.consumer.read_text(), "grüße",
                        "an unmasked text")
            scene.equal(bystander.consumer.read_message(),
                        (BINARY, b"\xff" * 4096), "an unmasked binary")
        bystander.undisturbed("after unmasked frames")


def scene_publishing_without_the_right():
    conf = LIMITS + "[auth]\nanonymous = subscribe\n[command x]\n" \
        "exec = sh -c 'echo from inside; exec sleep 1000'\nchannel = c\n"
    with scene.Daemon(conf) as daemon:
        daemon.wait_metric('channel_messages_total{channel="c"}', 1)
        bystander = daemon.ws("c", "?from=oldest")
        for what, data in (
                ("a message", frame(TEXT, b"hi")),
                ("the first fragment", frame(BINARY, b"hi", fin=False)),
                ("the beginning of a frame", frame(TEXT, b"", length=500)
                 + b"xx"),
                ("an empty message", frame(TEXT)),
                ("several", frame(TEXT, b"hi") * 50)):
            closed_with(daemon, data, 1008, what, "not allowed")
        with daemon.ws("c", "?from=oldest") as client:
            client.send_frame(PING, b"ping")
            scene.equal(client.read_text(), "from inside",
                        "listening is allowed")
            if not client.pongs:
                client.pongs.append(client.read_frame().payload)
            scene.equal(client.pongs, [b"ping"], "and pinging")
        scene.equal(daemon.metric("refused_rights_total"), 5, "counted")
        scene.equal(bystander.read_text(), "from inside", "nobody else hurt")
        bystander.send_close()
        bystander.read_closed()


def scene_bytes_of_chance():
    """Connections of noise; the seed to have it again."""
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"    SEED={seed}", flush=True)
    dice = random.Random(seed)
    with scene.Daemon(LIMITS) as daemon:
        bystander = Bystander(daemon)
        for i in range(300):
            client = daemon.ws("noise")
            data = dice.randbytes(dice.randrange(1, 200))
            if i % 3 == 0:
                data = frame(dice.randrange(16), data[:dice.randrange(125)],
                             fin=dice.random() < 0.7) * 3 + data
            client.send(data)
            if i % 2:
                client.reset()
            else:
                client.end()
                try:
                    client.read_all()
                except scene.Failure:
                    raise scene.Failure(f"{i}: {data}: no end") from None
                client.close()
        bystander.undisturbed("after noise")
        scene.check(True, "noise ends connections and nothing else")


scene.play(globals())
