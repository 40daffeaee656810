#!/usr/bin/python3
# sanitizer: yes
"""TLS listeners: certificate and key of a CA made for the occasion."""
import os
import ssl
import sys
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

MIB = 1024 * 1024


def openssl(*arguments):
    scene.run(["openssl", *arguments], code=0)


def make_authority(name):
    """A CA; the paths of its certificate and key."""
    key, certificate = scene.TMP / f"{name}.key", scene.TMP / f"{name}.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
            f"/CN={name}", "-keyout", key, "-out", certificate,
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign")
    return certificate, key


def make_certificate(name, authority, authority_key):
    """For 127.0.0.1, signed; the paths of certificate and key."""
    key, request = scene.TMP / f"{name}.key", scene.TMP / f"{name}.csr"
    certificate, names = scene.TMP / f"{name}.pem", scene.TMP / "names"
    names.write_text("subjectAltName = IP:127.0.0.1\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey",
            authority_key, "-CAcreateserial", "-days", "1", "-extfile", names,
            "-out", certificate)
    return certificate, key


CA, CA_KEY = make_authority("ours")
OTHER, _ = make_authority("theirs")
CERTIFICATE, KEY = make_certificate("server", CA, CA_KEY)
CONF = "[listener plain]\nlisten = 127.0.0.1:0\n" \
    "[listener secure]\nlisten = 127.0.0.1:0\ntls = yes\n" \
    f"[tls]\ncertificate = {CERTIFICATE}\nkey = {KEY}\n"
TRUST = ssl.create_default_context(cafile=CA)


def start(more=""):
    """A daemon; ports are the plain one and the secure one."""
    daemon = scene.Daemon(CONF + more)
    if "listening on wss://127.0.0.1" not in daemon.log():
        raise scene.Failure("no wss:// in the log")
    return daemon


def curl(daemon, *arguments, ca=CA):
    return scene.run(
        ["curl", "-sS", "--cacert", ca, *arguments[:-1],
         f"https://127.0.0.1:{daemon.ports[1]}{arguments[-1]}"])


def scene_the_same_over_tls():
    with start() as daemon:
        done = curl(daemon, "/healthz")
        scene.equal((done.returncode, done.stdout), (0, "ok\n"),
                    "curl https://")
        plain = daemon.ws("c")
        url = f"wss://127.0.0.1:{daemon.ports[1]}/ws/c"
        sends = [("t", "grüße".encode()), ("b", b"\xff" * 70000),
                 ("t", b""), ("t", b"x" * MIB)]
        readers = [scene.Client(k, url, len(sends), ca=CA)
                   for k in scene.CLIENTS]
        daemon.wait_metric('channel_consumers{channel="c"}', 4)
        writer = scene.Client("websockets", url, len(sends), sends, ca=CA)
        for reader in [*readers, writer]:
            scene.equal(reader.result()["sha256"],
                        scene.digest(d for _, d in sends),
                        f"{reader.kind} over wss")
        got = [plain.read_message()[1] for _ in sends]
        scene.equal(scene.digest(got), scene.digest(d for _, d in sends),
                    "and a consumer without TLS")
        done = curl(daemon, "-d", "posted", "-H", "Content-Type: text/plain",
                    "/channels/c/messages")
        scene.check('"accepted":1' in done.stdout, "POST by curl")
        scene.equal(plain.read_text(), "posted", "heard")


def scene_wrong_authority():
    with start() as daemon:
        done = curl(daemon, "/healthz", ca=OTHER)
        scene.equal(done.returncode, 60, "curl refuses another CA's word")
        wary = ssl.create_default_context(cafile=OTHER)
        try:
            scene.WebSocket(daemon.ports[1], "/ws/c", tls=wary)
            raise scene.Failure("connected")
        except ssl.SSLCertVerificationError:
            scene.check(True, "so does a WebSocket client")
        name = scene.Client(
            "ws", f"wss://localhost:{daemon.ports[1]}/ws/c", 1, ca=CA)
        name.process.wait(scene.DEADLINE_S * scene.SLOWNESS)
        scene.check("localhost" in name.process.stderr.read(),
                    "and another name than the certificate's")
        done = curl(daemon, "/healthz")
        scene.equal(done.stdout, "ok\n", "the daemon takes no notice")


def scene_not_tls():
    """HTTP on the secure port, TLS on the plain one, noise, old versions."""
    with start() as daemon:
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                     os.urandom(500), b"\x16\x03\x01\xff\xff" + b"x" * 100):
            with scene.Raw(daemon.ports[1]) as client:
                client.send(data)
                client.end()
                rest = client.read_all()
                if b"earshot" in rest:
                    raise scene.Failure(f"answered: {rest}")
        scene.check(True, "what is not TLS gets no answer")
        try:
            scene.Raw(daemon.ports[0], tls=TRUST)
            raise scene.Failure("TLS without TLS")
        except (ssl.SSLError, ConnectionError):
            scene.check(True, "TLS on the plain port fails")
        old = ssl.create_default_context(cafile=CA)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        try:
            scene.Raw(daemon.ports[1], tls=old)
            raise scene.Failure("TLS 1.1 was accepted")
        except (ssl.SSLError, ConnectionError):
            scene.check(True, "TLS 1.1 is refused")
        scene.equal(curl(daemon, "/healthz").stdout, "ok\n", "still there")


def scene_large_to_a_slow_reader():
    """Writes that the socket takes in parts arrive whole and in order."""
    conf = "[channel **]\nbuffer_bytes = 64M\n"
    with start(conf) as daemon:
        slow = scene.WebSocket(daemon.ports[1], "/ws/c", tls=TRUST,
                               receive_bytes=4096)
        fast = daemon.ws("c")
        messages = [os.urandom(MIB - i * 1000) for i in range(12)]
        for message in messages:
            daemon.publish("c", message, "x/y")
            if fast.read_message()[1] != message:
                raise scene.Failure("another consumer was disturbed")
        lag = daemon.metric('channel_lag_messages{channel="c"}')
        scene.check(lag > 0, f"the slow one lacks {lag:.0f} of 12 messages")
        for number, message in enumerate(messages):
            if slow.read_message()[1] != message:
                raise scene.Failure(f"message {number} of the slow reader")
        scene.check(True, "it gets 12 MiB, intact")
        slow.send_frame(scene.PING, b"alive")
        scene.equal(slow.read_frame().payload, b"alive", "and its pong")
        slow.send_close()
        scene.equal(slow.read_closed()[0], 1000, "and its close")


def scene_drain_over_tls():
    daemon = start()
    consumer = scene.WebSocket(daemon.ports[1], "/ws/c", tls=TRUST)
    daemon.publish("c", "last words")
    daemon.signal()
    scene.equal(consumer.read_text(), "last words", "all there is")
    code, reason = consumer.read_closed()
    scene.equal(code, 1001, f"then 1001, {reason!r}")
    scene.equal(daemon.wait(), 0, "exit code")


scene.play(globals())
