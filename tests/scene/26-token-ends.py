#!/usr/bin/python3
# slow
# sanitizer: yes
# limit: 240
"""Tokens end: by their time, and by a reload that takes their key away."""
import json
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import handled
import scene
import tokens

KEY, OTHER = (tokens.Key("ES256", scene.TMP), tokens.Key("HS256", scene.TMP))
TEXT = {"Content-Type": "text/plain"}
V1 = {"Sec-WebSocket-Protocol": "earshot.v1"}
LASTS_S = 2


def conf(*keys, anonymous="none", more=""):
    lines = [f"token_key = {key.path}" for key in keys or (KEY,)]
    return "\n".join(["[auth]", f"anonymous = {anonymous}",
                      "token_leeway = 0s", *lines, more, ""])


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def fill(daemon, channel, lines):
    token = KEY.token(publish=["**"])
    answer = daemon.http(
        "POST", f"/channels/{channel}/messages?split=lines",
        "\n".join(lines).encode(), {**TEXT, **bearer(token)})
    scene.equal(answer.status, 201, f"{len(lines)} messages")


def sse(daemon, token, headers=""):
    client = scene.Raw(daemon.port)
    client.send(f"GET /sse/a?access_token={token} HTTP/1.1\r\nHost: h\r\n"
                f"{headers}\r\n".encode())
    return client, client.read_until(b"\r\n\r\n").decode()


def scene_a_stream_ends_with_its_token():
    with control.Daemon(conf(anonymous="subscribe") + handled.plugin("record",
                        "path = /app")) as daemon:
        events = handled.Events(daemon)
        token = KEY.token(subscribe=["**"], lasts_s=LASTS_S)
        ends = json.loads(tokens.jwt.utils.base64url_decode(
            token.split(".")[1]))["exp"]
        bystander = daemon.ws("a")
        clients = {"raw": scene.WebSocket(daemon.port, "/ws/a", bearer(token)),
                   "earshot.v1": scene.WebSocket(
                       daemon.port, f"/ws?access_token={token}", V1),
                   "a handler's": handled.app(daemon,
                                              headers=bearer(token))}
        stream, head = sse(daemon, token)
        scene.check(" 200 OK" in head, "SSE begins")
        for name, client in clients.items():
            scene.equal(client.read_closed(), (4001, "token expired"), name)
            late = time.time() - ends
            scene.check(0 <= late, f"not before its time ({late:.2f} s)")
            scene.in_time(late, 1, "and soon after it")
        stream.read_all()
        scene.check(time.time() >= ends, "SSE ends")
        stream.close()
        events.take("open /app", "close 4001 token expired")
        again, head = sse(daemon, token)
        scene.check(" 401 Unauthorized" in head and
                    "has expired" in head or "expired" in head,
                    "the same token does not come back")
        again.close()
        scene.equal(daemon.metric("tokens_expired_total"), 4, "counted")
        bystander.send_close()
        scene.equal(bystander.read_closed()[0], 1000,
                    "who had none is not concerned")


def scene_nothing_is_lost_and_nothing_twice():
    """From token to token, by position, while it is published."""
    with scene.Daemon(conf()) as daemon:
        writer = scene.WebSocket(daemon.port, "/ws/a", bearer(
            KEY.token(subscribe=["a"], publish=["a"])))
        over = threading.Event()

        def publish():
            count = 0
            while not over.is_set():
                writer.send_text(str(count))
                writer.read_text()
                count += 1
                time.sleep(0.002)
            writer.send_text("end")

        thread = threading.Thread(target=publish, daemon=True)
        thread.start()
        heard, position, ends = [], "oldest", 0
        while not heard or heard[-1] != "end":
            reader = scene.WebSocket(
                daemon.port, f"/ws/a?from={position}",
                bearer(KEY.token(subscribe=["a"], lasts_s=LASTS_S)))
            scene.equal(reader.status, 101, f"from {position}")
            epoch, offset = reader.position.split(":")
            try:
                while not heard or heard[-1] != "end":
                    heard.append(reader.read_text())
                    offset = int(offset) + 1
            except scene.Closed as closed:
                scene.equal((closed.code, closed.reason),
                            (4001, "token expired"), f"after {len(heard)}")
                ends += 1
            if ends == 2:
                over.set()
            position = f"{epoch}:{offset}"
            reader.close()
        thread.join()
        scene.equal(heard, [str(n) for n in range(len(heard) - 1)] + ["end"],
                    f"{len(heard)} messages with {ends + 1} tokens")


def scene_each_at_its_own_time():
    """In whatever order they came, and whoever left before."""
    random.seed(26)
    with scene.Daemon(conf()) as daemon:
        made = []
        for n in range(90):
            token = KEY.token(subscribe=["a"], lasts_s=random.randint(2, 4))
            made.append((scene.WebSocket(daemon.port, "/ws/a", bearer(token)),
                         json.loads(tokens.jwt.utils.base64url_decode(
                             token.split(".")[1]))["exp"]))
        random.shuffle(made)
        for client, _ in made[60:]:
            client.reset() if random.random() < 0.5 else client.close()
        late = []
        for client, ends in sorted(made[:60], key=lambda pair: pair[1]):
            scene.equal(client.read_closed()[0], 4001, "closed") \
                if client is made[0][0] else client.read_closed()
            late.append(time.time() - ends)
        scene.check(min(late) >= 0, f"none too early ({min(late):.3f} s)")
        scene.in_time(max(late), 1, "none too late")
        scene.equal(daemon.metric("tokens_expired_total"), 60, "counted")


def scene_a_library_is_told():
    with scene.Daemon(conf()) as daemon:
        for kind in scene.CLIENTS:
            token = KEY.token(subscribe=["b"], lasts_s=LASTS_S)
            got = scene.Client(kind, f"ws://127.0.0.1:{daemon.port}/ws/b"
                               f"?access_token={token}", 0).result()
            scene.equal((got["code"], got["reason"]),
                        (4001, "token expired"), kind)


def scene_the_clock_jumps():
    """exp is a moment of the wall clock, whatever that says next."""
    if scene.MODE != "all" and scene.MODE != "check":
        raise scene.Skip("what is preloaded would come before the sanitizer")
    ahead = scene.TMP / "ahead"
    ahead.write_text("0")
    with scene.Daemon(conf(), env={
            "LD_PRELOAD": f"{handled.PLUGINS}/clock.so",
            "CLOCK_AHEAD": str(ahead)}) as daemon:
        client, other = (scene.WebSocket(
            daemon.port, "/ws/a", bearer(KEY.token(
                subscribe=["a"], lasts_s=lasts))) for lasts in (600, 7200))
        began = time.monotonic()
        ahead.write_text("601")
        scene.equal(client.read_closed(), (4001, "token expired"),
                    "ten minutes in one step")
        scene.in_time(time.monotonic() - began, 2, "that is noticed")
        scene.equal(scene.WebSocket(daemon.port, "/ws/a", bearer(
            KEY.token(subscribe=["a"], lasts_s=600))).status, 401,
            "and holds for who comes")
        ahead.write_text("-3600")
        again = scene.WebSocket(daemon.port, "/ws/a", bearer(
            KEY.token(subscribe=["a"], lasts_s=-3600 + LASTS_S)))
        scene.equal(again.status, 101, "back: as if it had been then")
        scene.equal(again.read_closed()[0], 4001, "and that one ends")
        other.send_frame(scene.PING, b"x")
        scene.equal(other.read_frame().opcode, scene.PONG,
                    "what lasts longer is there all the time")
        other.send_close()
        other.read_closed()


def scene_many_end_together():
    """They all come back: not all at once."""
    count, rate = 40, 20
    with scene.Daemon(conf(more=f"[drain]\nclose_rate = {rate}")) as daemon:
        token = KEY.token(subscribe=["a"], lasts_s=LASTS_S)
        clients = [scene.WebSocket(daemon.port, "/ws/a", bearer(token))
                   for _ in range(count)]
        codes, times = [], []
        for client in clients:
            codes.append(client.read_closed()[0])
            times.append(time.monotonic())
        scene.equal(codes, [4001] * count, f"{count} are closed")
        scene.check(times[-1] - times[0] > count / rate * 0.8,
                    f"within {times[-1] - times[0]:.2f} s, {rate} a second")


def scene_a_key_is_taken_away():
    with control.Daemon(conf(KEY, OTHER, anonymous="subscribe")) as daemon:
        mine = bearer(KEY.token(subscribe=["**"], publish=["**"], sub="me"))
        theirs = bearer(OTHER.token(subscribe=["**"], publish=["**"]))
        raw = scene.WebSocket(daemon.port, "/ws/a", mine)
        v1 = scene.WebSocket(daemon.port, "/ws", {**V1, **mine})
        stays = scene.WebSocket(daemon.port, "/ws/a", theirs)
        nobody = daemon.ws("a")
        kept = daemon.http_open()
        scene.equal(scene.http_on(kept, "GET", "/channels", headers=mine)
                    .status, 200, "a kept connection")
        daemon.reload(conf(KEY, OTHER, anonymous="subscribe"))
        stays.send_text("one")
        scene.equal([c.read_text() for c in (raw, stays, nobody)],
                    ["one"] * 3, "the same keys again: nobody is concerned")
        daemon.reload(conf(OTHER))
        for name, client in (("raw", raw), ("earshot.v1", v1)):
            scene.equal(client.read_closed(), (4001, "token revoked"), name)
        stays.send_text("two")
        scene.equal([c.read_text() for c in (stays, nobody)], ["two"] * 2,
                    "the other key's stays, and who has none")
        scene.equal(scene.http_on(kept, "GET", "/channels", headers=mine)
                    .status, 401, "the kept one is asked anew")
        scene.equal(scene.http_on(kept, "GET", "/channels").status, 401,
                    "anonymous has changed with it")
        kept.close()
        scene.equal(daemon.metric("tokens_revoked_total"), 2, "counted")
        daemon.reload(conf(OTHER, more="token_issuer = https://id"))
        scene.equal(stays.read_closed(), (4001, "token revoked"),
                    "an issuer is asked for: theirs had none")
        daemon.reload("[auth]\nanonymous = subscribe publish\n")
        daemon.publish("a", "x")
        scene.equal(nobody.read_text(), "x", "no keys any more")


def scene_another_key_in_the_same_file():
    path = scene.TMP / "changing.key"
    first, second = (tokens.Key("EdDSA", scene.TMP) for _ in range(2))
    path.write_bytes(first.public)
    text = f"[auth]\nanonymous = none\ntoken_key = {path}\n"
    with control.Daemon(text) as daemon:
        old = scene.WebSocket(daemon.port, "/ws/a", bearer(
            first.token(subscribe=["a"])))
        path.write_bytes(second.public)
        daemon.signal(signal.SIGHUP)
        scene.equal(old.read_closed(), (4001, "token revoked"), "SIGHUP")
        new = scene.WebSocket(daemon.port, "/ws/a", bearer(
            second.token(subscribe=["a"])))
        scene.equal(new.status, 101, "the new key")
        for what, data in (("nothing", b""), ("a short secret", b"x" * 31),
                           ("rubbish in PEM", b"-----BEGIN PUBLIC KEY-----\n"
                            b"AAAA\n-----END PUBLIC KEY-----\n"),
                           (None, None)):
            if what:
                path.write_bytes(data)
            else:
                path.unlink()
            done = daemon.earshot("reload", code=None)
            said = done.stdout + done.stderr
            scene.check(done.returncode == 1 and
                        f"earshot.conf:5: token_key = {path}" in said,
                        f"{what or 'no file'}: {scene.short(said)}")
            daemon.wait_log(r"ERROR \S+:5: token_key = ")
        scene.equal(scene.WebSocket(daemon.port, "/ws/a", bearer(
            second.token(subscribe=["a"]))).status, 101,
            "nothing has changed")
        scene.equal(daemon.look("connections")["connections"][0]["state"],
                    "websocket", "and who is there stays")
        new.send_close()
        new.read_closed()


def scene_faults_at_the_start():
    path = scene.TMP / "missing.key"
    conf_path = scene.TMP / "faulty.conf"
    conf_path.write_text("[listener]\nlisten = 127.0.0.1:0\n[auth]\n"
                         f"token_key = {path}\n")
    for arguments in ((), ("--check",)):
        done = scene.run([scene.EARSHOTD, "-c", conf_path, *arguments], code=1)
        scene.check(f"{conf_path}:4: token_key = {path}" in done.stderr,
                    f"{arguments}: {done.stderr.strip()}")


def scene_expired_while_it_does_not_read():
    """A slow consumer is not waited for any longer than others are."""
    with scene.Daemon(conf(more="[limits]\nclose_timeout = 1s")) as daemon:
        token = KEY.token(subscribe=["a"], lasts_s=LASTS_S)
        slow = scene.WebSocket(daemon.port, "/ws/a", bearer(token),
                               receive_bytes=4096)
        fill(daemon, "a", ["x" * 100000] * 20)
        daemon.wait_metric("tokens_expired_total", 1)
        daemon.wait_metric("timeouts_close_total", 1)
        scene.wait_until(lambda: daemon.metric(
            'connections{state="websocket"}') == 0, "it is cut")
        slow.close()


def scene_a_drain_meets_it():
    """The end of a token in a drain is no end of the drain."""
    with control.Daemon(conf()) as daemon:
        token = KEY.token(subscribe=["a"], lasts_s=LASTS_S)
        slow = scene.WebSocket(daemon.port, "/ws/a", bearer(token),
                               receive_bytes=4096)
        fill(daemon, "a", ["x" * 100000] * 50)
        daemon.signal()
        ends = time.monotonic() + LASTS_S + 1
        scene.wait_until(lambda: time.monotonic() > ends, "its end")
        scene.equal(slow.read_closed()[0], 4001, "closed")
        scene.equal(daemon.wait(), 0, "exit code")


scene.play(globals())
