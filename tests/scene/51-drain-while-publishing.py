#!/usr/bin/python3
# sanitizer: yes
"""SIGTERM while 1000 consumers hear what six publishers send.

What was acknowledged is heard by everybody, in one order, each message once;
then comes 1001 with a hint when to return.  What is published after the signal
is refused.
"""
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import crowd
import scene

CONSUMERS = 1000 // scene.SLOWNESS
OVER_S = 5  # promised
SPREAD_MS = 1500
CLOSING = r"shutdown retry_after_ms=(\d+)"

# What cannot keep up is the scene, not the daemon: nobody may be overtaken.
CONF = f"""
[channel **]
buffer_bytes = 512M
[drain]
timeout = 60s
retry_spread = {SPREAD_MS}ms
"""


def check_end(daemon, ears, publishers, began):
    scene.equal(daemon.wait(30), 0, "exit code")
    took = time.monotonic() - began
    heard = ears.end()
    scene.equal(heard["codes"], {"1001": CONSUMERS}, "close codes, one each")
    scene.equal((heard["reasons_other"], heard["cuts"], heard["resets"]),
                (0, 0, 0), "reasons without a hint, ends without a close, "
                "resets")
    scene.check(heard["least"] == heard["most"],
                f"everybody heard {heard['most']} messages")
    crowd.check_spread(heard["retries"], SPREAD_MS)
    for publisher in publishers:
        crowd.check_publisher(publisher, heard)
        scene.check(set(publisher.refusals) <= {"closing"},
                    "refused because it closes, if at all")
    scene.equal(crowd.drained(daemon)[1:], [CONSUMERS, 0, 0, 0],
                "delivered, cut, lost, undelivered")
    scene.in_time(took, OVER_S, "from SIGTERM to the exit")
    return heard


def scene_in_the_middle_of_a_stream():
    with scene.Daemon(CONF) as daemon, \
            crowd.Crowd(daemon, "ticks", CONSUMERS,
                        quorum=2000 // scene.SLOWNESS) as ears:
        ears.wait("open", 30)
        publishers = [crowd.Publisher(daemon, "ticks", n, lines)
                      for n, lines in enumerate((1, 1, 1, 1, 16, 16))]
        started = time.monotonic()
        for publisher in publishers:
            publisher.start()
        ears.wait("flowing", 30)
        began = time.monotonic()
        daemon.signal()
        heard = check_end(daemon, ears, publishers, began)
        print(f"    {sum(p.acknowledged for p in publishers)} acknowledged in "
              f"{began - started:.2f} s, {heard['most'] * CONSUMERS} heard; "
              f"first close {(heard['first_close'] - began) * 1000:.0f} ms, "
              f"last {(heard['last_close'] - began) * 1000:.0f} ms after "
              f"SIGTERM", flush=True)


def scene_who_lags_gets_the_rest():
    """Nobody reads when the signal comes; then they do, and it is all there."""
    consumers, lines = 20, 400
    with scene.Daemon(CONF) as daemon, \
            crowd.Crowd(daemon, "ticks", consumers, stuck=consumers) as ears:
        ears.wait("open")
        daemon.publish("ticks", "\n".join(
            crowd.text(0, n + 1, 4000) for n in range(lines)),
            arguments="?split=lines")
        daemon.wait_metric('channel_lag_messages{channel="ticks"}', 1)
        lag = daemon.metric('channel_lag_messages{channel="ticks"}')
        daemon.signal()
        daemon.wait_log("INFO draining")
        ears.read_stuck()
        scene.equal(daemon.wait(30), 0, "exit code")
        heard = ears.end()
        scene.equal((heard["codes"], heard["cuts"]), ({"1001": consumers}, 0),
                    "close codes, one each; ends without one")
        scene.equal(heard["stuck_sum"], consumers * lines,
                    f"messages heard, with {lag:.0f} of {lines} lacking at "
                    "the signal")
        scene.equal(crowd.drained(daemon)[1:], [consumers, 0, 0, 0],
                    "delivered, cut, lost, undelivered")


def scene_in_the_middle_of_a_request():
    """A long request is published in parts: the answer says how far it got."""
    lines, end = 50000, scene.deadline(60)
    while time.monotonic() < end:
        with scene.Daemon(CONF) as daemon, \
                crowd.Crowd(daemon, "ticks", 3, quorum=1) as ears:
            ears.wait("open")
            publisher = crowd.Publisher(daemon, "ticks", 0, lines)
            publisher.start()
            ears.wait("flowing", 30)
            daemon.signal()
            scene.equal(daemon.wait(), 0, "exit code")
            heard = ears.end()
            scene.equal(heard["codes"], {"1001": 3}, "close codes, one each")
            crowd.check_publisher(publisher, heard)
            if publisher.ends:  # it had no answer: any part may be published
                continue
            scene.equal(heard["last"][0], publisher.acknowledged,
                        "heard, when every request was answered")
            if publisher.acknowledged % lines and publisher.statuses[503]:
                return
    raise scene.Failure("no request was caught in the middle")


def scene_what_comes_after_the_signal():
    with scene.Daemon(CONF) as daemon:
        consumer = daemon.ws("ticks")  # the drain lasts until it answers
        kept = [scene.Raw(daemon.port) for _ in range(3)]
        requests = [
            b"POST /channels/ticks/messages HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 4\r\nContent-Type: text/plain\r\n\r\nlate",
            b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /ws/ticks HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"]
        for raw in kept:
            raw.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            scene.equal(raw.read_answer().status, 200, "/readyz before")
        daemon.publish("ticks", "in time")
        daemon.signal()
        code, reason = consumer.read_closed(answer=False)
        for raw, request in zip(kept, requests):
            raw.send(request)
            answer = raw.read_answer()
            first = request.split(b"\r\n")[0].decode()
            scene.check(answer.status == 503 and b"closing" in answer.body,
                        f"{first}: {answer.status} {answer.body.strip()}")
            scene.check(not raw.read_all(), "and the end of file")
        probe = socket.socket()
        scene.check(probe.connect_ex(("127.0.0.1", daemon.port)) != 0,
                    "a new connection is refused")
        probe.close()
        scene.check(daemon.process.poll() is None, "it waits for the answer")
        consumer.send_close(code)
        scene.check(not consumer.read_all(), "nothing after the close frame")
        scene.check(code == 1001 and re.fullmatch(CLOSING, reason),
                    f"close {code} {reason}")
        scene.equal(daemon.wait(), 0, "exit code")


scene.play(globals())
