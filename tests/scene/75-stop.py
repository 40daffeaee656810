#!/usr/bin/python3
# slow
# limit: 240
"""Stops with consumers that do not read and a command that does not end: never
as long as TimeoutStopSec=, exit codes right, nothing left behind.

make check-lab-long: a hundred times.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import lab
import scene

STOPS = 100 if lab.LONG else 10
STUCK = 20
DRAIN_S = 0.3
MESSAGE = "x" * 1000000
MESSAGES = 12  # more than the kernel keeps for one that does not read
CONF = f"""[drain]
timeout = {DRAIN_S * 1000:.0f}ms
[channel **]
buffer_bytes = 64M
[command stubborn]
exec = sh -c "trap '' TERM INT HUP; echo up; sleep 1000 & sleep 1001"
channel = stubborn
stop_timeout = 100ms
"""
OVER_S = DRAIN_S + 4  # and far below TimeoutStopSec=20s


def stuck_consumers(earshot):
    consumers = [earshot.ws("a", receive_bytes=4096) for _ in range(STUCK)]
    for _ in range(MESSAGES):
        earshot.publish("a", MESSAGE)
    earshot.wait_metric('feed_up{feed="stubborn",kind="command",'
                        'state="running"}', 1)
    return consumers


def check_nothing_left(sleepers):
    scene.equal(lab.group_pids(), [], "nobody in the control group")
    left = [p for p in sleepers if os.path.exists(f"/proc/{p}")]
    scene.equal(left, [], "nor anywhere else")
    scene.equal(lab.cores(), [], "no core")


def scene_stuck_consumers_and_a_stuck_command():
    lab.configure(CONF)
    longest, codes, since = 0, set(), lab.cursor()
    for _ in range(STOPS):
        with lab.service() as earshot:
            consumers = stuck_consumers(earshot)
            scene.wait_until(lambda: len(lab.group_pids()) >= 4,
                             "earshotd, sh, 2 sleeps")
            sleepers = lab.group_pids()
            longest = max(longest, lab.timed(
                lab.systemctl, "stop", "earshot.service", seconds=60))
            for consumer in consumers:
                consumer.close()
        codes.add((lab.show("ExecMainStatus"), lab.show("Result"),
                   lab.show("ActiveState")))
        if left := lab.group_pids():
            raise scene.Failure(f"left in the control group: {left}")
    scene.equal(codes, {("3", "success", "inactive")},
                f"{STOPS} stops: exit code 3, which is no failure")
    scene.in_time(longest, OVER_S, "the longest took")
    check_nothing_left(sleepers)
    manager = [e["MESSAGE"] for e in lab.journal(since, "init.scope")]
    scene.equal([m for m in manager if "timed out" in m or "SIGKILL" in m],
                [], "systemd never had to help")
    cut = [e for e in lab.journal(since)
           if e.get("MESSAGE_ID") == lab.events()["CONSUMER_CUT"]]
    scene.equal(len(cut), STOPS * STUCK, "every one that was cut is named")
    scene.check(all(e["EARSHOT_CHANNEL"] == "a" and "EARSHOT_CONN" in e and
                    e["EARSHOT_PEER"].startswith("127.0.0.1:") for e in cut),
                "with its channel, connection and peer")


def scene_only_a_stuck_command():
    lab.configure(CONF)
    with lab.service() as earshot:
        earshot.wait_metric('feed_up{feed="stubborn",kind="command",'
                            'state="running"}', 1)
        sleepers = lab.group_pids()
        took = lab.timed(lab.systemctl, "stop", "earshot.service")
    scene.equal((lab.show("ExecMainStatus"), lab.show("Result")),
                ("0", "success"), f"exit code, after {took:.2f} s")
    check_nothing_left(sleepers)


def scene_it_is_not_asked_twice():
    """KillMode=mixed: only the daemon hears SIGTERM, commands hear of it."""
    lab.configure("[command words]\nchannel = words\n"
                  "exec = sh -c \"trap 'echo bye; exit' TERM; echo up; "
                  "while :; do sleep 0.01; done\"\n")
    with lab.service() as earshot:
        consumer = earshot.ws("words", "?from=oldest")
        scene.equal(consumer.read_text(), "up", "it runs")
        stop = lab.background("systemctl", "stop", "earshot.service")
        scene.equal(consumer.read_text(), "bye", "its last word is heard")
        code, _ = consumer.read_closed()
        scene.equal(code, 1001, "before the close")
        scene.equal(stop.wait(60), 0, "systemctl stop")
    scene.equal(lab.show("ExecMainStatus"), "0", "exit code")


lab.play(__file__, globals(), limit=220)
