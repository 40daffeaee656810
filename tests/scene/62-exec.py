#!/usr/bin/python3
# sanitizer: yes
"""Exec handlers: the examples in three languages, every command, every way
in which a process can fail, and nobody else disturbed.
"""
import base64
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene

FAST = "backoff_min = 1ms", "backoff_max = 20ms"


class Told:
    """A daemon whose handler is told.py, and what that was told."""

    def __init__(self, *lines, more=""):
        self.file = tempfile.NamedTemporaryFile(dir=scene.TMP)
        self.conf = handled.conf(
            f"exec = {scene.PY} {handled.EXEC}/told.py {self.file.name}",
            "path = /app", *FAST, *lines, more=more)

    def events(self):
        with open(self.file.name, encoding="utf-8") as told:
            return [json.loads(line) for line in told
                    if line.endswith("\n")]

    def wait(self, predicate, what):
        return scene.wait_until(
            lambda: next((e for e in self.events() if predicate(e)), None),
            what)


def scene_echo_in_three_languages():
    for language in handled.PROGRAMS:
        conf = handled.program(language, "path = /app", "workers = 2")
        with scene.Daemon(conf) as daemon:
            clients = [handled.app(daemon) for _ in range(4)]
            texts = [f'{n} "quoted" \\ \u00e4\u20ac\U0001f600 \t'
                     for n in range(50)]
            for text in texts:
                for client in clients:
                    client.send_text(text)
            for client in clients:
                if [client.read_text() for _ in texts] != texts:
                    raise scene.Failure(f"{language}: not an echo")
                client.send_close()
                client.read_closed()
        scene.check(True, f"{language}: 4 connections, 50 messages each")


def scene_binary_messages():
    with scene.Daemon(handled.program("python")) as daemon:
        client = handled.app(daemon)
        for size in (0, 1, 2, 3, 1000, 300000):
            data = os.urandom(size)
            client.send_frame(scene.BINARY, data)
            if client.read_message() != (scene.BINARY, data):
                raise scene.Failure(f"echo of {size} bytes")
        scene.check(True, "0 to 300000 bytes as base64 and back")
        client.send_close()
        client.read_closed()


def scene_what_it_is_told():
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon, "/app?a=1&b=%20", headers={
            "X-Test": "h\u00e4", "Cookie": "x=y"})
        client.send_text("t")
        client.send_frame(scene.BINARY, b"\xff")
        client.send_close(4000, "why")
        client.read_closed()
        told.wait(lambda e: e["event"] == "close", "close")
    opened, text, binary, closed = told.events()
    name = opened["conn"]
    scene.equal([opened["event"], opened["path"], opened["query"],
                 opened["headers"]["cookie"], opened["headers"]["x-test"]],
                ["open", "/app", "a=1&b= ", "x=y", "h\u00e4"], "open")
    scene.check(opened["peer"].startswith("127.0.0.1:"), "the peer")
    scene.equal([text, binary], [
        {"event": "message", "seq": opened["seq"] + 1, "conn": name,
         "text": "t"},
        {"event": "message", "seq": opened["seq"] + 2, "conn": name,
         "base64": base64.b64encode(b"\xff").decode()}], "messages")
    scene.equal([closed["event"], closed["code"], closed["reason"]],
                ["close", 4000, "why"], "close")


def ask(client, command):
    client.send_text("do " + json.dumps(command))


def scene_every_command():
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon)
        ears = daemon.ws("room")

        def reply(number):
            return told.wait(lambda e: e.get("reply") == number,
                             f"reply {number}")

        for kind, value in (("text", "hi"), ("json", {"a": [1, 1e30]}),
                            ("base64", "AAH/")):
            ask(client, {"send": {"conn": "@", kind: value}})
            ask(client, {"publish": {"channel": "room", kind: value}})
        got = [client.read_message() for _ in range(3)]
        scene.equal(got, [(scene.TEXT, b"hi"),
                          (scene.TEXT, b'{"a": [1, 1e+30]}'),
                          (scene.BINARY, b"\0\1\xff")], "send")
        scene.equal([ears.read_message() for _ in range(3)], got, "publish")
        ask(client, {"id": 1, "publish": {"channel": "room", "text": "x"}})
        scene.check(reply(1)["ok"]["position"].endswith(":4"), "its position")
        ask(client, {"id": 2, "subscribe": {
            "conn": "@", "channel": "room", "from": "-2"}})
        scene.equal(reply(2)["ok"]["recovered"], True, "subscribe")
        scene.equal([client.read_message()[1] for _ in range(2)],
                    [b"\0\1\xff", b"x"], "it hears the last two")
        ask(client, {"id": 3, "subscribe": {"conn": "@", "channel": "room"}})
        scene.equal(reply(3)["error"]["code"], "EALREADY", "a second time")
        ask(client, {"id": 4, "unsubscribe": {
            "conn": "@", "channel": "room"}})
        scene.equal(reply(4)["ok"], {}, "unsubscribe")
        daemon.publish("room", "not heard")
        ask(client, {"id": 5, "unsubscribe": {
            "conn": "@", "channel": "room"}})
        scene.equal(reply(5)["error"]["code"], "ENOENT", "a second time")
        ask(client, {"id": 6, "refuse": {"conn": "@"}})
        scene.equal(reply(6)["error"]["code"], "EPERM", "refused too late")
        ask(client, {"close": {"conn": "@", "code": 4100, "reason": "bye"}})
        ask(client, {"close": {"conn": "@", "code": 4200}})
        scene.equal(client.read_closed(), (4100, "bye"), "close, once")
        refused = handled.app(daemon, "/app?refuse")
        scene.equal(refused.read_closed(), (4401, "not you"), "refuse")
        ears.close()


def scene_what_a_refused_one_sent_meanwhile():
    told, go = Told(), scene.TMP / "go-refuse"
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon, f"/app?refuse={go}")
        for n in range(3):
            client.send_text(str(n))
        handled.wait_metric(daemon, "queued", 4)
        go.touch()
        scene.equal(client.read_closed(), (4401, "not you"), "refuse")
        told.wait(lambda e: e["event"] == "close", "its close")
        scene.equal([e["event"] for e in told.events()], ["open", "close"],
                    "is not given to the handler")


BAD = (
    ("nonsense", "not a JSON object"), ('{"done":', "not JSON"),
    ("[]", "not a JSON object"), ("{}", "no command in it"),
    ('{"fly":{}}', "unknown command: fly"),
    ('{"send":1}', "expected an object: send"),
    ('{"send":{"conn":"@"}}', "missing field: text, json or base64"),
    ('{"send":{"text":"x"}}', "missing field: conn"),
    ('{"send":{"conn":"x.y","text":"x"}}', "bad value: conn"),
    ('{"send":{"conn":"@","text":1}}', "bad value: text"),
    ('{"send":{"conn":"@","base64":"="}}', "bad value: base64"),
    ('{"send":{"conn":"@","text":"x","json":1}}', "bad value: json"),
    ('{"send":{"conn":"@","text":"x","fast":1}}', "unknown field: fast"),
    ('{"publish":{"channel":"no/name","text":"x"}}', "bad value: channel"),
    ('{"publish":{"text":"x"}}', "missing field: channel"),
    ('{"close":{"conn":"@","code":1006}}', "bad value: code"),
    ('{"id":-1,"done":1}', "bad value: id"),
    ('{"done":1,"done":1}', "two commands in one line"),
    ('{"done":99999}', "done: no such event"),
    ('{"send":{"conn":"0.77777","text":"x"}}',
     "a command for a connection that has gone"),
    ('{"send":{"conn":"99999999.0","text":"x"}}',
     "a command for a connection that has gone"),
)


def scene_lines_that_are_no_commands():
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        other = handled.app(daemon)
        count = 0
        for line, why in BAD:
            client = handled.app(daemon)
            client.send_text(("do " if "@" in line else "raw ") + line)
            count += 1
            handled.wait_metric(daemon, "bad_lines_total", count)
            if "@" in line:
                told.wait(lambda e, w=why: e["event"] == "error" and
                          e["message"] == w, f"on_error: {why}")
            client.send_close()
            client.read_closed()
        scene.check(True, f"{count} bad lines counted, told to whom they name")
        for why in ("not a JSON object: nonsense", "unknown command: fly"):
            daemon.wait_log(why)
        other.send_text('do {"send":{"conn":"@","text":"as ever"}}')
        scene.equal(other.read_text(), "as ever", "another connection")
        scene.equal(len(handled.children(daemon)), 1, "the process lives")
        scene.equal(handled.handler_metric(daemon, "restarts_total"), 0,
                    "restarts")
        other.close()


def scene_whatever_has_an_id_has_a_reply():
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon)
        wanted = {}
        for number, (line, why) in enumerate((
                ('{"id":%d,"fly":{}}', "unknown command: fly"),
                ('{"send":{"conn":"@","text":1},"id":%d}', "bad value: text"),
                ('{"id":%d}', "no command in it"),
                ('{"id":%d,"done":99999}', None))):
            client.send_text(("do " if "@" in line else "raw ") +
                             line % number)
            wanted[number] = ("ENOENT", "No such file or directory") \
                if why is None else ("EBADMSG", why)
        client.send_text('raw {"id":-7,"done":99999}')
        for number, (code, text) in wanted.items():
            error = told.wait(lambda e, n=number: e.get("reply") == n,
                              f"reply {number}")["error"]
            scene.equal((error["code"], error["message"]), (code, text),
                        text)
        client.close()


def scene_a_long_line_is_cut_in_the_log():
    told = Told("line_bytes_max = 2K")
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon)
        client.send_text("raw " + "z" * 1000)
        shown = daemon.wait_log(r"not a JSON object: (z+) ")[1]
        scene.equal(len(shown), 200, "characters shown")
        client.send_text("raw " + "z" * 100000)
        daemon.wait_log("a line over line_bytes_max")
        client.send_text('do {"send":{"conn":"@","text":"alive"}}')
        scene.equal(client.read_text(), "alive", "and goes on")
        client.close()


def scene_stderr_goes_to_the_log():
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon)
        client.send_text("stderr a word to the admin")
        daemon.wait_log("a word to the admin handler=it$")
        client.close()


def scene_a_connection_of_another_handler():
    told, other = Told(), Told()
    conf = told.conf + other.conf.replace("[handler it]", "[handler other]") \
        .replace("path = /app", "path = /other")
    with scene.Daemon(conf) as daemon:
        client, its = handled.app(daemon), handled.app(daemon, "/other")
        name = other.wait(lambda e: e["event"] == "open", "its open")["conn"]
        for number, command in enumerate((
                {"send": {"conn": name, "text": "x"}},
                {"close": {"conn": name}},
                {"subscribe": {"conn": name, "channel": "c"}})):
            client.send_text("raw " + json.dumps({"id": number, **command}))
            scene.equal(told.wait(lambda e, n=number: e.get("reply") == n,
                                  "a reply")["error"]["code"], "ENOTCONN",
                        f"{list(command)[0]}: not its own")
        its.send_text('do {"send":{"conn":"@","text":"as ever"}}')
        scene.equal(its.read_text(), "as ever", "which feels nothing of it")
        client.close()
        its.close()


def scene_one_that_says_too_much():
    """The log is spared, the counter is not."""
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon)
        for n in range(50):
            client.send_text(f"stderr word {n}")
            client.send_text(f"raw nonsense {n}")
        handled.wait_metric(daemon, "bad_lines_total", 50)
        told.wait(lambda e: e.get("text") == "raw nonsense 49", "the last")
        daemon.wait_log("INFO word 19 handler=it$")
        scene.equal([daemon.log_count(p) for p in (r"INFO word", "nonsense")],
                    [20, 20], "lines in the log, of 50 each")
        client.close()


def scene_a_process_dies():
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        client, other = handled.app(daemon), handled.app(daemon)
        client.send_text("first")
        client.send_text("die")
        client.send_text("last")
        error = told.wait(lambda e: "lost" in e, "on_error with what was lost")
        names = [e["conn"] for e in told.events() if e["event"] == "open"]
        scene.equal((error["conn"], error["path"]), (names[0], "/app"),
                    "of the connection, with what its open said")
        told.wait(lambda e: e["event"] == "error" and e["conn"] == names[1],
                  "on_error of the other")
        told.wait(lambda e: e.get("text") == "last", "the next event")
        texts = [e["text"] for e in told.events() if "text" in e]
        scene.equal(texts, ["first", "die", "last"], "each event once")
        lost = [e for e in told.events() if e.get("text") == "die"][0]
        scene.equal(error["lost"], lost["seq"], "the one in flight")
        for each in (client, other):
            ask(each, {"send": {"conn": "@", "text": "alive"}})
            scene.equal(each.read_text(), "alive", "the connection lives")
            each.close()
        scene.equal([handled.handler_metric(daemon, "restarts_total"),
                     handled.handler_metric(daemon, "lost_total")], [1, 1],
                    "restarts, lost")


def scene_it_dies_over_an_open():
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon, "/app?die-once")
        ask(client, {"send": {"conn": "@", "text": "accepted"}})
        scene.equal(client.read_text(), "accepted", "asked again")
        client.close()
        client = handled.app(daemon, "/app?die")
        scene.equal(client.read_closed(), (1011, "its handler failed"),
                    "each time: closed, not let in")


def scene_it_dies_over_a_close():
    told = Told()
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon)
        client.send_text("mortal")
        client.send_close(4000, "enough")
        client.read_closed()
        error = told.wait(lambda e: "lost" in e, "on_error, in its successor")
        handled.wait_metric(daemon, "events_total", 4)
        events = told.events()
        scene.equal([e["event"] for e in events],
                    ["open", "message", "close", "error"], "and no more")
        scene.equal((error["lost"], error["code"], error["path"]),
                    (events[2]["seq"], 4000, "/app"), "which says so")
        scene.equal(handled.handler_metric(daemon, "queued"), 0, "queued")


def scene_it_takes_too_long():
    told = Told("callback_timeout = 600ms")
    with scene.Daemon(told.conf) as daemon:
        client = handled.app(daemon)
        began = time.monotonic()
        client.send_text("sleep 60")
        told.wait(lambda e: "lost" in e, "killed, and told")
        scene.in_time(time.monotonic() - began, 3, "since it was asked")
        scene.equal(handled.handler_metric(daemon, "late_total"), 1, "late")
        for n in range(5):
            client.send_text("sleep 0.15")
        ask(client, {"send": {"conn": "@", "text": "done"}})
        scene.equal(client.read_text(), "done",
                    "five short ones are not one long one")
        client.close()


def scene_a_slow_process_delays_nobody_else():
    """Its sender is held back by TCP, nothing is dropped, order is kept."""
    told = Told("queue_messages = 4", more=handled.program(
        "python", "path = /fast").replace("[handler it]", "[handler fast]"))
    count = 40
    with scene.Daemon(told.conf) as daemon:
        slow, fast = handled.app(daemon), handled.app(daemon, "/fast")
        fast.send_text("it runs")
        fast.read_text()
        padding = "x" * 600
        go = scene.TMP / "go"
        slow.send_text(f"wait {go}")
        for n in range(count):
            slow.send_text(f"n {n} {padding}")
        handled.wait_metric(daemon, "events_total", 1)
        for _ in range(100):
            fast.send_text("hi")
            fast.read_text()
        handled.wait_metric(daemon, "pauses_total", 1)
        scene.equal(handled.handler_metric(daemon, "events_total"), 1,
                    "the other handler answers meanwhile")
        go.touch()
        told.wait(lambda e: e.get("text", "").startswith(f"n {count - 1} "),
                  "the last one")
        got = [int(e["text"].split()[1]) for e in told.events()
               if e.get("text", "").startswith("n ")]
        scene.equal(got, list(range(count)), "all of them, in order, once")
        slow.send_frame(scene.PING, b"are you there")
        scene.equal(slow.read_frame().payload, b"are you there",
                    "a ping is answered")
        slow.close()
        fast.close()


def scene_what_it_has_started_ends_with_it():
    conf = handled.conf("exec = /bin/sh -c 'sleep 1000 & echo child $! >&2; "
                        "kill -9 $$'", "path = /app", "backoff_min = 1h",
                        "backoff_max = 1h")
    with scene.Daemon(conf) as daemon:
        child = int(daemon.wait_log(r"child (\d+)")[1])
        daemon.wait_log("was ended by SIGKILL")
        scene.wait_until(lambda: not is_there(child), "it has gone")
        scene.check(True, "its child has gone")


def is_there(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def scene_it_does_not_read_its_replies():
    file = scene.TMP / "unread.py"
    file.write_text(
        "import sys, time\nfor n in range(60000):\n"
        " print('{\"id\":1,\"publish\":{\"channel\":\"c\",\"text\":\"x\"}}')\n"
        "sys.stdout.flush()\ntime.sleep(60)\n")
    conf = handled.conf(f"exec = {scene.PY} {file}", "path = /app",
                        "backoff_min = 1h", "backoff_max = 1h")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("process \\d+ does not read its replies: killed")
        daemon.wait_log("was ended by SIGKILL")
        scene.check(handled.handler_metric(daemon, "bad_lines_total") >= 1,
                    "counted")


def scene_it_closes_its_ends():
    for word in ("mute", "deaf", "end half a li"):
        told = Told()
        with scene.Daemon(told.conf) as daemon:
            client = handled.app(daemon)
            client.send_text(word)
            if word == "deaf":
                daemon.wait_log("deaf now")
                while handled.handler_metric(daemon, "lost_total") == 0:
                    handled.app(daemon).close()  # noticed with the next
            told.wait(lambda e: "lost" in e, f"{word}: another one")
            if word != "deaf":
                scene.check(handled.handler_metric(
                    daemon, "bad_lines_total") >= 1, "counted")
            if word.startswith("end"):
                daemon.wait_log("a line without an end: half a li")
            ask(client, {"send": {"conn": "@", "text": "alive"}})
            scene.equal(client.read_text(), "alive", "the connection lives")
            client.close()


PID = """\
import json, os, sys
for line in sys.stdin:
    event = json.loads(line)
    if event["event"] == "message":
        print(json.dumps({"send": {"conn": event["conn"],
                                   "text": str(os.getpid())}}))
    print(json.dumps({"done": event["seq"]}), flush=True)
"""


def scene_a_connection_stays_with_its_process():
    """The one that had the fewest when it came."""
    file = scene.TMP / "pid.py"
    file.write_text(PID)
    conf = handled.conf(f"exec = {scene.PY} {file}", "path = /app",
                        "workers = 3")

    def pid_of(client):
        client.send_text("who?")
        return client.read_text()
    with scene.Daemon(conf) as daemon:
        clients = [handled.app(daemon) for _ in range(9)]
        pids = [pid_of(client) for client in clients]
        scene.equal(sorted(pids.count(pid) for pid in set(pids)), [3, 3, 3],
                    "9 connections, 3 processes")
        scene.equal([[pid_of(client) for client in clients]
                     for _ in range(5)], [pids] * 5, "each stays with its own")
        gone = pids[4]
        for client, pid in zip(clients, pids):
            if pid == gone:
                client.close()
        scene.wait_until(lambda: handled.handler_metric(
            daemon, "connections") == 6, "three have gone")
        late = handled.app(daemon)
        scene.equal(pid_of(late), gone, "the next goes where the fewest are")


def scene_bound_by_channel():
    told = Told("channel = chat.*")
    with scene.Daemon(told.conf) as daemon:
        client = daemon.ws("chat.one")
        daemon.publish("chat.one", "heard")
        scene.equal(client.read_text(), "heard", "it hears its channel")
        client.send_text("to the handler")
        told.wait(lambda e: e.get("text") == "to the handler", "a message")
        scene.equal([e.get("channel") for e in told.events()],
                    ["chat.one", None], "its open names the channel")
        daemon.publish("chat.one", "again")
        scene.equal(client.read_text(), "again",
                    "what went to the handler was not published")
        client.close()


def scene_a_program_that_cannot_run():
    if scene.MODE == "valgrind":
        raise scene.Skip("a child that cannot exec is a leak")
    conf = handled.conf("exec = /no/such/program", "path = /app",
                        "backoff_min = 1ms", "backoff_max = 5ms",
                        more="[drain]\ntimeout = 500ms\n")
    with scene.Daemon(conf) as daemon:
        daemon.wait_log("process cannot be started: No such file", count=3)
        client = handled.app(daemon)
        scene.equal(daemon.http("GET", "/healthz").status, 200, "healthz")
        client.close()
        scene.wait_until(lambda: daemon.metric(
            'connections{state="websocket"}') == 0, "it has gone")
        daemon.signal()
        scene.equal(daemon.wait(), 3, "nobody could be told of its close")


def scene_consumed_by_processes():
    told = Told("consume = jobs.*")
    with scene.Daemon(told.conf) as daemon:
        daemon.publish("jobs.a", "one")
        daemon.publish("jobs.a", '{"n":2}', "application/json")
        daemon.publish("jobs.a", "die")
        daemon.publish("jobs.a", "four")
        told.wait(lambda e: e.get("text") == "four", "the fourth")
        got = [e for e in told.events() if e["event"] == "message"]
        scene.equal([e.get("text", e.get("json")) for e in got],
                    ["one", {"n": 2}, "die", "four"], "each once, in order")
        scene.equal([e["position"].split(":")[1] for e in got],
                    ["1", "2", "3", "4"], "with its position")
        scene.check(all(e["channel"] == "jobs.a" and "conn" not in e
                        for e in got), "and its channel")
        scene.check(any("lost" in e and e["channel"] == "jobs.a"
                        for e in told.events()), "what was lost is told")


scene.play(globals())
