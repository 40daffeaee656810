#!/usr/bin/python3
# slow
"""SIGTERM with connections of every kind open: memcheck has nothing to say.

No invalid access, no leak of any kind, still reachable ones included, and no
suppressions.  Commands are left out: valgrind before 3.21 has no pidfd_open().
"""
import os
import shutil
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import crowd
import scene

PATIENCE_S = 60
REPORTED = 99
CONF = """
[listener plain]
listen = 127.0.0.1:0
[listener secret]
listen = 127.0.0.1:0
tls = yes
[listener local]
listen = unix:{0}/socket
[tls]
certificate = {0}/cert.pem
key = {0}/key.pem
[channel **]
buffer_bytes = 64M
[drain]
timeout = 5m
"""
HALF_POST = (b"POST /channels/ticks/messages HTTP/1.1\r\nHost: x\r\n"
             b"Content-Length: 10\r\n\r\nhalf")


def valgrind():
    """The daemon's command line under valgrind, and where it reports."""
    if not shutil.which("valgrind"):
        raise scene.Skip("no valgrind here")
    report = scene.TMP / "report"
    return report, ["valgrind", "-q", "--leak-check=full",
                    "--show-leak-kinds=all", "--errors-for-leak-kinds=all",
                    f"--error-exitcode={REPORTED}", f"--log-file={report}"]


def start():
    scene.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
               "-subj", "/CN=localhost", "-keyout", scene.TMP / "key.pem",
               "-out", scene.TMP / "cert.pem"], code=0, seconds=30)
    report, prefix = valgrind()
    return report, scene.Daemon(CONF.format(scene.TMP), prefix=prefix,
                                seconds=PATIENCE_S)


def tls_consumer(daemon):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return scene.WebSocket(daemon.ports[1], "/ws/ticks", tls=context,
                           seconds=PATIENCE_S)


def open_all(daemon):
    """(consumers that will answer, everything else that is open)"""
    consumers = [daemon.ws("ticks", seconds=PATIENCE_S) for _ in range(5)]
    consumers += [tls_consumer(daemon) for _ in range(2)]
    consumers[0].send_frame(scene.TEXT, b"a fragment", fin=False)
    for consumer in consumers[1:3]:
        consumer.send_text(f"from {consumer.sock.getsockname()}")
    others = [scene.Raw(daemon.port, seconds=PATIENCE_S) for _ in range(5)]
    others[0].send(HALF_POST)
    others[1].send(HALF_POST[:30])
    others[2].send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    scene.equal(others[2].read_answer().status, 200, "/metrics")
    others[3].send(b"GET /ws/no%20channel HTTP/1.1\r\nHost: x\r\n"
                   b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                   b"Sec-WebSocket-Version: 13\r\n"
                   b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    scene.equal(others[3].read_answer().status, 400, "a refused upgrade")
    others.append(scene.Raw(daemon.ports[1]))  # no hello
    daemon.publish("ticks", "one\ntwo\nthree", arguments="?split=lines")
    return consumers, others


def check_report(report, code, wanted):
    scene.equal(code, wanted, "exit code")
    text = report.read_text()
    if text:
        raise scene.Failure(f"valgrind reports:\n{text[:6000]}")
    scene.check(True, "nothing reported")


def scene_everything_is_given_back():
    report, daemon = start()
    with daemon:
        consumers, others = open_all(daemon)
        daemon.signal()
        closers = [threading.Thread(target=c.read_closed) for c in consumers]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
        check_report(report, daemon.wait(PATIENCE_S), 0)
        scene.equal(crowd.drained(daemon)[1:], [len(consumers), 0, 0, 0],
                    "delivered, cut, lost, undelivered")
        for raw in others:
            raw.close()


def scene_also_what_is_cut():
    report, daemon = start()
    with daemon:
        consumers, others = open_all(daemon)
        stuck = [daemon.ws("ticks", receive_bytes=4096, seconds=PATIENCE_S)
                 for _ in range(3)]
        daemon.publish("ticks", "\n".join(
            crowd.text(0, n, 15000) for n in range(800)),
            arguments="?split=lines")
        daemon.wait_metric('channel_lag_messages{channel="ticks"}', 1)
        daemon.signal()
        daemon.wait_log("INFO draining")
        consumers[1].read_closed()
        threading.Event().wait(0.25)  # a second signal is one 0.2 s later
        daemon.signal()
        check_report(report, daemon.wait(PATIENCE_S), 3)
        scene.check(crowd.drained(daemon)[2] >= len(stuck), "cut, and counted")
        for raw in (*others, *stuck):
            raw.close()


scene.play(globals())
