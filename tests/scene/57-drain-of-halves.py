#!/usr/bin/python3
# sanitizer: yes
"""SIGTERM while something is half done: nobody makes the drain wait for what
will not come, and a command that does not end costs its stop_timeout."""
import os
import re
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import crowd
import scene

AT_ONCE_S = 1  # nothing is waited for
HINT = r"shutdown retry_after_ms=\d+"
POST = (b"POST /channels/ticks/messages HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 10\r\n\r\nhalf")
TLS_CONF = """
[listener plain]
listen = 127.0.0.1:0
[listener secret]
listen = 127.0.0.1:0
tls = yes
[tls]
certificate = {0}/cert.pem
key = {0}/key.pem
[channel **]
buffer_bytes = 64M
"""


def ends(daemon, code, began, over_s=AT_ONCE_S, least_s=0):
    """It exits with that code, in that time."""
    scene.equal(daemon.wait(), code, "exit code")
    took = time.monotonic() - began
    scene.check(took >= least_s, f"not before {least_s} s")
    scene.in_time(took, over_s, "from SIGTERM to the exit")


def closed_1001(consumer, **options):
    code, reason = consumer.read_closed(**options)
    scene.check(code == 1001 and re.fullmatch(HINT, reason),
                f"closed {code} {reason}")


def scene_a_body_is_half_sent():
    with scene.Daemon() as daemon:
        halves = [scene.Raw(daemon.port) for _ in range(3)]
        halves[0].send(POST)
        halves[1].send(POST[:40])  # not even the headers
        daemon.wait_metric('connections{state="request"}', 2)
        began = time.monotonic()
        daemon.signal()
        for raw in halves:
            scene.equal(raw.read_all(), b"", "an end without an answer")
        ends(daemon, 0, began)


def scene_a_body_goes_on_while_it_drains():
    with scene.Daemon() as daemon:
        consumer = daemon.ws("ticks")  # the drain lasts until it answers
        raw = scene.Raw(daemon.port)
        raw.send(POST)
        daemon.wait_metric('connections{state="request"}', 2)
        began = time.monotonic()
        daemon.signal()
        closed_1001(consumer, answer=False)
        raw.send(b" + half")
        answer = raw.read_answer()
        scene.equal((answer.status, scene.json_of(answer)["accepted"],
                     scene.json_of(answer)["error"]["code"]),
                    (503, 0, "closing"), "the answer")
        consumer.send_close(1001)
        scene.equal(consumer.read_all(), b"", "after the close")
        ends(daemon, 0, began)


def scene_an_answer_is_half_written():
    """History is let through to its end, as a consumer is."""
    size = 1000 * 1000
    with scene.Daemon("[channel *]\nhistory_bytes = 64M\n") as daemon:
        for _ in range(20):
            daemon.publish("ticks", "x" * size)
        raw = scene.Raw(daemon.port, receive_bytes=65536)
        raw.send(b"GET /channels/ticks/messages HTTP/1.1\r\nHost: x\r\n\r\n")
        daemon.wait_metric('connections{state="request"}', 2)
        began = time.monotonic()
        daemon.signal()
        daemon.wait_log("draining")
        body = raw.read_all()
        scene.check(len(body) > 20 * size and body.endswith(b"\r\n0\r\n\r\n"),
                    f"{len(body)} bytes of history, whole")
        ends(daemon, 0, began, over_s=5)


def scene_a_message_of_a_consumer_is_half_sent():
    with scene.Daemon() as daemon:
        fragment, header = daemon.ws("ticks"), daemon.ws("ticks")
        fragment.send_frame(scene.TEXT, b"the first of two", fin=False)
        whole = scene.frame(scene.TEXT, b"x" * 1000)
        header.send(whole[:500])
        daemon.publish("ticks", "tick")
        scene.equal([c.read_text() for c in (fragment, header)], ["tick"] * 2,
                    "heard meanwhile")
        began = time.monotonic()
        daemon.signal()
        for consumer in fragment, header:
            closed_1001(consumer, answer=False)
        fragment.send_frame(scene.CONTINUATION, b", the second of two")
        header.send(whole[500:])  # a frame has no other end
        for consumer in fragment, header:
            consumer.send_close(1001)
            scene.equal(consumer.read_all(), b"", "after the close")
        ends(daemon, 0, began)
        scene.equal(crowd.drained(daemon)[1:], [2, 0, 0, 0],
                    "delivered, cut, lost, undelivered")


def tls_daemon(conf=""):
    scene.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
               "-subj", "/CN=localhost", "-keyout", scene.TMP / "key.pem",
               "-out", scene.TMP / "cert.pem"], code=0, seconds=30)
    return scene.Daemon(TLS_CONF.format(scene.TMP) + conf)


def tls_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def tls_consumer(daemon, **options):
    consumer = scene.WebSocket(daemon.ports[1], "/ws/ticks",
                               tls=tls_context(), **options)
    scene.equal(consumer.status, 101, "upgraded over TLS")
    return consumer


def scene_consumers_over_tls():
    with tls_daemon() as daemon:
        keeps, reads, goes = (tls_consumer(daemon) for _ in range(3))
        silent = scene.Raw(daemon.ports[1])  # no hello
        count = 2000
        daemon.publish("ticks", "\n".join(
            crowd.text(0, n, 1000) for n in range(count)),
            arguments="?split=lines")
        began = time.monotonic()
        daemon.signal()
        for consumer in reads, keeps:
            heard = [consumer.read_text() for _ in range(count)]
            scene.equal([int(t.split()[1]) for t in heard],
                        list(range(count)), "messages, in order")
        closed_1001(reads)
        goes.reset()
        closed_1001(keeps)  # and keeps the socket
        scene.equal(silent.read_all(), b"", "an end for who said nothing")
        ends(daemon, 0, began)
        _, delivered, cut, lost, _ = crowd.drained(daemon)
        scene.check(cut == 0 and delivered >= 2 and delivered + lost == 3,
                    f"{delivered} delivered, {cut} cut, {lost} lost")


def scene_a_consumer_over_tls_that_does_not_read():
    with tls_daemon("[drain]\ntimeout = 1s\n") as daemon:
        consumer = tls_consumer(daemon, receive_bytes=4096)
        daemon.publish("ticks", "\n".join(
            crowd.text(0, n, 10000) for n in range(1200)),
            arguments="?split=lines")
        daemon.wait_metric('channel_lag_messages{channel="ticks"}', 1)
        began = time.monotonic()
        daemon.signal()
        ends(daemon, 3, began, over_s=2, least_s=1)
        scene.equal(crowd.drained(daemon)[1:4], [0, 1, 0],
                    "delivered, cut, lost")
        consumer.close()


def command(text, name="command"):
    """A shell script; the path of it."""
    path = scene.TMP / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def scene_a_command_says_its_last_word():
    script = command("trap 'echo last; exit' TERM\necho first\n"
                     "while :; do sleep 0.01; done\n")
    with scene.Daemon(f"[command c]\nexec = {script}\n"
                      "channel = ticks\n") as daemon:
        consumer = daemon.ws("ticks", "?from=oldest")
        scene.equal(consumer.read_text(), "first", "its first word")
        began = time.monotonic()
        daemon.signal()
        scene.equal(consumer.read_text(), "last", "its last word")
        closed_1001(consumer)
        ends(daemon, 0, began)


def scene_a_command_ignores_sigterm():
    """It may write until it is killed, and all of that is delivered."""
    script = command("trap '' TERM\ni=0\nwhile :; do i=$((i + 1)); echo $i;"
                     " sleep 0.01; done\n")
    with scene.Daemon(f"[command c]\nexec = {script}\nchannel = ticks\n"
                      "stop_timeout = 400ms\n") as daemon:
        consumer = daemon.ws("ticks", "?from=oldest")
        scene.equal(consumer.read_text(), "1", "it writes")
        began = time.monotonic()
        daemon.signal()
        last, late = 1, 0
        try:
            while True:
                text = consumer.read_text()
                if int(text) != last + 1:
                    raise scene.Failure(f"{text} came after {last}")
                last, late = last + 1, time.monotonic() - began
        except scene.Closed as closed:
            scene.check(closed.code == 1001, f"{last} lines, the last one "
                        f"{late * 1000:.0f} ms after SIGTERM; then 1001")
        consumer.send_close(1001)
        scene.equal(consumer.read_all(), b"", "after the close")
        ends(daemon, 0, began, over_s=2, least_s=0.4)


def scene_a_command_outlasts_the_drain():
    """The deadline kills it; a consumer that has everything is told 1001."""
    script = command("trap '' TERM\necho first\nwhile :; do sleep 0.01; done\n")
    with scene.Daemon(f"[command c]\nexec = {script}\nchannel = ticks\n"
                      "stop_timeout = 1m\n[drain]\ntimeout = 1s\n") as daemon:
        consumer = daemon.ws("ticks", "?from=oldest")
        scene.equal(consumer.read_text(), "first", "it writes")
        began = time.monotonic()
        daemon.signal()
        closed_1001(consumer, answer=False)
        scene.equal(consumer.read_all(), b"", "after the close")
        ends(daemon, 3, began, over_s=2.5, least_s=1)
        scene.equal(crowd.drained(daemon)[1:], [0, 1, 0, 0],
                    "delivered, cut, lost, undelivered")


scene.play(globals())
