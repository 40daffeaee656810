#!/usr/bin/python3
# sanitizer: yes
"""/ws/CHANNEL: where a consumer begins, and that it gets what was published.

A position continues exactly, or the consumer is told that it does not.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

KIB = 1024
FRAGMENT = 16 * KIB
SIZES = (0, 1, 125, 126, 127, FRAGMENT - 1, FRAGMENT, FRAGMENT + 1,
         65535, 65536, KIB * KIB)
# 1 MiB is the default of message_bytes_max; 64K of history is soon overtaken.
SMALL = "[channel small]\nhistory_messages = 4\nhistory_bytes = 64K\n" \
    "buffer_bytes = 64K\n"


def publish(daemon, channel, *texts):
    """The position of the last one."""
    return [daemon.publish(channel, t)["position"] for t in texts][-1]


def texts(consumer, count):
    return [consumer.read_text() for _ in range(count)]


def offset(position):
    return int(position.rpartition(":")[2])


def scene_live():
    with scene.Daemon() as daemon:
        early = daemon.ws("c")
        scene.check(re.fullmatch("[0-9a-f]{16}:0", early.position),
                    f"position before the first message: {early.position}")
        scene.equal(early.recovered, "true", "recovered")
        last = publish(daemon, "c", "one", "two", "three")
        epoch = early.position.partition(":")[0]
        scene.equal(last, f"{epoch}:3", "the publisher's position")
        late = daemon.ws("c")
        scene.equal(late.position, last, "live: the newest position")
        publish(daemon, "c", "four")
        scene.equal(late.read_text(), "four", "live: only what comes")
        scene.equal(texts(early, 4), ["one", "two", "three", "four"],
                    "who was there has all, in order")
        other = daemon.ws("d")
        scene.check(other.position.partition(":")[0] != epoch,
                    "another channel has another epoch")


def scene_from_the_last_and_oldest():
    with scene.Daemon() as daemon:
        publish(daemon, "c", "1", "2", "3", "4", "5")
        for arguments, first in (
                ("?from=-2", 4), ("?from=-5", 1), ("?from=-99", 1),
                ("?from=-0", 6), ("?from=oldest", 1), ("?from=", 6),
                ("?from=-1&gap=silent", 5)):
            consumer = daemon.ws("c", arguments)
            wanted = [str(i) for i in range(first, 6)]
            if offset(consumer.position) != first - 1:
                raise scene.Failure(f"{arguments}: {consumer.position}")
            scene.equal(texts(consumer, len(wanted)), wanted, arguments)
            scene.equal(consumer.recovered, "true", "recovered")
            consumer.close()
        consumer = daemon.ws("c", "?from=-1")
        publish(daemon, "c", "6", "7")
        scene.equal(texts(consumer, 3), ["5", "6", "7"],
                    "history goes on into live")


def scene_from_a_position():
    with scene.Daemon() as daemon:
        last = publish(daemon, "c", "1", "2", "3", "4", "5")
        epoch = last.partition(":")[0]
        for number in range(6):
            for colon in (":", "%3A"):
                consumer = daemon.ws("c", f"?from={epoch}{colon}{number}")
                if consumer.position != f"{epoch}:{number}" or \
                        consumer.recovered != "true":
                    raise scene.Failure(str(consumer.headers))
                publish(daemon, "c", "more")
                wanted = [str(i) for i in range(number + 1, 6)] + ["more"]
                got = texts(consumer, len(wanted))
                scene.equal(got, wanted, f"after {epoch}{colon}{number}")
                consumer.close()
                if number < 5:
                    break
        # Disconnect anywhere, return with the position: nothing twice.
        consumer, got = daemon.ws("e"), []
        at, epoch = 0, consumer.position.partition(":")[0]
        for i in range(40):
            publish(daemon, "e", str(i))
            if i % 3 == 0:
                got += texts(consumer, i + 1 - at)
                at = i + 1
            if i % 5 == 0:
                consumer.reset()
                consumer = daemon.ws("e", f"?from={epoch}:{at}")
        got += texts(consumer, 40 - at)
        scene.equal(got, [str(i) for i in range(40)],
                    "returns from anywhere: each message once")


def scene_a_position_of_nowhere():
    with scene.Daemon() as daemon:
        last = publish(daemon, "c", "1", "2", "3")
        epoch = last.partition(":")[0]
        for what, position in (("another epoch", "0123456789abcdef:2"),
                               ("ahead of the tape", f"{epoch}:4")):
            told = daemon.ws("c", f"?from={position}")
            scene.equal(told.recovered, "false", f"{what}: not recovered")
            scene.equal(told.position, f"{epoch}:0", "from the oldest")
            scene.equal(told.read_closed()[0], 4009, "and closed with 4009")
            silent = daemon.ws("c", f"?from={position}&gap=silent")
            scene.equal(silent.recovered, "false", "gap=silent: told, too")
            scene.equal(silent.position, f"{epoch}:0", "from the oldest")
            scene.equal(texts(silent, 3), ["1", "2", "3"], "and goes on")
            silent.close()


def scene_an_overtaken_position():
    with scene.Daemon(SMALL) as daemon:
        first = publish(daemon, "small", "a" * 10000)
        epoch = first.partition(":")[0]
        publish(daemon, "small", *["b" * 10000] * 29)
        oldest = daemon.ws("small", "?from=oldest")
        begin = offset(oldest.position)
        scene.check(begin > 1, f"the oldest kept is {begin + 1} of 30")
        told = daemon.ws("small", f"?from={first}")
        scene.equal(told.recovered, "false", "overtaken: not recovered")
        code, reason = told.read_closed()
        scene.equal(code, 4009, "closed with 4009")
        found = re.fullmatch(rf"gap {epoch}:2-(\d+)", reason)
        scene.check(found, f"the reason names the gap: {reason}")
        missing = int(found[1])
        silent = daemon.ws("small", f"?from={first}&gap=silent")
        scene.equal(offset(silent.position), missing,
                    "gap=silent: the position is the gap's end")
        publish(daemon, "small", "end")
        got = texts(silent, 30 - missing + 1)
        scene.equal((got[0], got[-1]), ("b" * 10000, "end"), "and goes on")
        kept = daemon.ws("small", f"?from={silent.position}")
        scene.equal(kept.recovered, "true",
                    "kept for who returns, beyond the history")


def scene_bad_arguments():
    with scene.Daemon() as daemon:
        publish(daemon, "c", "1")
        epoch = daemon.ws("c").position.partition(":")[0]
        for value in ("new", "1", "-", "--1", "-x", "+1", "OLDEST", "oldest%20",
                      epoch, epoch + ":", epoch + ":-1", epoch + ":01",
                      epoch.upper() + "AA:1", epoch + ":1x", ":1", "1:1",
                      epoch + ":99999999999999999999",
                      "-99999999999999999999", "x" * 200):
            consumer = scene.WebSocket(daemon.port, f"/ws/c?from={value}")
            if consumer.status != 400:
                raise scene.Failure(f"from={value}: {consumer.status}")
            error = scene.json.loads(consumer.body)["error"]
            if error["code"] != "bad_from" or "EPOCH:OFFSET" not in \
                    error["message"]:
                raise scene.Failure(f"from={value}: {error}")
            consumer.close()
        scene.check(True, "what is no from: 400 with code and message")
        twice = scene.WebSocket(daemon.port, "/ws/c?from=-1&from=-1")
        scene.equal(twice.status, 400, "from= twice")
        behind = daemon.ws("c", f"?token={'x' * 2000}&&from=-1&x=&")
        scene.equal(behind.read_text(), "1", "from= behind a long argument")
        for value in ("", "loud", "silent%20", "silentt", "x" * 100):
            consumer = scene.WebSocket(daemon.port, f"/ws/c?gap={value}")
            if consumer.status != 400 or b'"bad_gap"' not in consumer.body:
                raise scene.Failure(f"gap={value}: {consumer.status}")
        scene.check(True, "what is no gap: 400 with code and message")


def payloads():
    text = "äöü€😀 text "
    data = text.encode() * (KIB * KIB // len(text.encode()) + 1)
    for size in SIZES:
        cut = data[:size]
        cut = cut.decode(errors="ignore").encode()
        yield "t", cut + b"." * (size - len(cut))
        yield "b", bytes(range(256)) * (size // 256) + b"\xff" * (size % 256)


def scene_messages_both_ways():
    with scene.Daemon() as daemon:
        sender, hearer = daemon.ws("c"), daemon.ws("c")
        for kind, data in payloads():
            opcode = scene.TEXT if kind == "t" else scene.BINARY
            sender.send_frame(opcode, data)
            for who in (sender, hearer):
                if who.read_message() != (opcode, data):
                    raise scene.Failure(f"{kind} {len(data)}")
        scene.check(True, "text and binary of 0 to 1 MiB, from a frame")
        for kind, data in payloads():
            opcode = scene.TEXT if kind == "t" else scene.BINARY
            cuts = [data[i:i + len(data) // 3 + 1]
                    for i in range(0, len(data), len(data) // 3 + 1)] or [b""]
            for number, part in enumerate(cuts + [b""]):
                sender.send_frame(scene.CONTINUATION if number else opcode,
                                  part, fin=number == len(cuts))
            for who in (sender, hearer):
                if who.read_message() != (opcode, data):
                    raise scene.Failure(f"{kind} {len(data)} fragmented")
        scene.check(True, "and from fragments that cut characters")
        for kind, data in payloads():
            daemon.publish("c", data, "text/plain" if kind == "t" else "x/y")
            opcode = scene.TEXT if kind == "t" else scene.BINARY
            if hearer.read_message() != (opcode, data):
                raise scene.Failure(f"{kind} {len(data)} posted")
        scene.check(True, "and from POST")


def scene_fragments_of_16_kib():
    with scene.Daemon() as daemon:
        consumer = daemon.ws("c")
        data = os.urandom(3 * FRAGMENT + 5)
        daemon.publish("c", data, "x/y")
        frames = [consumer.read_frame() for _ in range(4)]
        scene.equal([(f.fin, f.rsv, f.opcode, len(f.payload)) for f in frames],
                    [(False, 0, scene.BINARY, FRAGMENT),
                     (False, 0, scene.CONTINUATION, FRAGMENT),
                     (False, 0, scene.CONTINUATION, FRAGMENT),
                     (True, 0, scene.CONTINUATION, 5)], "the frames of 48 KiB")
        scene.equal(b"".join(f.payload for f in frames), data, "and bytes")


def scene_order_of_many():
    """Three sources at once: the same order for everybody, nothing lost."""
    with scene.Daemon() as daemon:
        consumers = [daemon.ws("c") for _ in range(4)]
        for i in range(200):
            consumers[i % 2].send_text(f"{i % 2}.{i}")
            if i % 10 == 0:
                daemon.publish("c", "".join(
                    f"2.{i}.{j}\n" for j in range(5)),
                    arguments="?split=lines")
        got = [texts(c, 300) for c in consumers]
        scene.check(all(g == got[0] for g in got), "one order for all")
        for source in "01":
            mine = [t for t in got[0] if t.startswith(source + ".")]
            scene.equal(mine, [f"{source}.{i}" for i in range(int(source), 200,
                                                              2)],
                        f"source {source} in its own order")
        replay = daemon.ws("c", "?from=oldest")
        scene.equal(texts(replay, 300), got[0], "history has the same order")


def scene_three_libraries():
    """The same stream, read and written by each."""
    sends = [p for p in payloads() if len(p[1]) <= 65536 + 1] + \
        [("t", b"x" * KIB * KIB)]
    for source in scene.CLIENTS:
        with scene.Daemon() as daemon:
            url = f"ws://127.0.0.1:{daemon.port}/ws/c"
            count = len(sends)
            readers = [scene.Client(k, url, count) for k in scene.CLIENTS]
            daemon.wait_metric('channel_consumers{channel="c"}', 3)
            readers.append(scene.Client(source, url, count, sends))
            for reader in readers:
                got = reader.result()
                scene.equal(
                    (got["sha256"], got["kinds"]),
                    (scene.digest(d for _, d in sends),
                     "".join(k for k, _ in sends)),
                    f"{source} sent, {reader.kind} read {count} messages")


scene.play(globals())
