#!/usr/bin/python3
# sanitizer: yes
"""Every limit of a section [handler]: reached, counted, and what becomes of
who reached it; for plugins and for exec handlers where both have it.
"""
import os
import re
import signal
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene

FAST = "backoff_min = 1ms", "backoff_max = 20ms"
BLOCK = 32768


def needs(*lines, name="it", more=""):
    """Of either kind, with what the process was told."""
    file = tempfile.NamedTemporaryFile(dir=scene.TMP, delete=False)
    return handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/needs.py {file.name}", *FAST,
        *lines, name=name, more=more)


def plugin(*lines, more=""):
    return handled.plugin("needs", *lines, more=more)


KINDS = {"plugin": (plugin, "-11"), "exec": (needs, "EAGAIN")}

HOLD = """\
import json, os, select, sys
held, rest = [], b""
while True:
    if select.select([0], [], [], 0.003)[0]:
        data = os.read(0, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\\n")
        for line in lines:
            event = json.loads(line)
            held.append(event["seq"])
            sys.stderr.write("holds %d: %s %s\\n" % (
                len(held), event["conn"], event["event"]))
            sys.stderr.flush()
    if os.path.exists(sys.argv[1]):
        for seq in held:
            print(json.dumps({"done": seq}), flush=True)
        held = []
"""


def metric(daemon, name, handler="it"):
    return handled.handler_metric(daemon, name, handler)


def scene_window():
    """So many events are with a process, and of a connection one."""
    go, file = scene.TMP / "go-window", scene.TMP / "hold.py"
    file.write_text(HOLD)
    conf = handled.conf(f"exec = {scene.PY} {file} {go}", "path = /app",
                        "window = 4")
    with scene.Daemon(conf) as daemon:
        clients = [handled.app(daemon) for _ in range(3)]
        for client in clients:
            for n in range(5):
                client.send_text(str(n))
        handled.wait_metric(daemon, "queued", 18)
        handled.wait_metric(daemon, "busy", 3)  # the process runs
        scene.equal(metric(daemon, "busy"), 3, "of 3 connections with 6 "
                    "events each, 3 are with the process")
        clients += [handled.app(daemon) for _ in range(5)]
        handled.wait_metric(daemon, "queued", 23)
        handled.wait_metric(daemon, "busy", 4)
        daemon.wait_log("holds 4: ")
        scene.equal(metric(daemon, "busy"), 4, "of 8 connections, 4: window")
        scene.equal(daemon.log_count("holds 5: "), 0, "and no more")
        go.touch()
        handled.wait_metric(daemon, "events_total", 23)
        names = re.findall(r"holds \d+: (\S+) open", daemon.log())
        scene.equal(len(set(names)), 8, "then all of them")
        for client in clients:
            client.close()


def blocked(kind, go, *lines):
    """A handler that does nothing until there is a file."""
    if kind == "plugin":
        return handled.plugin("record", "path = /app",
                              f"option.message_until = {go}", *lines)
    return handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/told.py {scene.TMP}/told",
        "path = /app", *FAST, *lines)


def scene_queue_messages():
    """Not read from so many on, and read again when half of them are done."""
    path = scene.TMP / "half"
    conf = handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/told.py {path}", "path = /app",
        "queue_messages = 8")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon)
        handled.wait_metric(daemon, "events_total", 1)
        for n in range(60):
            client.send_text(f"wait {path}-{n}".ljust(600))
        handled.wait_metric(daemon, "pauses_total", 1)
        first = int(metric(daemon, "queued"))
        scene.check(8 <= first < 60, f"{first} of 60 are in")
        for n in range(first - 3):
            (scene.TMP / f"half-{n}").touch()
        handled.wait_metric(daemon, "events_total", 1 + first - 3)
        handled.wait_metric(daemon, "queued", 4)
        scene.check(True, "3 were left, more are read")
        for n in range(60):
            (scene.TMP / f"half-{n}").touch()
        handled.wait_metric(daemon, "events_total", 61)
        scene.check(True, "all of them are handled")
        client.close()


def scene_queue_bytes():
    for kind in KINDS:
        go = scene.TMP / f"go-bytes-{kind}"
        conf = blocked(kind, go, "queue_bytes = 8K", "queue_messages = 1000")
        with scene.Daemon(conf) as daemon:
            client = handled.app(daemon)
            client.send_text(f"wait {go}")
            handled.wait_metric(daemon, "busy", 1)
            for n in range(100):
                client.send_text(f"{n} " + "x" * 1000)
            handled.wait_metric(daemon, "pauses_total", 1)
            queued = metric(daemon, "queued")
            scene.check(queued < 100, f"{kind}: {queued:.0f} of 100 are in, "
                        "then the connection is not read")
            go.touch()
            handled.wait_metric(daemon, "events_total", 102)
            scene.check(True, "all of them are handled")
            client.close()


def scene_queue_bytes_total():
    for kind in KINDS:
        go = scene.TMP / f"go-total-{kind}"
        conf = blocked(kind, go, "queue_bytes_total = 32K")
        with scene.Daemon(conf) as daemon:
            clients = [handled.app(daemon) for _ in range(20)]
            handled.wait_metric(daemon, "events_total", 20)
            for client in clients:
                client.send_text(f"wait {go}")
            for client in clients:
                for n in range(12):
                    client.send_text(f"{n} " + "x" * 1000)
            handled.wait_metric(daemon, "pauses_total", 10)
            queued = metric(daemon, "queued")
            scene.check(queued < 20 * 13 / 2, f"{kind}: {queued:.0f} of 260 "
                        "are in, no connection is at its own limit")
            go.touch()
            handled.wait_metric(daemon, "events_total", 20 + 260)
            scene.check(True, "all of them are handled")
            for client in clients:
                client.close()


def scene_send_bytes_max():
    for kind, (conf, refused) in KINDS.items():
        with scene.Daemon(conf("path = /app", "send_bytes_max = 256K")) \
                as daemon:
            client = handled.app(daemon, receive_bytes=4096)
            client.send_text("flood")
            told = daemon.wait_log(r"flood: (\d+) taken, then (\S+)")
            scene.equal(told[2], refused, f"{kind}: {told[1]} blocks, then")
            scene.check(metric(daemon, "again_total") >= 1, "counted")
            taken = int(told[1])
            for _ in range(taken):
                if len(client.read_message()[1]) != BLOCK:
                    raise scene.Failure("half a block")
            client.close()
            scene.check(True, "what was taken is heard")


def scene_an_echo_to_who_does_not_read():
    """It slows down instead of failing: its peer is not read, either."""
    count = 600
    conf = handled.plugin("echo", "path = /app", "send_bytes_max = 1M")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon, receive_bytes=4096)
        sender = threading.Thread(target=lambda: [client.send_frame(
            scene.BINARY, bytes([n % 256]) * BLOCK) for n in range(count)])
        sender.start()
        handled.wait_metric(daemon, "pauses_total", 1)
        for n in range(count):
            if client.read_message()[1] != bytes([n % 256]) * BLOCK:
                raise scene.Failure(f"message {n}")
        sender.join()
        scene.equal([metric(daemon, n) for n in (
            "failed_total", "again_total")], [0, 0],
            f"{count} come back, refused")
        client.close()


def scene_a_send_without_id_to_who_does_not_read():
    file = scene.TMP / "again"
    conf = handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/needs.py {file}", "path = /app",
        "send_bytes_max = 256K")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon, receive_bytes=4096)
        client.send_text("flood without id")
        handled.wait_metric(daemon, "again_total", 1)
        scene.wait_until(lambda: '"error":"EAGAIN"' in file.read_text(),
                         "its on_error")
        scene.check(True, "its on_error")
        client.close()


def scene_errors_do_not_fill_the_queue():
    conf = needs("path = /app", "send_bytes_max = 256K")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon, receive_bytes=4096)
        client.send_text("err without end")
        client.send_text("flood without id")
        handled.wait_metric(daemon, "again_total", 20)
        handled.wait_metric(daemon, "bad_lines_total", 2000)
        handled.wait_metric(daemon, "events_total", 3)
        scene.check(metric(daemon, "queued") + metric(
            daemon, "events_total") < 64, "2000 bad lines and refused sends: "
            "one error, until it is heard")
        client.close()


STUCK = """
import json, os, sys, time
go, told = sys.argv[1:]
for line in sys.stdin:
    event = json.loads(line)
    if event["event"] == "message":
        for name in "busy", "busy:1", "busy:2":
            print(json.dumps({"subscribe": {
                "conn": event["conn"], "channel": name}}), flush=True)
        while not os.path.exists(go):
            time.sleep(0.01)
    if event["event"] == "error":
        with open(told, "a") as file:
            print(event["message"], file=file)
    print(json.dumps({"done": event["seq"]}), flush=True)
"""


def scene_overruns_do_not_fill_the_queue():
    """A handler that is stuck hears of them once, of each channel."""
    program, go, told = (scene.TMP / name for name in (
        "stuck.py", "go-gaps", "gaps"))
    program.write_text(STUCK)
    names = "busy", "busy:1", "busy:2"
    with scene.Daemon(handled.conf(
            f"exec = {scene.PY} {program} {go} {told}", "path = /app",
            "callback_timeout = 1m", more="[channel **]\noverrun = skip\n"
            "history_messages = 10\nhistory_bytes = 64K\n"
            "buffer_bytes = 64K\n")) as daemon:
        client = handled.app(daemon, receive_bytes=65536)
        client.send_text("subscribe")
        handled.wait_metric(daemon, "commands_total", 3)
        lines = ("x" * 1000 + "\n") * 100
        while daemon.metric("overruns_total") < 15:
            for name in names:
                daemon.publish(name, lines, arguments="?split=lines")
            for _ in range(10):  # of 300: now and then it is overtaken
                client.read_text()
        wait = int(metric(daemon, "queued")) - 1  # but for its message
        scene.check(0 < wait <= len(names), f"gaps of {wait} channels wait")
        go.touch()
        scene.wait_until(told.exists, "they are told")
        scene.wait_until(lambda: told.read_text().count("\n") >= wait,
                         "all of them")
        lines = told.read_text().splitlines()[:wait]
        gaps = [re.fullmatch(r"gap (.*):(\d+)-(\d+)", line)
                for line in lines]
        scene.check(all(gaps), f"gaps: {lines}")
        scene.equal(len({gap[1] for gap in gaps} & set(names)), wait,
                    "one of each")
        scene.check(all(int(gap[3]) - int(gap[2]) > 100 for gap in gaps),
                    "from the first that was missed to the last")
        client.close()


def scene_in_flight_bytes_max():
    """What waits for a filter is on its way."""
    for kind, (conf, refused) in KINDS.items():
        go = scene.TMP / f"go-flight-{kind}"
        judge = needs("filter = slow", "path = /judge", name="judge")
        conf = conf("path = /app", "in_flight_bytes_max = 256K", more=judge)
        with scene.Daemon(conf) as daemon:
            stuck = handled.app(daemon, "/judge")
            stuck.send_text(f"until {go}")
            handled.wait_metric(daemon, "events_total", 1, "judge")
            handled.wait_metric(daemon, "busy", 1, "judge")
            client = handled.app(daemon)
            client.send_text("fill")
            told = daemon.wait_log(r"fill: (\d+) taken, then (\S+)")
            scene.equal((told[1], told[2]), ("7", refused),
                        f"{kind}: 7 blocks and what they cost, then")
            scene.check(metric(daemon, "again_total") >= 1, "counted")
            count = 7
            if kind == "exec":  # who comes after it has room of its own
                client.send_text("die")
                handled.wait_metric(daemon, "lost_total", 1)
                client.send_text("fill")
                told = daemon.wait_log(r"fill: (\d+) taken", count=2)
                scene.equal(told[1], "7", "its successor: as many")
                count = 14
            go.touch()
            daemon.wait_metric(
                'channel_messages_total{channel="slow"}', count)
            scene.wait_until(lambda: metric(daemon, "in_flight_bytes") == 0,
                             "nothing is on its way any more")
            for each in (client, stuck):
                each.close()


def scene_functions_that_wait():
    """For a worker as many as it has room for, for their time 65536."""
    conf = plugin("path = /app", more="[limits]\nwork_threads = 1\n")
    with scene.Daemon(conf) as daemon:
        client, other = handled.app(daemon), handled.app(daemon)
        client.send_text("calls")
        other.send_text("name")
        told = daemon.wait_log(r"calls: (\d+) run, (\d+) later, then (\S+) "
                               r"(\S+)")
        scene.equal(told[2], "65536", "functions wait for their time")
        scene.equal((told[3], told[4]), ("-11", "-11"),
                    f"they, and {told[1]} for a worker; one more: EAGAIN")
        scene.check(other.read_text(), "another connection's message comes")
        daemon.wait_metric("work_jobs_total", int(told[1]) + 65536)
        for each in (client, other):
            each.close()
    scene.equal(re.search(r"ran: (\d+)", daemon.log())[1],
                str(int(told[1]) + 65536), "all of them have run, once")


def scene_message_bytes_max():
    conf = needs("path = /app", more="[limits]\nmessage_bytes_max = 1K\n")
    with scene.Daemon(conf) as daemon:
        client = handled.app(daemon)
        client.send_text("big 1025")
        scene.equal(client.read_text(), "EMSGSIZE EMSGSIZE",
                    "a send, a publish")
        daemon.wait_log('Message too long: {"publish')
        scene.equal(metric(daemon, "bad_lines_total"), 1,
                    "one that wants no reply is counted, and told")
        client.close()


def scene_line_bytes_max():
    """Its beginning may be a command: it is none."""
    file = scene.TMP / "long.py"
    file.write_text("import sys\nsys.stdin.readline()\nprint('"
                    '{"publish":{"channel":"c","text":"cut"}}' "' + ' ' * "
                    "3000 + '\\n' + 'z' * 3000 + '\\n' + "
                    '\'{"publish":{"channel":"c","text":"next"}}\', '
                    "flush=True)\nsys.stdin.read()\n")
    conf = handled.conf(f"exec = {scene.PY} {file}", "path = /app",
                        "line_bytes_max = 1K")
    with scene.Daemon(conf) as daemon:
        ears = daemon.ws("c")
        handled.app(daemon).close()
        scene.equal(ears.read_text(), "next", "the line behind them")
        scene.equal(metric(daemon, "bad_lines_total"), 2, "counted, each once")
        shown = daemon.wait_log("a line over line_bytes_max: (z+) ")[1]
        scene.equal(len(shown), 200, "characters shown")
        ears.close()
        daemon.signal(signal.SIGKILL)  # its last event is never done
        daemon.wait()


def scene_back_off():
    """Twice as long each time, each between half and all of it."""
    conf = handled.conf("exec = /bin/false", "path = /app",
                        "backoff_min = 16ms", "backoff_max = 100ms")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("another one in", count=6)
        delays = [int(d) for d in re.findall(r"another one in (\d+) ms",
                                             daemon.log())][:6]
        for delay, whole in zip(delays, (16, 32, 64, 100, 100, 100)):
            if not whole // 2 <= delay <= whole:
                raise scene.Failure(f"{delays}")
        scene.check(True, f"{delays} ms")
        scene.check(metric(daemon, "restarts_total") >= 5, "counted")


def scene_callback_timeout_while_others_are_done():
    with scene.Daemon(needs("path = /app", "callback_timeout = 1s")) \
            as daemon:
        stuck, other = handled.app(daemon), handled.app(daemon)
        stuck.send_text("never done")
        scene.wait_until(lambda: (other.send_text("name"), metric(
            daemon, "late_total"))[1], "it is late", 10)
        scene.check(metric(daemon, "events_total") > 10, "others are done")
        handled.wait_metric(daemon, "lost_total", 1)
        scene.check(True, "one event of one connection is not done: killed")
        stuck.close()
        other.close()


def scene_nobody_waits_for_who_floods():
    for kind in KINDS:
        conf = handled.plugin(
            "record", "path = /app", "option.message_ms = 5",
            more="[limits]\nwork_threads = 1\n") if kind == "plugin" else \
            handled.conf(f"exec = {scene.PY} {handled.EXEC}/told.py "
                         f"{scene.TMP}/fair", "path = /app")
        with scene.Daemon(conf) as daemon:
            flood, other = handled.app(daemon), handled.app(daemon)
            handled.wait_metric(daemon, "events_total", 2)
            for _ in range(60):
                flood.send_text("sleep 0.005")
            handled.wait_metric(daemon, "events_total", 5)
            other.send_text("user" if kind == "plugin" else
                            'do {"send":{"conn":"@","text":"1"}}')
            scene.equal(other.read_text(), "1", f"{kind}: is answered")
            left = metric(daemon, "queued")
            scene.check(left > 10, f"while {left:.0f} events of another "
                        "connection wait")
            flood.close()
            other.close()


def scene_options_reach_a_program():
    conf = handled.conf(
        "exec = /bin/sh -c 'echo \"it is $EARSHOT_OPTION_room\" >&2; cat'",
        "consume = nothing", "option.room = main hall", "option.a.b = 1")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("it is main hall handler=it")
        with open(f"/proc/{handled.children(daemon)[0]}/environ",
                  encoding="utf-8") as told:
            scene.check("EARSHOT_OPTION_a.b=1" in told.read().split("\0"),
                        "any word")


def scene_sends_that_wait_when_the_peer_leaves():
    # More than the kernel takes, or the last one would have been sent.
    with scene.Daemon(plugin("path = /app", "send_bytes_max = 12M")) as daemon:
        client = handled.app(daemon, receive_bytes=4096)
        client.send_text("pending")
        daemon.wait_log("pending: [0-9]+ taken, then -11")
        client.close()
        daemon.wait_log("pending: -107")
        scene.check(True, "ENOTCONN, for who waits for one in on_close")


def scene_a_job_of_a_program_and_sigterm():
    """Row 79: it ends and is heard, or it is reported."""
    for timeout in ("10s", "500ms"):
        go, file = scene.TMP / f"go-{timeout}", scene.TMP / "job.py"
        file.write_text(
            "import json, os, sys, time\nfor line in sys.stdin:\n"
            " event = json.loads(line)\n"
            f" while not os.path.exists({str(go)!r}): time.sleep(0.002)\n"
            " print(json.dumps({'publish': {'channel': 'results', 'text':"
            " 'done: ' + event['text']}}))\n"
            " print(json.dumps({'done': event['seq']}), flush=True)\n")
        conf = handled.conf(f"exec = {scene.PY} {file}", "consume = jobs",
                            more=f"[drain]\ntimeout = {timeout}\n")
        with scene.Daemon(conf) as daemon:
            ears = daemon.ws("results")
            daemon.publish("jobs", "one")
            handled.wait_metric(daemon, "busy", 1)
            scene.check(True, "POST is answered while the job is at work")
            daemon.signal()
            daemon.wait_log("INFO draining")
            if timeout == "10s":
                go.touch()
                scene.equal(ears.read_text(), "done: one", "it ends")
                scene.equal(ears.read_closed()[0], 1001, "then the close")
                scene.equal(daemon.wait(), 0, "exit code")
            else:
                scene.equal(daemon.wait(), 3, "exit code")
                scene.check("1 callbacks did not run, or did not end" in
                            daemon.log(), "it is reported")
                ears.close()


def scene_every_number_is_in_the_papers():
    room = scene.TOP / "daemon/handler"
    papers = {"plugin": (room / "earshot_plugin.3").read_text(),
              "exec": (room / "exec.md").read_text()}
    only = {"plugin": {"processes", "commands_total", "restarts_total",
                       "lost_total", "bad_lines_total"},
            "exec": {"failed_total", "stuck", "in_flight_bytes"}}
    with scene.Daemon(needs("path = /app")) as daemon:
        names = {name.removeprefix("handler_").partition("{")[0]
                 for name in daemon.metrics() if name.startswith("handler_")}
    for kind, text in papers.items():
        words = set(re.findall(r"\w+", text))
        scene.equal(names - words, only[{"plugin": "plugin",
                                         "exec": "exec"}[kind]] & names,
                    f"{kind}: all but what is not its own")


scene.play(globals())
