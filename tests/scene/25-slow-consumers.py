#!/usr/bin/python3
# sanitizer: yes
"""Consumers that stop reading: each gets what its channel's overrun says.

The others notice nothing, and what is held for them is bounded.
"""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene

KIB = 1024
CONF = "".join(
    f"[channel {policy}]\nhistory_messages = 10\nhistory_bytes = 64K\n"
    f"buffer_bytes = 64K\noverrun = {policy}\n"
    for policy in ("skip", "latest", "close"))
COUNT = 9000  # of a kilobyte: more than the kernel keeps for a socket
BATCH = 50  # together less than buffer_bytes: who reads is not overtaken
TAIL = "x" * 1000


def number(text):
    return int(text.partition(" ")[0])


def publish(daemon, channel, first, last):
    """Messages named by their offsets, some at once."""
    for begin in range(first, last + 1, BATCH):
        end = min(begin + BATCH, last + 1)
        lines = "\n".join(f"{i} {TAIL}" for i in range(begin, end))
        told = daemon.publish(channel, lines, arguments="?split=lines")
        if told["position"].partition(":")[2] != str(end - 1):
            raise scene.Failure(f"published {told}, expected {end - 1}")


def stall(daemon, channel, arguments=""):
    """A consumer that has read nothing while COUNT messages went by, beside
    one that read all of them."""
    slow = daemon.ws(channel, arguments, receive_bytes=4096)
    fast = daemon.ws(channel)
    for begin in range(1, COUNT + 1, BATCH):
        publish(daemon, channel, begin, begin + BATCH - 1)
        for i in range(begin, begin + BATCH):
            if number(fast.read_text()) != i:
                raise scene.Failure(f"the fast one lacks {i}")
    lag = daemon.metric(f'channel_lag_messages{{channel="{channel}"}}')
    scene.check(lag > 60, f"one lacks all {lag:.0f} that are kept and more, "
                "the other nothing")
    held = daemon.metric("tapes_bytes")
    scene.check(held < 1024 * KIB, f"{held / KIB:.0f} KiB are held for it")
    return slow


def read_until_closed(consumer):
    """The numbers heard, and how it was closed."""
    heard = []
    try:
        while True:
            heard.append(number(consumer.read_text()))
    except scene.Closed as closed:
        return heard, closed.code, closed.reason


def scene_skip_is_told_by_the_close():
    with scene.Daemon(CONF) as daemon:
        slow = stall(daemon, "skip")
        epoch = slow.position.partition(":")[0]
        heard, code, reason = read_until_closed(slow)
        scene.equal(heard, list(range(1, len(heard) + 1)),
                    f"it hears the first {len(heard)}, in order")
        scene.equal(code, 4009, "and is closed with 4009")
        gap = re.fullmatch(rf"gap {epoch}:(\d+)-(\d+)", reason)
        scene.check(gap, reason)
        first, last = int(gap[1]), int(gap[2])
        scene.equal(first, len(heard) + 1, "the gap begins where it was")
        scene.check(first < last < COUNT, "and ends before what is kept")
        scene.equal(daemon.metric("overruns_total"), 1, "counted")
        # Back with its last position: what is kept by now, or the gap to it.
        for at in len(heard), last:
            back = daemon.ws("skip", f"?from={epoch}:{at}")
            if at == last and back.recovered == "true":
                scene.equal(number(back.read_text()), last + 1,
                            "coming back with what is still the oldest")
                continue
            scene.equal(back.recovered, "false", "coming back: not recovered")
            code, reason = back.read_closed()
            scene.equal((code, reason.partition("-")[0]),
                        (4009, f"gap {epoch}:{at + 1}"), "and told the gap")
            to = int(reason.partition("-")[2])
            back = daemon.ws("skip", f"?from={epoch}:{to}")
            scene.equal(back.recovered, "true", "from its end: recovered")
            scene.equal(number(back.read_text()), to + 1, "and on from there")


def scene_skip_in_silence():
    with scene.Daemon(CONF) as daemon:
        slow = stall(daemon, "skip", "?gap=silent")
        publish(daemon, "skip", COUNT + 1, COUNT + 1)
        heard = [number(slow.read_text())]
        while heard[-1] != COUNT + 1:
            heard.append(number(slow.read_text()))
        steps = [(a, b) for a, b in zip(heard, heard[1:]) if b != a + 1]
        scene.equal(heard[0], 1, "it hears the first")
        scene.check(steps and all(b > a for a, b in steps),
                    f"goes on after {steps}, in order, nothing twice")
        skipped = COUNT + 1 - len(heard)
        scene.equal(daemon.metric("messages_skipped_total"), skipped,
                    f"{skipped} messages skipped, as counted")
        scene.equal(daemon.metric("overruns_total"), len(steps), "overruns")
        publish(daemon, "skip", COUNT + 2, COUNT + 5)
        scene.equal([number(slow.read_text()) for _ in range(4)],
                    list(range(COUNT + 2, COUNT + 6)), "and live again")


def scene_latest():
    with scene.Daemon(CONF) as daemon:
        told = stall(daemon, "latest")
        heard, code, reason = read_until_closed(told)
        scene.equal(code, 4009, "latest is told, too")
        scene.equal(reason.partition(":")[2], f"{len(heard) + 1}-{COUNT}",
                    "all there was is the gap")
    with scene.Daemon(CONF) as daemon:
        silent = stall(daemon, "latest", "?gap=silent")
        heard = []
        while not heard or heard[-1] < 10:
            heard.append(number(silent.read_text()))
        # It has room again: visited, overtaken, moved to the newest.
        while daemon.metric("overruns_total") == 0:
            heard.append(number(silent.read_text()))
        publish(daemon, "latest", COUNT + 1, COUNT + 3)
        while heard[-1] != COUNT + 3:
            heard.append(number(silent.read_text()))
        steps = [(a, b) for a, b in zip(heard, heard[1:]) if b != a + 1]
        scene.equal([b for _, b in steps], [COUNT + 1],
                    "in silence it goes on with what comes next")


def scene_close():
    for arguments in ("", "?gap=silent"):
        with scene.Daemon(CONF) as daemon:
            slow = stall(daemon, "close", arguments)
            heard, code, reason = read_until_closed(slow)
            scene.equal(heard, list(range(1, len(heard) + 1)), "in order")
            scene.equal((code, reason), (1013, "overrun"), "then 1013")
            scene.equal(daemon.metric("messages_skipped_total"), 0,
                        "nothing skipped")


def scene_in_the_middle_of_a_message():
    """What was begun cannot be gone on with, whatever was asked for."""
    with scene.Daemon(CONF) as daemon:
        slow = daemon.ws("skip", "?gap=silent", receive_bytes=4096)
        epoch = slow.position.partition(":")[0]
        body = os.urandom(900 * KIB)
        for _ in range(20):
            daemon.publish("skip", body, "x/y")
        heard = 0
        try:
            while True:
                if slow.read_message()[1] != body:
                    raise scene.Failure("another message")
                heard += 1
        except scene.Closed as closed:
            scene.equal(closed.code, 4009, f"after {heard} of 20 messages")
            scene.check(re.fullmatch(rf"gap {epoch}:{heard + 1}-\d+",
                                     closed.reason), closed.reason)


def scene_many_that_stop():
    """Half of the consumers: no more memory, and the others hear all."""
    with scene.Daemon(CONF) as daemon:
        slow = [daemon.ws("skip", receive_bytes=4096) for _ in range(20)]
        fast = [daemon.ws("skip") for _ in range(20)]
        publish(daemon, "skip", 1, 10)
        for consumer in fast:
            for _ in range(10):
                consumer.read_text()
        for begin in range(11, 3011, 100):
            publish(daemon, "skip", begin, begin + 99)
            for consumer in fast:
                got = [number(consumer.read_text()) for _ in range(100)]
                if got != list(range(begin, begin + 100)):
                    raise scene.Failure(f"after {begin}: {scene.short(got)}")
        scene.check(True, "20 that read hear 3010 messages beside 20 that do "
                    "not")
        held = daemon.metric("tapes_bytes")
        scene.check(held < 1024 * KIB, f"{held / KIB:.0f} KiB are held")
        for consumer in slow:
            consumer.reset()


scene.play(globals())
