#!/usr/bin/python3
# slow
# limit: 240
"""The watchdog: a net loop that stands still is named, then killed in time and
started again; one that is slow, or a command that hangs, is not.

The test build (tests/lab/hooks.c) makes the net loop stand still at SIGUSR2.
"""
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import lab
import scene

WATCHDOG_S = 2
LATER_S = 1.0  # promised: killed and restarted within WatchdogSec + 1 s
HOOKED = f"""[Service]
ExecStart=
ExecStart={lab.HOOKED} -c {lab.CONF}
WatchdogSec={WATCHDOG_S}s
"""


def stand_still():
    os.kill(lab.main_pid(), signal.SIGUSR2)


def stamp(entry):
    return int(entry["__REALTIME_TIMESTAMP"]) / 1e6


def scene_a_stuck_loop_is_named_and_killed():
    lab.configure()
    lab.dropin(HOOKED)
    lab.systemctl("start", "earshot.socket")
    with lab.service() as earshot:
        pid = lab.main_pid()
        began = time.time()
        stand_still()
        lab.wait_show("NRestarts", "1", seconds=60)
        lab.wait_show("ActiveState", "active")
        scene.check(lab.main_pid() not in (0, pid), "another process")
        back = time.time()
        earshot.wait_answer()
        lab.wait_show("StatusText", r"0 consumers on 0 channels.*")
        scene.in_time(back - began - WATCHDOG_S, LATER_S,
                      f"killed and back, later than WatchdogSec={WATCHDOG_S}s")
        named = lab.wait_message('the net loop is stuck in "test hook"',
                                 earshot.since)
        scene.equal((named["MESSAGE_ID"], named["PRIORITY"]),
                    (lab.events()["LOOP_STUCK"], "3"), named["MESSAGE"])
        scene.check(any(re.search('loop=net stuck="test hook"', m)
                        for m in lab.messages(earshot.since)),
                    "the loop names it, too")
        killed = [e for e in lab.journal(earshot.since, "init.scope")
                  if "Watchdog timeout" in e["MESSAGE"]]
        scene.equal(len(killed), 1, "one watchdog timeout")
        scene.check(stamp(named) < stamp(killed[0]),
                    f"named {stamp(killed[0]) - stamp(named):.2f} s before")


def scene_status_says_so_meanwhile():
    lab.configure()
    lab.dropin(HOOKED.replace(f"WatchdogSec={WATCHDOG_S}s", "WatchdogSec=0"))
    lab.systemctl("start", "earshot.service")
    stand_still()
    lab.wait_show("StatusText", 'stuck in "test hook" for .*')
    scene.check(True, lab.show("StatusText"))
    # A stop of what does not answer is bounded, too.
    lab.configure("[drain]\ntimeout = 100ms\n")
    took = lab.timed(lab.systemctl, "kill", "-s", "KILL", "earshot.service")
    scene.in_time(took, 1, "and SIGKILL ends it")


def scene_a_stop_of_a_stuck_one():
    lab.configure("[drain]\ntimeout = 500ms\n")
    lab.dropin(HOOKED)
    lab.systemctl("start", "earshot.service")
    since = lab.cursor()
    stand_still()
    took = lab.timed(lab.systemctl, "stop", "earshot.service", seconds=30)
    scene.equal(lab.show("ExecMainStatus"), "3", "exit code: forced")
    scene.equal(lab.show("Result"), "success", "not by TimeoutStopSec=")
    scene.in_time(took, 6, "stopped all the same")
    scene.check(any("does not answer" in m for m in lab.messages(since)),
                "and the log says why")


def scene_slow_is_not_stuck():
    lab.configure()
    lab.dropin(HOOKED.replace(f"WatchdogSec={WATCHDOG_S}s", "WatchdogSec=6s") +
               "Environment=EARSHOT_TEST_BLOCK_MS=3200\n")
    with lab.service() as earshot:
        pid = lab.main_pid()
        for _ in range(2):
            since = lab.cursor()
            stand_still()
            lab.wait_message("the net loop is stuck in", since)
            earshot.wait_answer()
            lab.wait_show("StatusText", r"0 consumers .*")
        scene.equal((lab.main_pid(), lab.show("NRestarts")), (pid, "0"),
                    "3.2 s of 6 s, twice: it lives")


def scene_commands_have_no_part_in_it():
    lab.configure("".join(
        f"[command hang{n}]\nexec = sh -c 'kill -STOP $$'\nchannel = c{n}\n"
        for n in range(8)))
    lab.dropin(HOOKED)
    with lab.service() as earshot:
        lab.wait_message("command runs .*hang7", earshot.since)
        pid = lab.main_pid()
        first = int(lab.show("WatchdogTimestampMonotonic"))
        scene.wait_until(lambda: int(lab.show("WatchdogTimestampMonotonic"))
                         > first + (WATCHDOG_S + 1) * 1000000,
                         "the watchdog is fed for longer than its time")
        scene.equal((lab.main_pid(), lab.show("NRestarts")), (pid, "0"),
                    "eight stopped commands: it lives")
        lab.systemctl("stop", "earshot.service", seconds=30)
    scene.equal(lab.show("Result"), "success", "and stops")
    scene.equal(lab.group_pids(), [], "nobody is left")


def scene_the_unit_s_own_interval():
    lab.configure()
    with lab.service():
        scene.equal(lab.show("WatchdogUSec"), "10s", "WatchdogSec=")
        first = lab.show("WatchdogTimestampMonotonic")
        lab.wait_show("WatchdogTimestampMonotonic", rf"(?!{first}$)\d+",
                      seconds=9)
        scene.check(True, "is fed in that time")


lab.play(__file__, globals(), limit=220)
