#!/usr/bin/python3
# sanitizer: yes
"""[upstream NAME] compression: with python3-websockets and npm's ws as servers,
all that they can be told about it, and peers that lie.
"""
import hashlib
import itertools
import os
import struct
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import scene
import upstreams
from websockets.extensions.permessage_deflate import \
    ServerPerMessageDeflateFactory

QUICK = "backoff_min = 5ms\nbackoff_max = 40ms\n"
ONCE = "backoff_min = 1h\nbackoff_max = 1h\n"
OFFER = "permessage-deflate; client_max_window_bits"
KEEP = "[channel **]\nhistory_messages = 10000\nhistory_bytes = 64M\n"


def ticks(count):
    return [f'{{"symbol":"EURUSD","bid":1.{n * 7919 % 99999:05},"n":{n}}}'
            for n in range(count)]


# Small and alike, empty, long, what cannot be shorter, binary.
NOISE = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(5000))
MESSAGES = ticks(300) + ["", "ü" * 50000, "€", b"\0" * 300000, NOISE, b""] + \
    ["\n".join(ticks(2000))] + ticks(100)


def upstream(name, url, more=QUICK):
    return f"[upstream {name}]\nurl = {url}\nchannel = {name}\n{more}\n"


def feed(daemon, name):
    return next(f for f in daemon.look("feeds")["feeds"]
                if f["name"] == name)


def error_is(daemon, name, wanted):
    found = scene.wait_until(
        lambda: wanted in (feed(daemon, name)["last_error"] or "") and
        feed(daemon, name), f"{name}: {wanted}")
    scene.check(True, f"{name}: {found['last_error']}")


def hear(daemon, name, messages):
    consumer = daemon.ws(name, "?from=oldest")
    for number, wanted in enumerate(messages):
        kind = scene.TEXT if isinstance(wanted, str) else scene.BINARY
        data = wanted.encode() if kind == scene.TEXT else wanted
        got = consumer.read_message()
        if got != (kind, data):
            scene.equal(got, (kind, data), f"{name}: message {number}")
    scene.check(True, f"{name}: {len(messages)} messages as they were sent")


def was_compressed(daemon, name, at_most):
    state = feed(daemon, name)
    scene.equal(state["compressed"], True, f"{name}: it was agreed on")
    part = state["compressed_bytes"] / state["bytes"]
    scene.check(0 < part < at_most, f"{name}: {part:.0%} of the bytes came")
    scene.equal(daemon.metric("feed_compressed_bytes_total", feed=name),
                state["compressed_bytes"], "metrics say so, too")


def python_variants():
    yield "plain", {}
    for server, client in itertools.product((False, True), repeat=2):
        yield f"takeover{server:d}{client:d}", {
            "server_no_context_takeover": server,
            "client_no_context_takeover": client}
    for bits in range(9, 16):
        yield f"server{bits}", {"server_max_window_bits": bits}
    for bits in (8, 9, 12, 15):
        yield f"client{bits}", {"client_max_window_bits": bits,
                                "require_client_max_window_bits": True}
    yield "all", {"server_no_context_takeover": True,
                  "client_no_context_takeover": True,
                  "server_max_window_bits": 10, "client_max_window_bits": 10}


async def say_all(sock, _path):
    for message in MESSAGES:
        await sock.send(message)
    await sock.send(message for message in ("fragments ", "of a ", "", "word"))
    await (await sock.ping(b"are you there"))
    echo = await sock.recv()
    await sock.send(f"heard {echo}")
    await upstreams.stay(sock)


def scene_python():
    """Each of its parameters; the upstream's own message comes uncompressed."""
    folder = scene.TMP / "tls"
    folder.mkdir()
    tls = upstreams.Certificates(folder)
    servers, conf = {}, KEEP
    for name, options in python_variants():
        factory = ServerPerMessageDeflateFactory(**options)
        server = servers[name] = upstreams.Server(
            say_all, compression=None, extensions=[factory],
            tls=tls.server() if name == "all" else None)
        conf += upstream(name, server.url(), more=QUICK +
                         f"send = me\nca = {tls.ca}\n")
    with control.Daemon(conf) as daemon:
        for name, server in servers.items():
            hear(daemon, name,
                 MESSAGES + ["fragments of a word", "heard me"])
            scene.equal(server.headers[0]["Sec-WebSocket-Extensions"], OFFER,
                        f"{name}: the offer")
            was_compressed(daemon, name, 0.6)
            scene.equal(feed(daemon, name)["restarts"], 0, "one connection")
    for server in servers.values():
        server.close()


NODE_VARIANTS = {
    "plain": {},
    "small": {"threshold": 0},
    "server": {"threshold": 0, "serverNoContextTakeover": True},
    "client": {"threshold": 0, "clientNoContextTakeover": True},
    "both": {"threshold": 0, "serverNoContextTakeover": True,
             "clientNoContextTakeover": True},
    "server9": {"threshold": 0, "serverMaxWindowBits": 9},
    "server12": {"threshold": 0, "serverMaxWindowBits": 12},
    "client9": {"threshold": 0, "clientMaxWindowBits": 9},
    "client15": {"threshold": 0, "clientMaxWindowBits": 15},
    "all": {"threshold": 0, "serverNoContextTakeover": True,
            "clientNoContextTakeover": True, "serverMaxWindowBits": 10,
            "clientMaxWindowBits": 10},
}


def scene_node():
    """npm's ws: the same."""
    nodes = {name: upstreams.NodeServer(options)
             for name, options in NODE_VARIANTS.items()}
    conf = KEEP
    for name, node in nodes.items():
        conf += upstream(name, node.url("/ticks/2000")) + \
            upstream(f"{name}-big", node.url("/big/900000")) + \
            upstream(f"{name}-echo", node.url("/echo"), QUICK + "send = hi\n")
    with control.Daemon(conf) as daemon:
        for name in nodes:
            hear(daemon, name, [f'{{"n":{n},"text":"' + "tick " * (n % 500) +
                                '"}' for n in range(2000)])
            was_compressed(daemon, name, 0.2)
            hear(daemon, f"{name}-big", ["x" * 900000])
            was_compressed(daemon, f"{name}-big", 0.1)
            hear(daemon, f"{name}-echo", ["hi"])
    for node in nodes.values():
        node.close()


def scene_who_does_not_compress():
    """A peer that does not, and an upstream that does not ask; a reload."""
    async def serve(sock, _path):
        await sock.send("x" * 1000)
        await upstreams.stay(sock)
    with upstreams.Server(serve, compression=None) as plain, \
            upstreams.Server(serve, compression="deflate") as deflate, \
            upstreams.Server(serve, compression="deflate") as other:
        conf = upstream("plain", plain.url()) + \
            upstream("other", other.url())
        off = upstream("u", deflate.url(), QUICK + "compression = no\n")
        with control.Daemon(conf + off) as daemon:
            for name in "plain", "u":
                hear(daemon, name, ["x" * 1000])
                state = feed(daemon, name)
                scene.equal((state["compressed"], state["compressed_bytes"]),
                            (False, 0), f"{name}: nothing compressed")
            scene.check("Sec-WebSocket-Extensions" not in deflate.headers[0],
                        "no: it is not offered")
            hear(daemon, "other", ["x" * 1000])
            daemon.reload(conf + upstream("u", deflate.url()))
            hear(daemon, "u", ["x" * 1000] * 2)
            was_compressed(daemon, "u", 0.1)
            scene.equal([s.connections for s in (plain, deflate, other)],
                        [1, 2, 1], "a reload connects this one again, alone")
            daemon.reload(conf + off)
            hear(daemon, "u", ["x" * 1000] * 3)
            scene.equal(feed(daemon, "u")["compressed"], False, "and back")


def server_frame(opcode, payload, rsv=4, fin=True):
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    return head + b"\x7f" + struct.pack(">Q", len(payload)) + payload


def bomb():
    """A gigabyte of zeros in a megabyte, as one message."""
    packer = zlib.compressobj(9, wbits=-15)
    piece = packer.compress(b"\0" * 1048576) + packer.flush(zlib.Z_FULL_FLUSH)
    return server_frame(2, piece * 1024 + b"\0")


LIES = {
    "bomb": (bomb(), "1009: message too long"),
    "garbage": (server_frame(2, b"\xff\xff\xff"), "1007: a message is not"),
    "short": (server_frame(1, b"\xf2\x48"), "1007: a message is not"),
    "utf8": (server_frame(1, b"\0\2\0\xfd\xff\xc3z\0"),
             "1007: text is not UTF-8"),
    "second": (server_frame(1, b"\xf2", fin=False) + server_frame(
        0, b"\x48"), "1002: reserved bits"),
    "rsv2": (server_frame(1, b"x", rsv=2), "1002: reserved bits"),
}


def scene_peers_that_lie():
    def lying(bytes_):
        async def serve(sock, _path):
            sock.transport.write(bytes_)
            await upstreams.stay(sock)
        return serve
    servers = {name: upstreams.Server(lying(bytes_), compression="deflate")
               for name, (bytes_, _) in LIES.items()}
    plain = upstreams.Server(lying(server_frame(1, b"x")), compression=None)
    with control.Daemon(upstream("plain", plain.url(), ONCE) + "".join(
            upstream(name, server.url(), ONCE)
            for name, server in servers.items())) as daemon:
        for name, (_, wanted) in LIES.items():
            error_is(daemon, name, wanted)
        error_is(daemon, "plain", "1002: frames that RFC 6455")
        peak = int(next(
            line.split()[1] for line in open(f"/proc/{daemon.pid}/status")
            if "VmHWM" in line))
        scene.check(peak < 60000 * scene.SLOWNESS ** 2,
                    f"{peak} KiB at most")
    for server in *servers.values(), plain:
        server.close()


def scene_answers_that_are_none():
    """Each is an error, with the words that are wrong."""
    answers = {
        "unknown": ("permessage-deflate; mode=fast", "an unknown parameter"),
        "twice": ("permessage-deflate; server_max_window_bits=9; "
                  "server_max_window_bits=9", "a parameter twice"),
        "bits": ("permessage-deflate; server_max_window_bits=16",
                 "window bits that are not 8 to 15"),
        "other": ("x-webkit-deflate-frame",
                  "an extension that was not offered"),
        "unasked": ("permessage-deflate",
                    "an extension that was not offered"),
    }
    servers = {name: upstreams.Server(
        upstreams.stay, compression=None, extra_headers={
            "Sec-WebSocket-Extensions": answer})
        for name, (answer, _) in answers.items()}
    with control.Daemon("".join(upstream(
            name, server.url(), QUICK + ("compression = no\n" if
                                         name == "unasked" else ""))
            for name, server in servers.items())) as daemon:
        for name, (answer, why) in answers.items():
            error_is(daemon, name, "Sec-WebSocket-Extensions has "
                     f"{why}: {answer[:30]}")
    for server in servers.values():
        server.close()


def scene_a_pace_is_kept():
    """max_rate: what waits is compressed, in the peer's socket and ours."""
    total = 1500

    async def serve(sock, _path):
        for i in range(total):
            await sock.send(f"{i} " + "x" * 10000)
        await upstreams.stay(sock)
    with upstreams.Server(serve, compression="deflate") as server:
        with control.Daemon(KEEP + upstream(
                "slow", server.url(), QUICK + "max_rate = 1000\n")) as daemon:
            consumer = daemon.ws("slow", "?from=oldest")
            scene.equal([int(consumer.read_text().split()[0])
                         for _ in range(total)], list(range(total)),
                        "all, in order")
            scene.equal(feed(daemon, "slow")["restarts"], 0,
                        "on one connection")


scene.play(globals())
