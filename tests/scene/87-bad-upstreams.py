#!/usr/bin/python3
# slow
# sanitizer: yes
"""Peers that lie, shout, or say what no library would: bounded and told.
"""
import json
import os
import pathlib
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import upstreams

QUICK = "backoff_min = 5ms\nbackoff_max = 40ms\n"
ONCE = "backoff_min = 1h\nbackoff_max = 1h\n"
SUBSCRIBED = '{"id":1,"ok":{"channel":"u","position":"%016x:%d",' \
    '"recovered":false}}'
CONTROLS = set(range(32)) | {127}
KIB_MAX = 40000  # of memory, where a daemon that does nothing has 9000


def upstream(url, more=QUICK):
    return f"[upstream u]\nurl = {url}\nchannel = u\n{more}\n"


def failures(daemon):
    return daemon.metric("feed_failures_total", feed="u")


def told(daemon):
    """The last error: UTF-8, and one line, in the log and the metrics."""
    daemon.wait_log("upstream .*; again in")
    body = daemon.http("GET", "/metrics").body
    line = next(line for line in body.split(b"\n")
                if line.startswith(b"earshot_feed_last_error{"))
    text = line.partition(b'error="')[2].rpartition(b'"')[0].decode()
    scene.check(not CONTROLS & set(text.encode()), text)
    return text


def is_small(daemon):
    status = pathlib.Path(f"/proc/{daemon.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    scene.check(peak < KIB_MAX * scene.SLOWNESS ** 2, f"{peak} KiB at most")


def text_frame(text):
    data = text.encode()
    return scene.frame(scene.TEXT, data, mask=False)


def closes_with(payload):
    def serve(sock):
        upstreams.upgrade(sock)
        sock.sendall(scene.frame(scene.CLOSE, payload, mask=False))
        upstreams.hold(sock)
    return upstreams.RawServer(serve)


def scene_words_of_the_peer():
    """They end up in the log, in /metrics, in JSON."""
    for payload, wanted in (
            (scene.close_payload(1000) + b"\xff\xfe", "with 1000: ??"),
            (scene.close_payload(4000) + b"a\xc3\xbc\n\x7f\x1b[31m\0b",
             "with 4000: a\u00fc???[31m"),
            (scene.close_payload(4001) + "\u009b31m\u00a0x".encode(),
             "with 4001: ??31m\u00a0x"),
            (scene.close_payload(4999) + b"y" * 123, "y" * 123)):
        run = pathlib.Path(tempfile.mkdtemp(dir=scene.TMP))
        conf = f"[control]\nlisten = unix:{run}/control.sock\n"
        with closes_with(payload) as server, \
                scene.Daemon(upstream(server.url(), ONCE) + conf) as daemon:
            text = told(daemon)
            scene.check(wanted in text, wanted)
            done = scene.run([scene.EARSHOT, "feeds", "--json", "--control",
                              f"{run}/control.sock"])
            scene.equal(json.loads(done.stdout)["feeds"][0]["last_error"],
                        text, "earshot feeds")


def scene_codes_that_no_one_may_send():
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535):
        with closes_with(struct.pack(">H", code)) as server, \
                scene.Daemon(upstream(server.url(), ONCE)) as daemon:
            scene.check("was closed with" in told(daemon), f"{code}")
    with closes_with(b"\x03") as server, \
            scene.Daemon(upstream(server.url(), ONCE)) as daemon:
        scene.check("was closed with 1005" in told(daemon), "half a code")


def scene_an_answer_of_rubbish():
    def serve(sock):
        sock.recv(65536)
        sock.sendall(b'HTTP/1.1 403 No "way\\ \xff\x01x\r\n'
                     b"Content-Length: 3\r\n\r\n\xff\n\0")
        upstreams.hold(sock)
    for path in "/", "/" + "long/" * 300:
        with upstreams.RawServer(serve) as server:
            url = server.url(path) + "?token=SECRET"
            with scene.Daemon(upstream(url, ONCE)) as daemon:
                text = told(daemon)
                scene.check("HTTP 403 No " in text, "why, behind any url")
                scene.check("SECRET" not in daemon.log() + text,
                            "no query in the log")


def scene_heads_without_an_end():
    def headers(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n")
        for i in range(100000):
            sock.sendall(b"X-%d: " % i + b"y" * 1000 + b"\r\n")

    def body(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100000):
            sock.sendall(b"1000\r\n" + b"y" * 4096 + b"\r\n")

    def half(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 101 Sw")
        upstreams.hold(sock)
    for serve, why in ((headers, "cannot connect"), (body, "HTTP 403"),
                       (half, "no answer in time")):
        more = ONCE + "connect_timeout = 300ms\n"
        with upstreams.RawServer(serve) as server, \
                scene.Daemon(upstream(server.url(), more)) as daemon:
            scene.check(why in told(daemon), why)
            is_small(daemon)


def mirror(server, more):
    return upstream(server.url("/ws"), f"mirror = yes\n{more}")


def earshot(*events):
    """Another earshot, of sorts, that closes then."""
    def serve(sock):
        upstreams.upgrade(sock, "Sec-WebSocket-Protocol: earshot.v1\r\n")
        sock.recv(65536)
        for event in events:
            sock.sendall(text_frame(event))
        sock.sendall(scene.frame(
            scene.CLOSE, scene.close_payload(1001), mask=False))
        upstreams.hold(sock)
    return upstreams.RawServer(serve)


def scene_when_to_come_again():
    """What a closing says may be later than our back-off, not sooner."""
    begin = SUBSCRIBED % (1, 0)
    closing = '{"closing":{"reason":"shutdown","retry_after_ms":%d}}'
    with earshot(begin, closing % 0) as server:
        with scene.Daemon(mirror(server, "backoff_min = 100ms\n")) as daemon:
            pattern = r"; again in (\d+) ms"
            fourth = int(daemon.wait_log(pattern, count=4)[1])
            scene.check(fourth >= 400, f"0 ms, four times: in {fourth} ms")
            scene.check(server.count <= 4, f"{server.count} connections")
    for ms in 2 ** 63 - 1, 2 ** 53, 1500:
        with earshot(begin, closing % ms) as server:
            more = "backoff_min = 10ms\nbackoff_max = 1200ms\n"
            with scene.Daemon(mirror(server, more)) as daemon:
                daemon.wait_log("; again in 1200 ms")
                scene.check(True, f"{ms} ms: no later than backoff_max")
                daemon.wait_log("upstream is open", count=2)


def scene_a_mirror_that_lies():
    most = 2 ** 63 - 1
    text = '{"channel":"u","offset":%d,"time":1,"text":"x"}'
    for events in ((SUBSCRIBED % (1, 0), text % most, text % 1, text % most),
                   (SUBSCRIBED % (1, most), text % most, text % 5),
                   (SUBSCRIBED % (1, 0),
                    '{"gap":{"channel":"u","from":0,"to":%d}}' % most,
                    text % 5),
                   (text % 1,), ("[]",), ("{",), ("",)):
        with earshot(*events) as server, \
                scene.Daemon(mirror(server, QUICK)) as daemon:
            daemon.wait_metric("feed_failures_total", 3, feed="u")
            scene.equal(daemon.http("GET", "/readyz").status, 200,
                        f"{events[-1]}")


def scene_a_mirrored_message_that_is_too_long():
    text = '{"channel":"u","offset":%d,"time":1,"text":"%s"}'
    with earshot(SUBSCRIBED % (1, 0), text % (1, "x" * 1000),
                 text % (2, "x" * 1001)) as server:
        more = f"message_bytes_max = 1000\n{ONCE}"
        with scene.Daemon(mirror(server, more)) as daemon:
            scene.check("a mirrored message is too long" in told(daemon),
                        "an error, and no more")
            scene.equal(daemon.metric("feed_messages_total", feed="u"), 1,
                        "the one that is not is published")


def scene_a_storm_is_counted_and_not_logged():
    def close(sock):
        upstreams.upgrade(sock)

    def refuse(sock):
        sock.recv(1)
    for serve in close, refuse:
        with upstreams.RawServer(serve) as server:
            more = "backoff_min = 1ms\nbackoff_max = 1ms\n"
            with scene.Daemon(upstream(server.url(), more)) as daemon:
                started = time.monotonic()
                scene.wait_until(lambda: failures(daemon) >= 200, "failures")
                while_s = 10  # FEED_SAY_AGAIN_US
                most = 41 * (1 + (time.monotonic() - started) // while_s)
                lines = daemon.log_count("feed=u")
                scene.check(lines <= most, f"{lines} lines of "
                            f"{failures(daemon):.0f} failures")
                if serve is close:
                    scene.check(daemon.metric("feed_restarts_total", feed="u")
                                >= 199, "reconnects are counted")
                is_small(daemon)


def metric_of_reads(daemon):
    return [daemon.metric(f"{name}_total")
            for name in ("reads", "reads_repeated")]


def scene_a_flood_is_read_bit_by_bit():
    """An iteration of the loop is everybody's."""
    count = 200000

    def serve(sock):
        upstreams.upgrade(sock)
        sock.sendall(text_frame("x") * count)
        upstreams.hold(sock)
    for limit in "", "[limits]\nfeed_read_bytes_max = 4K\n":
        with upstreams.RawServer(serve) as server:
            with scene.Daemon(upstream(server.url()) + limit) as daemon:
                daemon.wait_metric("feed_messages_total", count, feed="u")
                cut = daemon.metric("feed_reads_cut_total", feed="u")
                scene.check(cut >= count // 16384,
                            f"told to wait {cut:.0f} times")
                reads, repeated = metric_of_reads(daemon)
                scene.check(repeated < reads,
                            f"{reads:.0f} reads, {repeated:.0f} at once")


def scene_a_certificate_of_long_ago():
    folder = scene.TMP / "expired"
    folder.mkdir()
    mine = upstreams.Certificates(folder)
    mine.expire()
    with upstreams.Server(upstreams.stay, tls=mine.server()) as server:
        more = f"ca = {mine.ca}\n{ONCE}"
        with scene.Daemon(upstream(server.url(), more)) as daemon:
            scene.check("TLS: certificate has expired" in told(daemon),
                        "refused")


def scene_certificates_that_are_replaced():
    """Whoever renews them has nobody to tell."""
    folders = [scene.TMP / name for name in ("old", "new")]
    for folder in folders:
        folder.mkdir()
    old, new = map(upstreams.Certificates, folders)
    ca = scene.TMP / "trusted.pem"
    ca.write_text(old.ca.read_text())

    async def hello(sock, _path):
        await sock.send("hello")
        await upstreams.stay(sock)
    with upstreams.Server(hello, tls=new.server()) as server:
        more = f"ca = {ca}\n{QUICK}"
        with scene.Daemon(upstream(server.url(), more)) as daemon:
            scene.check("TLS:" in told(daemon), "not trusted")
            ca.write_text(new.ca.read_text())
            scene.equal(daemon.ws("u", "?from=oldest").read_text(), "hello",
                        "trusted from the next connection on")
            ca.write_text("rubbish\n")
            server.reset()
            daemon.wait_log("expected certificates in PEM")
            ca.write_text(new.ca.read_text())
            daemon.wait_metric("feed_messages_total", 2, feed="u")
            before = daemon.fd_count()
            for _ in range(20):
                os.utime(ca, ns=(time.time_ns(), time.time_ns()))
                seen = daemon.metric("feed_messages_total", feed="u")
                server.reset()
                daemon.wait_metric("feed_messages_total", seen + 1, feed="u")
            scene.check(daemon.fd_count() <= before + 1,
                        "20 times anew, no more descriptors")
            is_small(daemon)


scene.play(globals())
