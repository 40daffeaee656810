#!/usr/bin/python3
# slow
# limit: 240
"""The journal: fields and message ids, the catalog, the journal as a feed, and
a journal that stands still, for which nobody waits.
"""
import json
import os
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import lab
import scene

ANSWER_S = 0.25  # while the journal stands still, on a machine that is busy
DEBUG = "[log]\nlevel = debug\n"


def scene_fields():
    lab.configure("[command down]\nexec = /no/such\nchannel = d.1\n"
                  "[drain]\ntimeout = 0s\n")
    with lab.service() as earshot:
        lab.wait_message("cannot be started", earshot.since)
        consumer = earshot.ws("ticks")
        lab.systemctl("stop", "earshot.service")
        port = consumer.sock.getsockname()[1]
        consumer.close()
        entries = lab.journal(earshot.since)
    ids = lab.events()
    named = {e["MESSAGE_ID"]: e for e in entries if "MESSAGE_ID" in e}
    for name in ("READY", "DRAIN_BEGUN", "DRAIN_FORCED", "DRAINED",
                 "FEED_DOWN", "CONSUMER_CUT"):
        scene.check(ids[name] in named,
                    f"{name}: {named.get(ids[name], {}).get('MESSAGE')}")
    feed, cut = named[ids["FEED_DOWN"]], named[ids["CONSUMER_CUT"]]
    scene.equal((feed["EARSHOT_FEED"], feed["EARSHOT_CHANNEL"],
                 feed["PRIORITY"]), ("down", "d.1", "4"), "fields of a feed")
    scene.equal((cut["EARSHOT_CONN"], cut["EARSHOT_PEER"]),
                ("0.0", f"127.0.0.1:{port}"), "fields of a connection")
    scene.check(all(e["SYSLOG_IDENTIFIER"] == "earshotd" and
                    e["_SYSTEMD_UNIT"] == "earshot.service"
                    for e in entries), "whose they are")
    scene.equal({e["_TRANSPORT"] for e in entries}, {"journal"},
                "all natively")
    found = lab.sh("journalctl", "-o", "cat", "EARSHOT_CHANNEL=d.1").stdout
    scene.check("again in" in found, "journalctl EARSHOT_CHANNEL=d.1")


def hear_an_entry(earshot):
    def told():
        lab.sh("logger", "-t", "scene", "heard by all")
        answer = earshot.http(
            "GET", "/channels/journal/messages?from=oldest&limit=1000")
        said = scene.json_of(answer).get("messages", [])
        entries = [json.loads(m["text"]) for m in said]
        return next((e for e in entries
                     if e.get("MESSAGE") == "heard by all"), None)
    entry = scene.wait_until(told, "an entry of the journal")
    scene.equal((entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"]),
                ("scene", "5"), "an entry, as JSON")


def scene_the_journal_as_a_channel():
    """conf/journal.conf, all but where it listens: by root, by the unit."""
    text = (scene.TOP / "conf/journal.conf").read_text(encoding="ascii")
    text = "[command journal]" + text.partition("[command journal]")[2]
    with scene.Daemon(text) as earshot:
        hear_an_entry(earshot)
    # The lab is a container, of which the drop-in speaks.
    lab.configure(text.replace("journalctl -f", "journalctl -f -m"))
    lab.ready_made("journal.conf")
    with lab.service() as earshot:
        hear_an_entry(earshot)


def scene_the_catalog_explains():
    lab.sh("journalctl", "--update-catalog")
    lab.configure()
    with lab.service():
        pass
    text = lab.sh("journalctl", "-x", "-u", "earshot.service").stdout
    scene.check("Every listener accepts connections." in text,
                "journalctl -x")
    listed = lab.sh("journalctl", "--list-catalog").stdout
    wanted = set(lab.events().values())
    scene.equal({i for i in wanted if f"{i} earshot: " not in listed}, set(),
                f"{len(wanted)} ids are in the catalog")


def journald():
    return int(lab.show("MainPID", "systemd-journald.service"))


def talk(earshot, seconds):
    """Make it say much; the longest time an answer took."""
    longest, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            os.kill(earshot.main, signal.SIGUSR1)
            time.sleep(0.0005)
        longest = max(longest, lab.timed(earshot.http, "GET", "/healthz"))
    return longest


def scene_nobody_waits_for_the_journal():
    lab.configure(DEBUG)
    lab.dropin("[Service]\nWatchdogSec=3s\nLogRateLimitIntervalSec=0\n")
    with lab.service() as earshot:
        earshot.main = lab.main_pid()
        pid = journald()
        os.kill(pid, signal.SIGSTOP)
        try:
            longest = talk(earshot, 4)
            dropped = earshot.metric("log_dropped_total")
            while dropped == 0:
                talk(earshot, 0.5)
                dropped = earshot.metric("log_dropped_total")
            alive = lab.main_pid() == earshot.main
        finally:
            os.kill(pid, signal.SIGCONT)
        scene.in_time(longest, ANSWER_S, f"{dropped:.0f} lines dropped, and "
                      "the longest answer took")
        scene.check(alive, "and the watchdog was fed")
        told = lab.wait_message(r"dropped \d+ lines", earshot.since)
        scene.equal((told["MESSAGE_ID"], told["PRIORITY"]),
                    (lab.events()["LINES_DROPPED"], "4"), told["MESSAGE"])
        total = earshot.metric("log_dropped_total")
        counts = [int(re.search(r"\d+", m)[0]) for m in lab.messages(
            earshot.since) if re.match(r"dropped \d+ lines", m)]
        scene.equal(sum(counts), total, f"all counted, in {counts}")


def scene_nor_does_a_stop():
    lab.configure(DEBUG)
    with lab.service() as earshot:
        earshot.main = lab.main_pid()
        pid = journald()
        os.kill(pid, signal.SIGSTOP)
        try:
            while earshot.metric("log_dropped_total") == 0:
                talk(earshot, 0.5)
            took = lab.timed(lab.systemctl, "stop", "earshot.service")
        finally:
            os.kill(pid, signal.SIGCONT)
        scene.in_time(took, 3, "stopped")
        scene.equal((lab.show("ExecMainStatus"), lab.show("Result")),
                    ("0", "success"), "exit code")


def scene_somebody_else_s_stderr():
    """A wrapper reads what we say: then it gets lines."""
    lab.configure()
    lab.dropin("[Service]\nExecStart=\nExecStart=/bin/sh -c 'exec "
               "/usr/sbin/earshotd -c /etc/earshot/earshot.conf "
               "2>/run/earshot/log'\n")
    with lab.service():
        log = pathlib.Path("/run/earshot/log")
        scene.wait_until(lambda: "<6>ready\n" in log.read_text(),
                         "<N> before each line")


lab.play(__file__, globals(), limit=220)
