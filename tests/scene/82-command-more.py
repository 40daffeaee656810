#!/usr/bin/python3
"""[command NAME]: environment, folder, framing, restart policy, limits.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import scene

ONCE = "backoff_min = 1h\nbackoff_max = 1h\n"


def command(name, line, more=ONCE):
    return f"[command {name}]\nexec = {line}\nchannel = {name}\n{more}\n"


def state(daemon, name):
    for sample, value in daemon.metrics().items():
        if sample.startswith("feed_up{") and f'feed="{name}"' in sample:
            return sample.partition('state="')[2].partition('"')[0]
    return None


def state_is(daemon, name, wanted):
    scene.wait_until(lambda: state(daemon, name) == wanted,
                     f"{name} is {wanted}")


def scene_environment_and_folder():
    conf = command("env", """sh -c 'echo "$A|$B|$PWD|$HOME"'""", ONCE +
                   "environment = A=1 and 2\nenvironment = B=\n"
                   "environment = HOME=/elsewhere\ndirectory = /usr")
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("env", "?from=oldest")
        scene.equal(consumer.read_text(), "1 and 2||/usr|/elsewhere",
                    "what it is given")
    conf = command("env", "echo", ONCE + "directory = /nowhere")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("command cannot be started: No such file")


def scene_framing_null():
    conf = command("nul", r"printf 'a\nb\\0c\\0d'", ONCE + "framing = null")
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("nul", "?from=oldest")
        scene.equal([consumer.read_text() for _ in range(3)],
                    ["a\nb", "c", "d"], "NULs")


def scene_restart():
    quick = "backoff_min = 1ms\nbackoff_max = 10ms\n"
    conf = command("never", "false", quick + "restart = never") + \
        command("good", "true", quick + "restart = on_failure") + \
        command("bad", "false", quick + "restart = on_failure") + \
        command("always", "true", quick)
    with scene.Daemon(conf) as daemon:
        state_is(daemon, "never", "finished")
        state_is(daemon, "good", "finished")
        for name in "bad", "always":
            daemon.wait_metric("feed_restarts_total", 5, feed=name)
        for name in "never", "good":
            scene.equal(daemon.metric("feed_restarts_total", feed=name), 0,
                        f"{name}: once")


def scene_consumers_that_come_and_go():
    """On demand: what they do is in the log a bounded number of times."""
    script = scene.TMP / "stubborn.sh"
    go = scene.TMP / "may-end"
    script.write_text("trap '' TERM\necho up\n"
                      f"until [ -e {go} ]; do sleep 0.01; done\n")
    conf = command("stubborn", f"sh {script}",
                   "start = demand\nstop_timeout = 1h\n") + \
        command("quick", "sh -c 'echo up; exec sleep 1000'", "start = demand")
    daemon = scene.Daemon(conf)
    state_is(daemon, "stubborn", "waiting")
    daemon.ws("stubborn", "?from=oldest").read_text()
    for _ in range(30):
        daemon.ws("stubborn").close()
    daemon.wait_metric("channel_consumers", 0, channel="stubborn")
    state_is(daemon, "stubborn", "stopping")
    scene.equal(daemon.log_count("asked to stop feed=stubborn"), 1,
                "asked once")
    for _ in range(50):
        state_is(daemon, "quick", "waiting")
        consumer = daemon.ws("quick")
        consumer.read_text()
        consumer.close()
    state_is(daemon, "quick", "waiting")
    scene.equal(daemon.metric("feed_restarts_total", feed="quick"), 49,
                "started by each")
    lines = daemon.log_count("feed=quick")
    scene.check(lines < 90, f"{lines} lines of 50 lives")
    go.touch()
    scene.equal(daemon.stop(), 0, "exit code")


def scene_a_reload_waits_for_what_it_replaces():
    """Two with one channel never run at once; who listens is known."""
    notes, go = scene.TMP / "notes", scene.TMP / "may-go"
    script = scene.TMP / "noting.sh"
    script.write_text(
        f"trap 'until [ -e {go} ]; do sleep 0.01; done;"
        f" echo end >>{notes}; exit' TERM\n"
        f"echo begin >>{notes}\necho $N\nwhile :; do sleep 0.01; done\n")

    def conf(name, number, more=""):
        return (f"[command {name}]\nexec = sh {script}\nchannel = c\n"
                f"environment = N={number}\n{more}\n"
                "[command other]\nexec = sleep 1000\nchannel = other\n")
    with control.Daemon(conf("a", 1)) as daemon:
        consumer = daemon.ws("c", "?from=oldest")
        scene.equal(consumer.read_text(), "1", "the first")
        daemon.reload(conf("a", 2))  # changed
        daemon.reload(conf("b", 3, "start = demand\n"))  # another, on demand
        daemon.wait_log("asked to stop feed=a")
        scene.equal(notes.read_text(), "begin\n", "the first is still there")
        go.touch()
        scene.equal(consumer.read_text(), "3", "the last, somebody listens")
        scene.equal(notes.read_text(), "begin\nend\nbegin\n", "one by one")
        scene.equal(daemon.log_count("command runs.*feed=other"), 1,
                    "another is not touched")
        consumer.close()
        state_is(daemon, "b", "waiting")


def scene_memory():
    program = 'python3 -c "print(len(bytearray(400000000)), flush=True)"'
    conf = command("much", program, ONCE + "memory_max = 256M") + \
        command("enough", program, ONCE + "memory_max = 2G")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("command says: MemoryError.*feed=much")
        consumer = daemon.ws("enough", "?from=oldest")
        scene.equal(consumer.read_text(), "400000000", "within its limit")


def scene_cpu():
    conf = command("busy", "sh -c 'while :; do :; done'",
                   ONCE + "cpu_max = 1s")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("command was ended by SIG(XCPU|KILL)", seconds=90)


def scene_arguments_are_not_the_shells():
    conf = command("args", """printf '%s\\n' '$HOME' '"' '*' 'a b'""",
                   ONCE + "memory_max = 1G")
    with scene.Daemon(conf) as daemon:
        consumer = daemon.ws("args", "?from=oldest")
        scene.equal([consumer.read_text() for _ in range(4)],
                    ["$HOME", '"', "*", "a b"], "with limits, too")


def scene_rate_holds_the_program_back():
    conf = command("yes", "yes", ONCE + "max_rate = 500")
    with scene.Daemon(conf) as daemon:
        daemon.wait_metric("feed_messages_total", 500, feed="yes", seconds=60)
        first = daemon.metrics()
        now = daemon.metric("feed_messages_total", feed="yes")
        scene.check(now < 5000, f"{now} messages, not millions")
        scene.check(first['feed_over_rate_total{feed="yes",kind="command"}']
                    == 0, "none dropped")
        with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
            peak = next(int(line.split()[1]) for line in file
                        if line.startswith("VmHWM"))
        scene.check(peak < 40000 * scene.SLOWNESS, f"{peak} KiB: it waits")


def scene_three_consumers_get_all_of_find():
    here = os.path.join(os.path.dirname(__file__), "../..")
    root = os.environ.get("FIND_ROOT", here)
    # To a file once, so that what is compared cannot change.
    listing = scene.TMP / "listing"
    with open(listing, "wb") as out:
        import subprocess
        subprocess.run(["find", root, "-xdev", "-name", ".git", "-prune", "-o",
                        "-print0"], stdout=out, check=False)
    data = listing.read_bytes()
    names = data.split(b"\0")[:-1]
    go = scene.TMP / "go"
    conf = command("find", f"sh -c 'until [ -e {go} ]; do sleep 0.01; done; "
                   f"cat {listing}; exec sleep 1000'",
                   ONCE + "framing = null") + \
        "[channel **]\nhistory_messages = 10000000\nhistory_bytes = 256M\n"
    with scene.Daemon(conf) as daemon:
        url = f"ws://127.0.0.1:{daemon.port}/ws/find"
        readers = [scene.Client(kind, url, len(names))
                   for kind in ("ws", "websockets", "websocket-client")]
        daemon.wait_metric("channel_consumers", 3, channel="find")
        go.touch()
        for reader in readers:
            scene.equal(reader.result(60)["sha256"], scene.digest(names),
                        f"{len(names)} names by {reader.kind}")


scene.play(globals())
