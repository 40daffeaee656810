#!/usr/bin/python3
# sanitizer: yes
"""SIGTERM with 20 of 1000 consumers that do not read: the timeout is hard.

The others get all there is and 1001; the 20 are cut at the deadline, counted
and logged with what each lacked, which is what they can still read.
"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import crowd
import scene

CONSUMERS, STUCK = 1000 // scene.SLOWNESS, 20
TIMEOUT_S = 3
MARGIN_S = 1  # for the cut itself
QUORUM = 200  # five times what the kernel keeps for one that does not read
REQUESTS = 10  # of each publisher: 320 messages
CONF = f"""
[channel **]
buffer_bytes = 512M
[drain]
timeout = {TIMEOUT_S}s
"""


def publish_until_stuck(daemon, ears):
    """More than the kernel keeps for one who does not read, and not as much
    as the others could not have in the drain's time."""
    publishers = [crowd.Publisher(daemon, "ticks", n, lines=8, size=1000,
                                  most=REQUESTS) for n in range(4)]
    for publisher in publishers:
        publisher.start()
    ears.wait("flowing", 40)
    return publishers


def check_stuck(daemon, ears, total):
    """What was counted and logged is what they did not get."""
    _, delivered, cut, lost, lacked = crowd.drained(daemon)
    scene.equal((delivered, cut, lost), (CONSUMERS - STUCK, STUCK, 0),
                "delivered, cut, lost")
    told = [int(n) for n in re.findall(
        r"cut, lacks (\d+) messages conn=\S+ channel=ticks ",
        daemon.log(), re.M)]
    scene.equal(len(told), STUCK, "log lines, one for each that was cut")
    scene.equal(sum(told), lacked, "messages lacking, logged and counted")
    scene.check(min(told) > 0, f"each lacks some, {min(told)} to {max(told)}")
    ears.read_stuck()
    heard = ears.end()
    got = heard["stuck_sum"]
    # A frame that was cut went partly; the end of each is within one.
    scene.check(0 <= total * STUCK - got - lacked <= STUCK,
                f"they got {got} messages, {total * STUCK - got} did not come")
    return heard


def scene_twenty_do_not_read():
    with scene.Daemon(CONF) as daemon, \
            crowd.Crowd(daemon, "ticks", CONSUMERS, stuck=STUCK,
                        quorum=QUORUM) as ears:
        ears.wait("open", 30)
        publishers = publish_until_stuck(daemon, ears)
        lag = daemon.metric('channel_lag_messages{channel="ticks"}')
        scene.check(lag > 0, f"they lag {lag:.0f} messages already")
        began = time.monotonic()
        daemon.signal()
        scene.equal(daemon.wait(30), 3, "exit code")
        took = time.monotonic() - began
        daemon.wait_log("WARN drain timeout")
        readers = ears.wait("readers")["at"] - began
        scene.check(readers < took, "the others are through before: "
                    f"{readers * 1000:.0f} ms")
        scene.check(took >= TIMEOUT_S, "nobody is cut before the timeout")
        scene.in_time(took - TIMEOUT_S, MARGIN_S, "the cut itself")
        total = sum(p.acknowledged for p in publishers)
        heard = check_stuck(daemon, ears, total)
        scene.equal(heard["codes"], {"1001": CONSUMERS - STUCK},
                    "close codes")
        scene.equal((heard["cuts"], heard["ended"]), (STUCK, CONSUMERS),
                    "ends without a close, ends")
        scene.equal((heard["least"], heard["most"]), (total, total),
                    "messages that each of the others heard")
        for publisher in publishers:
            crowd.check_publisher(publisher, heard)


scene.play(globals())
