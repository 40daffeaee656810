#!/usr/bin/python3
# slow
# sanitizer: yes
# limit: 180
"""Reload of handlers: who is connected stays with the handler as it was, who
comes gets the new one, nothing is lost, and what nobody uses any more ends.
"""
import json
import os
import re
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import handled
import scene

ROUNDS = 100 // scene.SLOWNESS
ECHO = f"exec = {handled.PROGRAMS['python']}"
ANSWER = f"plugin = {handled.PLUGINS}/answer.so"


def answer(name, *lines, handler="it", path="path = /app"):
    return handled.conf(ANSWER, path, f"option.name = {name}", *lines,
                        name=handler)


def ask(client, text="x"):
    client.send_text(text)
    return client.read_text()


def ended(daemon, count=1):
    daemon.wait_log("the former handler has ended handler=it", count=count)


def gone(daemon, path):
    return scene.WebSocket(daemon.port, path).status == 404


def scene_added_and_removed():
    with control.Daemon() as daemon:
        scene.check(gone(daemon, "/app"), "no /app")
        scene.equal(daemon.reload(answer("one")).stderr, "", "a plugin")
        scene.equal(ask(handled.app(daemon)), "one 1", "serves")
        daemon.reload(answer("one") + handled.conf(
            ECHO, "path = /echo", name="more"))
        client = handled.app(daemon, "/echo")
        scene.equal(ask(client), "x", "and a program, too")
        daemon.wait_log("new, serves from now on handler=more")
        plugin = handled.app(daemon)
        scene.equal(ask(plugin), "one 2", "the plugin is what it was")
        daemon.reload("")
        scene.check(gone(daemon, "/app") and gone(daemon, "/echo"),
                    "both are gone for who comes")
        scene.equal((ask(client), ask(plugin)), ("x", "one 3"),
                    "and there for who was there")
        scene.equal(handled.handler_metric(daemon, "former"), 1, "counted")
        client.close()
        daemon.wait_log("the former handler has ended handler=more")
        scene.wait_until(lambda: not handled.children(daemon), "its process")
        plugin.close()
        daemon.wait_log(r"end\(\) of answer handler=it")
        ended(daemon)
        scene.check("handler_" not in daemon.http("GET", "/metrics").body.decode(),
                    "and no number is left")


def scene_another_filter():
    """What the former one has it answers, what comes is the new one's, and it
    ends though its publishers stay."""
    def conf(word):
        return handled.plugin("filter", "filter = checked",
                              f"option.word = {word}")
    with control.Daemon(conf("red")) as daemon:
        client = scene.WebSocket(daemon.port, "/ws", headers={
            "Sec-WebSocket-Protocol": "earshot.v1"})

        def publish(number, text):
            client.send_text(json.dumps({"id": number, "publish": {
                "channel": "checked", "text": text}}))

        def answer_to(number):
            got = json.loads(client.read_text())
            scene.equal(got["id"], number, "the answer to")
            return got.get("error", {"code": "ok"})["code"]
        publish(1, "red")
        scene.equal(answer_to(1), "refused", "by the first")
        publish(2, "sleep 1000")
        handled.wait_metric(daemon, "busy", 1)
        daemon.reload(conf("blue"))
        publish(3, "blue")
        scene.equal(answer_to(2), "ok", "by the first, in its time")
        scene.equal(answer_to(3), "refused", "by the second, behind that")
        publish(6, "blue")
        scene.equal(answer_to(6), "refused", "by the second")
        ended(daemon)
        publish(4, "red")
        scene.equal(answer_to(4), "ok", "by the second")
        daemon.reload("")
        publish(5, "blue")
        scene.equal(answer_to(5), "ok", "nobody is asked any more")
        ended(daemon, 2)
        client.close()


def scene_a_plugin_that_is_another():
    """Each has variables of its own, and its own end()."""
    with control.Daemon(answer("one", "option.timer = yes")) as daemon:
        clients = []
        for n, name in enumerate(("one", "two", "three")):
            if n > 0:
                daemon.reload(answer(name, "option.timer = yes"))
            clients.append(handled.app(daemon))
            scene.equal([ask(c) for c in clients],
                        [f"{w} {n + 1 - i}" for i, w in enumerate(
                            ("one", "two", "three")[:n + 1])], name)
        events = handled.handler_metric(daemon, "events_total")
        scene.equal(handled.handler_metric(daemon, "connections"), 3, "sum")
        scene.equal(handled.handler_metric(daemon, "former"), 2, "former")
        clients[0].close()
        ended(daemon)
        scene.equal([ask(c) for c in clients[1:]], ["two 3", "three 2"],
                    "the others go on")
        clients[1].close()
        ended(daemon, 2)
        scene.wait_until(lambda: handled.handler_metric(
            daemon, "events_total") == events + 4, "no event is uncounted")
        scene.equal(daemon.log_count("of answer handler=it"), 2, "two end()")
        clients[2].close()


def scene_a_plugin_whose_file_is_another():
    file = scene.TMP / "it.so"
    conf = handled.conf(f"plugin = {file}", "path = /app",
                        "option.name = same")

    def install(which):
        shutil.copy(handled.PLUGINS / f"{which}.so", f"{file}+")
        os.rename(f"{file}+", file)
    install("answer")
    with control.Daemon(conf) as daemon:
        old = handled.app(daemon)
        scene.equal(ask(old), "same 1", "as it was")
        daemon.reload(conf)
        scene.equal((ask(old), ask(handled.app(daemon))),
                    ("same 2", "same 3"), "the same file: the same handler")
        install("echo")
        daemon.reload(conf)
        new = handled.app(daemon)
        scene.equal((ask(old), ask(new)), ("same 4", "x"), "another file")
        install("answer")
        daemon.reload(conf)
        scene.equal((ask(old), ask(new), ask(handled.app(daemon))),
                    ("same 5", "x", "same 1"), "and another one")
        file.unlink()
        done = daemon.reload(conf, code=1)
        scene.check("it.so" in done.stderr, "a file that is gone is a fault")
        old.close()
        new.close()


def scene_a_program_that_is_another():
    with control.Daemon(handled.conf(ECHO, "path = /app")) as daemon:
        old = handled.app(daemon)
        scene.equal(ask(old), "x", "echo")
        before = handled.children(daemon)
        daemon.reload(handled.conf(ECHO, "path = /app", "workers = 2"))
        new = handled.app(daemon)
        scene.equal((ask(old), ask(new)), ("x", "x"), "both")
        scene.wait_until(lambda: len(handled.children(daemon)) == 3,
                         "the old process and two new ones")
        scene.equal(handled.handler_metric(daemon, "processes"), 3, "shown")
        os.kill(before[0], 9)
        scene.wait_until(lambda: handled.handler_metric(
            daemon, "restarts_total") == 1 and len(
                handled.children(daemon)) == 3, "it dies: another one")
        scene.equal(ask(old, "again"), "again", "for who was with it")
        old.close()
        ended(daemon)
        scene.wait_until(lambda: len(handled.children(daemon)) == 2,
                         "then it ends")
        scene.equal(ask(new), "x", "the new one goes on")
        new.close()


def scene_paths_and_channels():
    first = handled.conf(ANSWER, "path = /a", "path = /b", "option.name = one")
    second = handled.conf(ANSWER, "path = /b", "path = /c", "channel = r.*",
                          "option.name = two")
    with control.Daemon(first) as daemon:
        a, raw = handled.app(daemon, "/a"), daemon.ws("r.1")
        daemon.reload(second)
        scene.check(gone(daemon, "/a"), "/a is gone")
        scene.equal([ask(handled.app(daemon, path)) for path in (
            "/b", "/c", "/ws/r.1")], ["two 1", "two 2", "two 3"], "/b, /c, r.*")
        scene.equal(ask(a), "one 1", "who came by /a is where it was")
        raw.send_text("mine")
        scene.equal(raw.read_text(), "mine", "a raw consumer stays one")


def seen(daemon):
    got = daemon.http("GET", "/channels/seen/messages?from=oldest&limit=9999")
    return [m["text"].split() for m in scene.json_of(got)["messages"]] \
        if got.status == 200 else []


def scene_consuming():
    """Every message is handled once and in order, by one after the other."""
    keep = "[channel **]\nhistory_messages = 100000\n"

    def conf(name, *lines):
        return keep + handled.conf(ANSWER, "consume = jobs.*",
                                   f"option.name = {name}", *lines)
    with control.Daemon(conf("g0")) as daemon:
        stop, published = threading.Event(), [0]

        def publish():
            while not stop.is_set():
                for job in ("a", "b"):
                    daemon.publish(f"jobs.{job}", f"{job} {published[0]}")
                published[0] += 1
        thread = threading.Thread(target=publish)
        thread.start()
        for n in range(1, 12):
            scene.wait_until(lambda: [f"g{n - 1}"] in [
                m[:1] for m in seen(daemon)], f"g{n - 1} consumes")
            daemon.reload(conf(f"g{n}", *(
                ["option.ms = 1"] if n % 3 == 0 else [])))
        stop.set()
        thread.join()
        count = published[0]
        scene.wait_until(lambda: len(seen(daemon)) == 2 * count, "all")
        for job in ("a", "b"):
            mine = [m for m in seen(daemon) if m[1] == job]
            scene.equal([int(m[2]) for m in mine], list(range(count)),
                        f"{count} jobs.{job}: each once, in order")
            ages = [int(m[0][1:]) for m in mine]
            scene.equal(ages, sorted(ages), "from one to the next")
        ended(daemon, 11)


def scene_consuming_what_is_there():
    conf = handled.conf(ANSWER, "consume = jobs", "option.name = one")
    other = handled.conf(ANSWER, "consume = else", "option.name = two")
    keep = "[channel **]\nhistory_messages = 100\n"
    with control.Daemon(keep) as daemon:
        daemon.publish("jobs", "early")
        daemon.reload(keep + conf)
        scene.wait_until(lambda: seen(daemon) == [["one", "early"]],
                         "what the daemon has is consumed at once")
        daemon.reload(keep + other)
        daemon.publish("jobs", "nobody")
        daemon.publish("else", "somebody")
        scene.wait_until(lambda: seen(daemon)[1:] == [["two", "somebody"]],
                         "another pattern")
        daemon.reload(keep + conf)
        scene.wait_until(lambda: ["one", "nobody"] in seen(daemon),
                         "and back: from the oldest kept")


def scene_a_stuck_one_is_waited_for():
    def conf(name):
        return handled.conf(ANSWER, "consume = jobs", f"option.name = {name}",
                            "option.ms = 300")
    with control.Daemon("[channel **]\nhistory_messages = 100\n" +
                        conf("one")) as daemon:
        for n in range(3):
            daemon.publish("jobs", str(n))
        scene.wait_until(lambda: handled.handler_metric(
            daemon, "busy") == 1, "it works")
        for name in ("two", "three"):
            daemon.reload("[channel **]\nhistory_messages = 100\n" +
                          conf(name))
        daemon.publish("jobs", "3")
        scene.wait_until(lambda: len(seen(daemon)) == 4, "all")
        scene.equal([m[1] for m in seen(daemon)], ["0", "1", "2", "3"],
                    "in order")
        scene.equal((seen(daemon)[0][0], seen(daemon)[3][0]),
                    ("one", "three"), "the last by the last")
        scene.check("two" not in [m[0] for m in seen(daemon)],
                    "nothing for who never had its turn")
        ended(daemon, 2)


def broken():
    text = scene.TMP / "text.so"
    text.write_text("not an object")
    bad = f"plugin = {handled.PLUGINS}/bad.so"
    none = next(os.path.join("/lib/x86_64-linux-gnu", n) for n in sorted(
        os.listdir("/lib/x86_64-linux-gnu")) if n.startswith("libresolv.so"))
    yield "plugin = /no/such.so", "/no/such.so"
    yield f"plugin = {text}", str(text)
    yield f"plugin = {none}", "has no symbol earshot_plugin"
    yield f"{bad}\noption.how = init_fails", "earshot_plugin() failed"
    yield f"{bad}\noption.how = version", "is of version 2, expected 1"
    yield "exec = /no/such/program", "exec: /no/such/program: No such file"
    yield "exec = nosuchprogram", "exec: nosuchprogram: No such file"
    yield "exec = /etc/passwd", "exec: /etc/passwd: Permission denied"


def scene_broken_ones_change_nothing():
    with control.Daemon("[channel a]\nhistory_messages = 1\n" +
                        answer("one")) as daemon:
        client = handled.app(daemon)
        for text, told in broken():
            done = daemon.reload(
                "[channel a]\nhistory_messages = 9\n" +
                answer("two", handler="other", path="path = /other") +
                handled.conf(text, "path = /app", name="broken"), code=1)
            scene.check(re.search(r"earshot\.conf:\d+: \[handler broken\] ",
                                  done.stderr) and told in done.stderr,
                        done.stderr.splitlines()[0][-70:])
            scene.check(gone(daemon, "/other"), "nothing has changed")
        scene.equal([ask(client), ask(handled.app(daemon))],
                    ["one 1", "one 2"], "it serves on")
        daemon.wait_log(r"end\(\) of answer handler=other", count=8)
        for _ in range(3):
            daemon.publish("a", "x")
        got = daemon.http("GET", "/channels/a/messages?from=oldest")
        scene.equal(len(scene.json_of(got)["messages"]), 1, "nor elsewhere")
        scene.equal(json.loads(daemon.earshot("status", "--json").stdout)[
            "reload"]["ok"], False, "status tells it")
        client.close()


def numbers(daemon):
    return daemon.fd_count(), handled.rss(daemon.pid)


def scene_over_and_over():
    """A client of each echoes all the time; descriptors and memory are flat."""
    def conf(n):
        return handled.conf(ECHO, "path = /app", f"queue_messages = {n + 1}") \
            + handled.conf(ECHO, "path = /same", name="same")
    with control.Daemon(conf(0)) as daemon:
        stop, counts, clients = threading.Event(), [], []

        def echo(client):
            count = 0
            while not stop.is_set():
                if ask(client, str(count)) != str(count):
                    raise scene.Failure(f"echo {count}")
                count += 1
            counts.append(count)

        threads = []
        for path in ("/app", "/same"):
            clients.append(handled.app(daemon, path))
            threads.append(threading.Thread(target=echo, args=clients[-1:]))
            threads[-1].start()
        for n in range(1, ROUNDS + 1):
            daemon.reload(conf(n % 7))
            with handled.app(daemon) as late:
                scene.equal(ask(late), "x", "who comes") if n == 1 \
                    else ask(late)
            if n == ROUNDS // 4:
                settle(daemon)
                before = numbers(daemon)
        settle(daemon)
        after = numbers(daemon)
        stop.set()
        for thread in threads:
            thread.join()
        scene.check(len(counts) == 2 and min(counts) > 0,
                    f"{counts} echoes, {ROUNDS} reloads: each came back")
        scene.check(after[0] <= before[0] + 2, f"descriptors: {before[0]}, "
                    f"{after[0]}")
        if scene.SLOWNESS == 1:
            scene.check(after[1] < before[1] * 1.05 + 1e6,
                        f"KiB: {before[1] // 1024}, {after[1] // 1024}")
        for client in clients:
            client.close()


def settle(daemon):
    """All former ones but the first, which has a connection, have ended."""
    scene.wait_until(lambda: handled.handler_metric(daemon, "former") <= 1 and
                     len(handled.children(daemon)) <= 3, "former ones end")


def scene_loading_takes_its_time():
    """The loop goes on; a drain waits for it as for any callback."""
    slow = answer("two", "option.load_ms = 1500")
    with control.Daemon(answer("one") + "[drain]\nretry_spread = 0s\n") as \
            daemon:
        client = handled.app(daemon)
        daemon.write(slow)
        began = time.monotonic()
        thread = threading.Thread(
            target=lambda: daemon.earshot("reload", code=None))
        thread.start()
        asked = 0
        while thread.is_alive():
            ask(client)
            asked += 1
        scene.check(asked > 10 and time.monotonic() - began > 1.4,
                    f"{asked} round trips meanwhile")
        scene.equal(ask(handled.app(daemon)), "two 1", "then it serves")
        daemon.write(answer("three", "option.load_ms = 1500"))
        thread = threading.Thread(
            target=lambda: daemon.earshot("reload", code=None))
        thread.start()
        daemon.wait_log("control: reload,", count=2)
        daemon.signal()
        scene.equal(client.read_closed()[0], 1001, "a drain meanwhile")
        scene.equal(daemon.wait(), 0, "exit code")
        thread.join()


def scene_a_drain_while_a_plugin_does_not_come_back():
    """Nobody will ever be served by it: nobody else waits for it."""
    if scene.MODE == "valgrind":
        raise scene.Skip("a thread that is left behind is a leak")
    conf = "[drain]\ntimeout = 4s\nretry_spread = 0s\n" + answer("one")
    with control.Daemon(conf) as daemon:
        app, ears = handled.app(daemon), daemon.ws("news")
        daemon.write(conf + handled.conf(
            f"plugin = {handled.PLUGINS}/bad.so", "option.how = init_blocks",
            "path = /bad", name="bad"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("it does not come back")
        daemon.signal()
        for client in app, ears:
            scene.equal(client.read_closed()[0], 1001, "close")
        daemon.wait_log("2 delivered, 0 cut, 0 lost")
        scene.equal(daemon.wait(), 3, "exit code")
        daemon.wait_log("threads are left behind")


def scene_all_workers_are_blocked():
    """A plugin's code is loaded elsewhere, and told of a wrong one as well."""
    limits = "[limits]\nwork_threads = 1\n"
    with control.Daemon(limits + answer("one", "option.ms = 4000")) as daemon:
        client = handled.app(daemon)
        client.send_text("x")
        handled.wait_metric(daemon, "busy", 1)
        daemon.reload(limits + answer("two"))
        daemon.reload(limits + handled.conf(
            f"plugin = {handled.PLUGINS}/bad.so", "option.how = init_fails",
            "path = /app"), code=1)
        scene.equal(handled.handler_metric(daemon, "busy"), 1,
                    "reloaded, and the worker is where it was")
        other = handled.app(daemon)
        other.send_text("y")
        scene.equal((client.read_text(), other.read_text()),
                    ("one 1", "two 1"), "then it is called")
        client.close()
        ended(daemon)
        other.close()


def scene_while_it_drains():
    for n in range(10 // scene.SLOWNESS + 2):
        with control.Daemon(answer("one") + handled.conf(
                ECHO, "path = /echo", "consume = jobs", name="more") +
                "[drain]\nretry_spread = 0s\n") as daemon:
            clients = [handled.app(daemon, p) for p in ("/app", "/echo")]
            daemon.publish("jobs", "x")
            daemon.write(answer(str(n)) + handled.conf(
                ECHO, "path = /echo", "consume = jobs", "window = 3",
                name="more"))
            daemon.signal(1)
            time.sleep(n * 0.001)
            daemon.signal()
            for client in clients:
                scene.equal(client.read_closed()[0], 1001, "closed") \
                    if n == 0 else client.read_closed()
            scene.equal(daemon.wait(), 0, "exit code")


def scene_filters():
    """Publishers go over one by one, and keep their order; none gets by."""
    def conf(word, *lines):
        return keep + handled.conf(
            f"plugin = {handled.PLUGINS}/filter.so", "filter = checked",
            f"option.word = {word}", *lines)
    keep = "[channel **]\nhistory_messages = 100000\n"
    with control.Daemon(keep) as daemon:
        def post(text):
            return daemon.http("POST", "/channels/checked/messages",
                               text.encode(), {"Content-Type": "text/plain"})
        scene.equal(post("bad").status, 201, "no filter")
        daemon.reload(conf("bad"))
        scene.equal((post("bad").status, post("good").status), (422, 201),
                    "a filter")
        slow = threading.Thread(target=lambda: post("sleep 400"))
        slow.start()
        scene.wait_until(lambda: handled.handler_metric(
            daemon, "busy") == 1, "it is asked")
        stop, counts = threading.Event(), []

        def publish(who):
            client = daemon.ws("checked", "?gap=silent")
            count = 0
            while not stop.is_set():
                client.send_text(f"{who} {count}")
                count += 1
                while client.read_text() != f"{who} {count - 1}":
                    pass
            counts.append(count)
            client.close()
        threads = [threading.Thread(target=publish, args=(n,))
                   for n in range(2)]
        for thread in threads:
            thread.start()
        for n in range(10):
            daemon.reload(conf("good" if n % 2 == 0 else "bad",
                               f"queue_messages = {n + 10}"))
            scene.equal((post("bad").status, post("good").status),
                        (201, 422) if n % 2 == 0 else (422, 201), "another")
        slow.join()
        stop.set()
        for thread in threads:
            thread.join()
        got = scene.json_of(daemon.http(
            "GET", "/channels/checked/messages?from=oldest&limit=9999"))
        for who in range(2):
            mine = [int(m["text"].split()[1]) for m in got["messages"]
                    if m["text"].startswith(f"{who} ")]
            scene.equal(mine, list(range(len(mine))), "each once, in order")
        ended(daemon, 10)
        daemon.reload(keep)
        scene.equal(post("bad").status, 201, "and no filter again")


FLOOD = """
import json, os, sys, time
n = 0
while not os.path.exists(sys.argv[1]):
    print(json.dumps({"publish": {"channel": "checked",
                                  "text": f"sleep 3 {n}"}}), flush=True)
    n += 1
    time.sleep(0.002)
for line in sys.stdin:
    print(json.dumps({"done": json.loads(line)["seq"]}), flush=True)
"""


KEEP = "[channel **]\nhistory_messages = 100000\n"


def texts(daemon, channel="checked"):
    got = daemon.http(
        "GET", f"/channels/{channel}/messages?from=oldest&limit=9999")
    if got.status == 404:  # nothing has come to its tape yet
        return []
    return [m["text"] for m in scene.json_of(got)["messages"]]


def scene_filters_and_who_never_rests():
    """A process that publishes faster than it is judged goes over, too."""
    flood, stop = scene.TMP / "flood.py", scene.TMP / "stop"
    flood.write_text(FLOOD)

    def conf(word):
        return (KEEP + handled.conf(
            f"plugin = {handled.PLUGINS}/filter.so", "filter = checked",
            f"option.word = {word}") + handled.conf(
                f"exec = {scene.PY} {flood} {stop}", "path = /flood",
                name="flood"))
    with control.Daemon(conf("one")) as daemon:
        for n, word in enumerate(("two", "three")):
            scene.wait_until(lambda: handled.handler_metric(
                daemon, "queued") > 9, "it is behind")
            daemon.reload(conf(word))
            ended(daemon, n + 1)
        scene.check(handled.handler_metric(daemon, "queued") > 9,
                    "and it is behind still")
        stop.touch()
        scene.wait_until(lambda: handled.handler_metric(
            daemon, "queued") == 0, "all is judged", seconds=60)
        got = [int(text.split()[2]) for text in texts(daemon)]
        scene.equal(got, list(range(len(got))), "each once, in order")
        scene.equal(daemon.log_count("in_flight_bytes_max"), 0, "none refused")


def other_filters():
    def conf(channel, name):
        return handled.conf(f"plugin = {handled.PLUGINS}/filter.so",
                            f"filter = {channel}", "option.word = bad",
                            name=name)
    yield "removed", "", 0
    yield "renamed", conf("checked", "its"), 1
    yield "for other channels", conf("others", "it"), 0
    yield "behind another one", conf("checked", "its") + \
        conf("checked", "it"), 1


def scene_filters_and_who_does_not_wait():
    """What a process publishes next waits for what the former one has."""
    program = KEEP + handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/told.py /dev/null",
        "path = /other", "backoff_min = 1ms", name="other")
    first = handled.conf(f"plugin = {handled.PLUGINS}/filter.so",
                         "filter = checked", "option.word = bad")
    for what, second, asked in other_filters():
        with control.Daemon(program + first) as daemon:
            app = handled.app(daemon, "/other")

            def publish(text, channel="checked"):
                app.send_text("do " + json.dumps({"publish": {
                    "channel": channel, "text": text}}))
            publish("sleep 700")
            handled.wait_metric(daemon, "busy", 1)
            daemon.reload(program + second)
            for n in range(3):
                publish(f"after {n}")
            publish("at once", "unfiltered")
            if asked == 0:
                scene.wait_until(lambda: daemon.http(
                    "GET", "/channels/unfiltered/messages").status == 200,
                    "what nobody filters does not wait")
                scene.equal(texts(daemon), [], "the others do")
            app.send_text("die")
            scene.wait_until(lambda: len(texts(daemon)) == 4,
                             f"{what}: all, though it has died")
            scene.equal(texts(daemon), ["sleep 700"] + [
                f"after {n}" for n in range(3)], "in order")
            if asked:
                scene.equal(handled.handler_metric(
                    daemon, "publishes_total", "its"), 3, "by the new one")
            publish("bad")
            publish("end")
            scene.wait_until(lambda: len(texts(daemon)) >= 5, "goes on")
            scene.wait_until(lambda: texts(daemon)[-1] == "end",
                             "with who is asked now")
            scene.equal("bad" in texts(daemon), not asked, "bad")
            app.close()


SAYS_AND_DIES = """
import json, os, sys, time
if os.path.exists(sys.argv[1]):
    open(f"{sys.argv[1]}.{os.getpid()}", "w").close()
    sys.stdin.read()
    sys.exit()
for n in range(30):
    print(json.dumps({"publish": {
        "channel": f"c.{n % 2}", "text": f"sleep 1 {os.getpid()} {n}"}}),
        flush=True)
    time.sleep(0.0005)
"""


def scene_filters_change_places():
    """The sections are the same, but the first that matches is another."""
    first, second = (handled.conf(
        f"plugin = {handled.PLUGINS}/filter.so", f"filter = {channel}",
        f"option.word = {word}", name=word) for channel, word in (
            ("c.*", "red"), ("c.1", "blue")))
    with control.Daemon(first + second) as daemon:
        def refused(text):
            return daemon.http("POST", "/channels/c.1/messages", text.encode(),
                               {"Content-Type": "text/plain"}).status == 422
        scene.equal([refused("red"), refused("blue")], [True, False], "first")
        daemon.reload(second + first)
        scene.equal([refused("red"), refused("blue")], [False, True], "second")


def scene_filters_one_after_the_other():
    """Publishers die, filters come, go and change places: the order of each
    publisher stays as it is, and nothing is lost."""
    program, stop = scene.TMP / "says.py", scene.TMP / "no_more"
    program.write_text(SAYS_AND_DIES)
    says = KEEP + handled.conf(
        f"exec = {scene.PY} {program} {stop}", "path = /says", "workers = 3",
        "backoff_min = 1ms", "backoff_max = 2ms", name="says")

    def conf(channel, name):
        return handled.conf(f"plugin = {handled.PLUGINS}/filter.so",
                            f"filter = {channel}", name=name)
    confs = [says, says + conf("c.*", "it"),
             says + conf("c.0", "its") + conf("c.*", "it"),
             says + conf("c.*", "it") + conf("c.0", "its"),
             says + conf("c.1", "its"), says + conf("c.*", "its")]
    with control.Daemon(confs[1]) as daemon:
        for n in range(60):
            daemon.reload(confs[n * 7 % 11 % len(confs)])
            scene.wait_until(lambda: handled.handler_metric(
                daemon, "restarts_total", "says") >= n // 4, "they die")
        stop.touch()
        daemon.reload(confs[0])
        scene.wait_until(lambda: sum((scene.TMP / f"no_more.{pid}").exists()
                                     for pid in handled.children(daemon)) == 3,
                         "they say no more")
        daemon.wait_metric("handlers_former", 0)
        order = {}
        for channel in ("c.0", "c.1"):
            for text in texts(daemon, channel):
                order.setdefault((channel, text.split()[2]), []).append(
                    int(text.split()[3]))
        scene.check(len(order) > 6,
                    f"{len(order) // 2} processes")
        for (channel, pid), said in order.items():
            if said != list(range(int(channel[2:]), 30, 2)):
                raise scene.Failure(f"{channel} {pid}: {said}")
        scene.check(True, "all of each, in order")


def scene_limits_of_plugins():
    """What it may publish and ask for changes, though it is the same."""
    conf = answer("one") + "[channel **]\nhistory_messages = 100\n"
    with control.Daemon(conf) as daemon:
        for n in range(20):
            daemon.publish("seen", "x")
        client = handled.app(daemon)
        scene.equal(ask(client, "limits"), "20 ok", "as it was")
        for _ in range(3):
            daemon.reload(conf + "[limits]\nhistory_limit_max = 7\n"
                          "message_bytes_max = 99\n")
            scene.equal(ask(client, "limits"), "7 EMSGSIZE", "less")
        daemon.reload(conf)
        scene.equal(ask(client, "limits"), "20 ok", "and back")
        client.close()


def limited(daemon):
    return [daemon.metric(name) for name in (
        "handlers_former", "handlers_former_refused_total",
        "plugin_copies", "plugin_copies_refused_total")]


def scene_as_often_as_it_may():
    """Each reload has somebody who stays: at some time it is enough."""
    with control.Daemon(answer("0")) as daemon:
        clients, done = [], None
        for n in range(1, 400):
            clients.append(handled.app(daemon))
            daemon.write(answer(str(n)))
            done = daemon.earshot("reload", code=None)
            if done.returncode != 0:
                break
        scene.equal(n, 257, "reloads, and the next one is refused")
        scene.check("still have connections" in done.stderr,
                    done.stderr.splitlines()[0][-70:])
        scene.equal(ask(clients[-1]), "256 1", "it serves on")
        scene.equal(limited(daemon), [256, 1, 256, 0], "counted")
        for client in clients:
            client.close()
        daemon.wait_metric('handler_connections{handler="it"}', 0)
        scene.wait_until(lambda: handled.handler_metric(
            daemon, "former") == 0, "all former ones end")
        done = daemon.earshot("reload", code=1)
        scene.check("loaded too often" in done.stderr,
                    done.stderr.splitlines()[0][-70:])
        scene.equal(limited(daemon)[1:], [1, 256, 1], "counted")
        daemon.reload(answer("256"))
        scene.equal(ask(handled.app(daemon)), "256 2", "all as it was")


scene.play(globals())
