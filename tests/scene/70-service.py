#!/usr/bin/python3
# slow
# limit: 240
"""earshot.service under a real systemd: start, words, stop, failures."""
import os
import pathlib
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import lab
import scene

EXPOSURE_MAX = 1.5  # promised


def scene_ready_means_accepting():
    lab.configure()
    for _ in range(5):
        with lab.service() as earshot:
            scene.equal(earshot.http("GET", "/healthz").status, 200,
                        "answers as soon as systemctl start returns")
    scene.equal(lab.show("Result"), "success", "result")
    scene.equal(lab.show("ExecMainStatus"), "0", "exit code")


def scene_status_is_worth_reading():
    lab.configure("[command down]\nexec = /no/such\nchannel = down\n")
    lab.dropin("[Service]\nWatchdogSec=600ms\n")
    with lab.service() as earshot:
        lab.wait_show("StatusText", r"0 consumers on \d channels?, 0/s out, "
                      "1 of 1 feeds down")
        consumers = [earshot.ws(c) for c in "aab"]
        lab.wait_show("StatusText", r"3 consumers on [23] channels, 0/s out.*")
        for n in range(2000):
            earshot.publish("a", "x")
            if n % 100 == 0 and re.search(r" [1-9]\S*( k)?/s out",
                                          lab.show("StatusText")):
                break
        lab.wait_show("StatusText", r".* [1-9]\S*( k)?/s out.*")
        scene.check(True, lab.show("StatusText"))
        for consumer in consumers:
            consumer.close()
        lab.wait_show("StatusText", "0 consumers .*")
        scene.equal(lab.show("NRestarts"), "0", "restarts")


def scene_draining_is_told():
    lab.configure("[drain]\ntimeout = 20s\n")
    with lab.service() as earshot:
        consumer = earshot.ws("a")
        stop = lab.background("systemctl", "stop", "earshot.service")
        lab.wait_show("StatusText", r"draining: 1 of 1 consumers left, "
                      r"\d+ s of 20 s")
        scene.equal(lab.show("ActiveState"), "deactivating", "state")
        # It asked for 20 s and what it needs after that; the unit says 20 s.
        code, reason = consumer.read_closed()
        scene.check(code == 1001 and "retry_after_ms=" in reason,
                    f"close {code} {reason}")
        scene.equal(stop.wait(60), 0, "systemctl stop")
    scene.equal(lab.show("ExecMainStatus"), "0", "exit code")


def scene_more_time_than_the_unit_gives():
    """The drain's own timeout holds, and not TimeoutStopSec=."""
    lab.configure("[drain]\ntimeout = 4s\n")
    lab.dropin("[Service]\nTimeoutStopSec=1s\n")
    with lab.service() as earshot:
        consumer = earshot.ws("a")
        took = lab.timed(lab.systemctl, "stop", "earshot.service", seconds=30)
        consumer.close()
    scene.check(took > 3.5, "it had more than TimeoutStopSec=1s")
    scene.in_time(took, 9, "and ended by itself")
    scene.equal(lab.show("ExecMainStatus"), "3", "exit code: forced")
    scene.equal((lab.show("Result"), lab.show("ActiveState")),
                ("success", "inactive"), "which is no failure")


def scene_faults_of_the_configuration():
    lab.configure("[drain]\ntimeout = soon\n[nonsense]\n")
    since = lab.cursor()
    lab.systemctl("start", "earshot.service", code=1)
    scene.equal((lab.show("ActiveState"), lab.show("ExecMainStatus")),
                ("failed", "1"), "failed, exit code 1")
    scene.equal(lab.show("NRestarts"), "0", "not tried again")
    scene.check(re.match(r"\S+earshot.conf:\d+: .*soon", lab.show(
        "StatusText")), lab.show("StatusText"))
    scene.equal(lab.show("StatusErrno"), "22", "ERRNO")
    told = "\n".join(lab.messages(since))
    scene.check("earshot.conf:6: " in told and "earshot.conf:7: " in told,
                "each fault in the unit's journal")
    event = [e["MESSAGE"] for e in lab.journal(since) if e.get("MESSAGE_ID")
             == lab.events()["CONFIGURATION_FAULT"]]
    scene.equal(event, ["not started: 2 faults in the configuration"],
                "and one message with an id")
    told = lab.systemctl("status", "earshot.service", code=3).stdout
    scene.check("Invalid argument" in told and "earshot.conf:" in told,
                "systemctl status shows the first")


def scene_an_address_in_use_is_tried_again():
    lab.configure()
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", lab.PORT))
    other.listen()
    lab.systemctl("start", "earshot.service", code=1)
    scene.equal(lab.show("StatusErrno"), "98", "ERRNO")
    scene.check("127.0.0.1:8080: bind" in lab.show("StatusText"),
                lab.show("StatusText"))
    lab.wait_show("NRestarts", r"[2-9]|\d\d+")
    lab.wait_show("ExecMainStatus", "2")
    other.close()
    lab.wait_show("ActiveState", "active")
    scene.check(True, f"up after {lab.show('NRestarts')} tries")
    scene.equal(lab.show("StatusErrno"), "0", "ERRNO is forgotten")


def scene_signals_from_elsewhere():
    lab.configure()
    for signo in (signal.SIGTERM, signal.SIGINT):
        lab.systemctl("start", "earshot.service")
        os.kill(lab.main_pid(), signo)
        lab.wait_show("ActiveState", "inactive")
        scene.equal((lab.show("Result"), lab.show("NRestarts")),
                    ("success", "0"), f"{signo.name}: clean, not restarted")
    lab.systemctl("start", "earshot.service")
    pid = lab.main_pid()
    os.kill(pid, signal.SIGKILL)
    scene.wait_until(lambda: lab.show("ActiveState") == "active" and
                     lab.main_pid() not in (0, pid), "restarted")
    scene.equal(lab.show("NRestarts"), "1", "SIGKILL: restarted")


def scene_who_it_is():
    lab.configure()
    with lab.service() as earshot:
        earshot.wait_answer()
        status = pathlib.Path(f"/proc/{lab.main_pid()}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        user = lab.sh("id", "-u", "earshot").stdout.strip()
        scene.equal(fields["Uid"].split(), [user] * 4, "user earshot")
        scene.equal({fields[c] for c in
                     ("CapEff", "CapBnd", "CapAmb", "CapInh")}, {"0" * 16},
                    "no capability")
        scene.equal((fields["NoNewPrivs"], fields["Seccomp"]), ("1", "2"),
                    "no new privileges, system calls filtered")
        for path, mode, owner in (("/var/lib/earshot", 0o750, "earshot"),
                                  ("/run/earshot", 0o755, "earshot"),
                                  ("/etc/earshot", 0o755, "root")):
            at = pathlib.Path(path)
            scene.equal((at.stat().st_mode & 0o777, at.owner()),
                        (mode, owner), path)
        limits = pathlib.Path(f"/proc/{lab.main_pid()}/limits").read_text()
        scene.check(int(re.search(r"open files +(\d+)", limits)[1]) >= 10256,
                    "descriptors for limits.connections_max")
        scene.check(not [m for m in lab.messages(earshot.since)
                         if "WARN" in m or "descriptors" in m],
                    "nothing to complain about")
        scene.equal(lab.group_pids(), [lab.main_pid()], "alone in its group")
    scene.equal(lab.group_pids(), [], "nobody is left")
    scene.check(not os.path.exists("/run/earshot"), "nor /run/earshot")


def scene_nothing_to_write_to():
    lab.configure()
    lab.dropin("[Service]\nStateDirectory=\nRuntimeDirectory=\n"
               "InaccessiblePaths=-/var/lib/earshot\nLogsDirectory=\n")
    with lab.service() as earshot:
        scene.equal(earshot.http("GET", "/healthz").status, 200,
                    "without a state directory")
    pathlib.Path("/var/lib/earshot").mkdir(exist_ok=True)
    lab.dropin("[Service]\nReadOnlyPaths=/var/lib/earshot\n")
    followed = pathlib.Path("/var/followed")
    followed.write_text("")
    lab.configure(f"[file f]\npath = {followed}\nchannel = f\n")
    with lab.service() as earshot:
        scene.equal(earshot.http("GET", "/healthz").status, 200,
                    "with one that cannot be written")
        with earshot.ws("f") as consumer:
            with open(followed, "a", encoding="ascii") as lines:
                lines.write("one\n")
            scene.equal(consumer.read_text(), "one", "feeds go on")
        lab.wait_message("file's place cannot be kept: Read-only file system",
                         earshot.since)
    followed.unlink()


def scene_the_units_are_right():
    verify = lab.sh("systemd-analyze", "verify", "--man=no",
                    "earshot.service", "earshot.socket")
    scene.equal(verify.stdout + verify.stderr, "", "systemd-analyze verify")
    for name in sorted(f.name for f in lab.DROPINS.iterdir()):
        if name == "notify-reload.conf":
            continue  # not for this systemd
        lab.clean()
        lab.ready_made(name)
        verify = lab.sh("systemd-analyze", "verify", "--man=no",
                        "earshot.service")
        scene.equal(verify.stdout + verify.stderr, "", f"with {name}")
    lab.clean()
    done = lab.sh("systemd-analyze", "security", "--no-pager",
                  f"--threshold={EXPOSURE_MAX * 10:.0f}", "--offline=true",
                  "/usr/lib/systemd/system/earshot.service")
    last = done.stdout.strip().splitlines()[-1]
    exposure = float(re.search(r"(\d+\.\d+)", last)[1])
    scene.check(exposure <= EXPOSURE_MAX, f"exposure {exposure}")


lab.play(__file__, globals(), limit=220)
