#!/usr/bin/python3
# sanitizer: yes
# limit: 90
"""Filters: a handler's say before a message is on its tape, for every way of
publishing; and what becomes of messages when the filter does not answer.
"""
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import handled
import scene

V1 = {"Sec-WebSocket-Protocol": "earshot.v1"}
ROUNDS = 2000 // scene.SLOWNESS


def plugin(*lines, more=""):
    return handled.plugin("filter", "filter = checked", "option.word = bad",
                          *lines, more=more)


def program(*lines, more=""):
    return handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/filter.py", "filter = checked",
        "backoff_min = 1ms", "backoff_max = 20ms", *lines, more=more)


KINDS = {"plugin": plugin, "exec": program}


def post(daemon, text, channel="checked", arguments=""):
    answer = daemon.http("POST", f"/channels/{channel}/messages{arguments}",
                         text.encode(), {"Content-Type": "text/plain"})
    return answer.status, scene.json_of(answer)


def metric(daemon, name, handler="it"):
    return handled.handler_metric(daemon, name, handler)


def v1(daemon):
    return scene.WebSocket(daemon.port, "/ws", headers=V1)


def scene_accepted_changed_refused():
    for kind, conf in KINDS.items():
        with scene.Daemon(conf()) as daemon:
            ears = daemon.ws("checked")
            status, answer = post(daemon, "fine")
            scene.equal((status, answer["accepted"]), (201, 1), kind)
            scene.check(answer["position"].endswith(":1"), "its position")
            scene.equal(post(daemon, "loud words")[0], 201, "changed")
            status, answer = post(daemon, "a bad one")
            scene.equal((status, answer["accepted"],
                         answer["error"]["code"]), (422, 0, "refused"),
                        "refused")
            scene.check("word" in answer["error"]["message"],
                        answer["error"]["message"])
            scene.equal(post(daemon, "a bad one", "other")[0], 201,
                        "another channel")
            scene.equal(post(daemon, "last")[0], 201, "the next one")
            scene.equal([ears.read_text() for _ in range(3)],
                        ["fine", "WORDS", "last"], "what is heard")
            scene.equal([metric(daemon, f"publishes_{what}total") for what in
                         ("", "changed_", "refused_", "failed_")],
                        [4, 1, 1, 0], "asked, changed, refused, failed")
            ears.close()


def scene_a_plugin_that_only_returns():
    with scene.Daemon(plugin()) as daemon:
        status, answer = post(daemon, "errno")
        scene.equal((status, answer["error"]["code"]), (422, "refused"),
                    "a negative result")
        scene.equal(post(daemon, "wrong")[0], 201,
                    "a change that is no message changes nothing")
        scene.equal(daemon.http(
            "GET", "/channels/checked/messages").body.count(b'"wrong"'), 1,
            "as it was")


def scene_raw_and_v1_publishers():
    for kind, conf in KINDS.items():
        with scene.Daemon(conf()) as daemon:
            ears = daemon.ws("checked")
            client = v1(daemon)
            for n, text in enumerate(("one", "bad", "loud two", "three")):
                client.send_text(json.dumps({"id": n, "publish": {
                    "channel": "checked", "text": text}}))
            got = {}
            for _ in range(4):
                answer = json.loads(client.read_text())
                got[answer["id"]] = answer
            scene.equal([n for n in range(4) if "ok" in got[n]], [0, 2, 3],
                        f"{kind}: earshot.v1")
            scene.equal(got[1]["error"]["code"], "refused", "refused")
            raw = daemon.ws("checked")
            raw.send_text("four")
            scene.equal(raw.read_text(), "four", "a raw publisher")
            raw.send_text("bad")
            code, reason = raw.read_closed()
            scene.equal(code, 1008, f"is closed: {reason}")
            scene.check("word" in reason, "with the filter's words")
            scene.equal([ears.read_text() for _ in range(4)],
                        ["one", "TWO", "three", "four"], "heard")
            ears.close()
            client.close()


def scene_lines_end_with_the_first_that_is_refused():
    for kind, conf in KINDS.items():
        with scene.Daemon(conf()) as daemon:
            lines = [f"m{n}" for n in range(ROUNDS)]
            status, answer = post(daemon, "\n".join(lines),
                                  arguments="?split=lines")
            scene.equal((status, answer["accepted"]), (201, ROUNDS),
                        f"{kind}: {ROUNDS} lines")
            ears = daemon.ws("checked", "?from=oldest")
            for n in range(ROUNDS - 1000 if ROUNDS > 1000 else 0, ROUNDS):
                if ears.read_text() != f"m{n}":
                    raise scene.Failure(f"line {n}")
            asked = metric(daemon, "events_total")
            lines = [f"n{n}" for n in range(50)]
            lines[30] = "bad"
            status, answer = post(daemon, "\n".join(lines),
                                  arguments="?split=lines")
            scene.equal((status, answer["accepted"], answer["error"]["line"]),
                        (422, 30, 31), "those before it stay published")
            scene.equal([ears.read_text() for _ in range(30)], lines[:30],
                        "and are heard")
            post(daemon, "after")
            scene.equal(ears.read_text(), "after", "the next request")
            scene.check(metric(daemon, "events_total") - asked <= 51,
                        "counted")
            ears.close()


def scene_lines_are_judged_while_more_of_them_come():
    with scene.Daemon(plugin("queue_messages = 20000")) as daemon:
        for bad in range(100, 4000, 390):
            lines = ["fine"] * 4000
            lines[bad] = "bad"
            status, answer = post(daemon, "\n".join(lines),
                                  arguments="?split=lines")
            scene.equal((status, answer["accepted"],
                         answer["error"]["line"]), (422, bad, bad + 1),
                        f"line {bad + 1}")


def scene_feeds_and_handlers():
    for kind, conf in KINDS.items():
        feed = ("[command feed]\nexec = /bin/sh -c \"echo one; echo bad; "
                "echo loud two; exec sleep 60\"\nchannel = checked\n")
        other = handled.conf(
            f"exec = {scene.PY} {handled.EXEC}/told.py /dev/null",
            "path = /other", name="other")
        with scene.Daemon(conf(more=feed + other)) as daemon:
            ears = daemon.ws("checked", "?from=oldest&gap=silent")
            scene.equal([ears.read_text() for _ in range(2)], ["one", "TWO"],
                        f"{kind}: a feed's lines")
            daemon.wait_log("the channel's filter refuses feed=feed")
            app = handled.app(daemon, "/other")
            for text in ("loud three", "bad", "four"):
                app.send_text("do " + json.dumps({"publish": {
                    "channel": "checked", "text": text}}))
            scene.equal([ears.read_text() for _ in range(2)],
                        ["THREE", "four"], "what a process publishes")
            app.close()
            ears.close()


def scene_a_process_hears_what_became_of_it():
    file = scene.TMP / "told"
    other = handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/told.py {file}", "path = /other",
        name="other")
    with scene.Daemon(plugin(more=other)) as daemon:
        app = handled.app(daemon, "/other")
        for n, text in enumerate(("fine", "bad")):
            app.send_text("do " + json.dumps({"id": n, "publish": {
                "channel": "checked", "text": text}}))

        def replies():
            lines = file.read_text().splitlines() if file.exists() else []
            return {e["reply"]: e for e in map(json.loads, lines)
                    if "reply" in e}
        scene.wait_until(lambda: len(replies()) == 2, "both replies")
        got = replies()
        scene.check(got[0]["ok"]["position"].endswith(":1"), "a position")
        scene.equal(got[1]["error"], {
            "code": "EACCES", "message": "that word is not for here"},
            "or why not")
        app.close()


def scene_its_own_publishes_are_not_asked_about():
    """Neither a loop nor a wait for itself; another filter is asked."""
    second = handled.plugin("filter", "filter = second").replace(
        "[handler it]", "[handler second]")
    with scene.Daemon(plugin(more=second)) as daemon:
        ears = daemon.ws("checked")
        scene.equal(post(daemon, "copy bad")[0], 422, "its word is refused")
        scene.equal(post(daemon, "copy good")[0], 201, "it publishes, waits")
        scene.equal([ears.read_text() for _ in range(2)],
                    ["good", "copy good"], "in that order")
        scene.equal(metric(daemon, "publishes_total"), 2, "asked about")
        scene.equal(post(daemon, "to second loud words")[0], 201,
                    "to another filter's channel")
        daemon.wait_log("published: 0", count=2)
        scene.equal(metric(daemon, "publishes_changed_total", "second"), 1,
                    "which is asked")
        ears.close()


def scene_one_worker_that_waits_for_its_publish():
    conf = plugin("path = /app", more="[limits]\nwork_threads = 1\n")
    conf = conf.replace("filter = checked\n", "") + handled.plugin(
        "filter", "filter = checked", "option.word = bad").replace(
            "[handler it]", "[handler filter]")
    with scene.Daemon(conf) as daemon:
        clients = [handled.app(daemon) for _ in range(4)]
        for _ in range(50):
            for client in clients:
                client.send_text("x")
            for client in clients:
                scene_answer = client.read_text()
                if scene_answer != "0":
                    raise scene.Failure(f"published: {scene_answer}")
        clients[0].send_text("bad")
        scene.equal(clients[0].read_text(), "-13", "200 published, one not")
        for client in clients:
            client.close()


def scene_no_verdict_in_time():
    """Never let through, neither then nor later."""
    for kind, conf in KINDS.items():
        conf = conf("callback_timeout = 400ms", "workers = 1" if
                    kind == "exec" else "window = 1")
        with scene.Daemon(conf) as daemon:
            ears = daemon.ws("checked")
            post(daemon, "first")
            word = "sleep 2" if kind == "exec" else "sleep 2000"
            began = time.monotonic()
            status, answer = post(daemon, word)
            took = time.monotonic() - began
            scene.equal((status, answer["error"]["code"]),
                        (503, "filter_failed"), f"{kind}: after {took:.2f} s")
            scene.check(0.3 < took < 1.5 * scene.SLOWNESS, "in time")
            scene.check(metric(daemon, "publishes_failed_total") >= 1,
                        "counted")
            scene.wait_until(lambda: post(daemon, "later")[0] == 201,
                             "it is asked again")
            daemon.wait_metric('handler_busy{handler="it"}', 0)
            post(daemon, "end")
            heard = []
            while not heard or heard[-1] != "end":
                heard.append(ears.read_text())
            scene.equal([t for t in heard if t.startswith("sleep")], [],
                        "never heard")
            ears.close()


def scene_one_publisher_is_stuck_with_it():
    """What follows is refused at once, other publishers are served."""
    with scene.Daemon(plugin("callback_timeout = 300ms")) as daemon:
        client, other = v1(daemon), v1(daemon)

        def publish(who, number, text):
            who.send_text(json.dumps({"id": number, "publish": {
                "channel": "checked", "text": text}}))
        for n, text in enumerate(("sleep 1500", "behind it")):
            publish(client, n, text)
        publish(other, 9, "beside it")
        scene.check("ok" in json.loads(other.read_text()), "another one's")
        answers = [json.loads(client.read_text()) for _ in range(2)]
        scene.equal([a["error"]["code"] for a in answers],
                    ["filter_failed"] * 2, "it and what is behind it")
        daemon.wait_log("callback_timeout handler=it channel=checked")
        publish(client, 3, "at once")
        at = time.monotonic()
        scene.equal(json.loads(client.read_text())["error"]["code"],
                    "filter_failed", "what follows")
        scene.check(time.monotonic() - at < 0.2 * scene.SLOWNESS, "at once")
        scene.wait_until(lambda: metric(daemon, "busy") == 0, "it is back")
        publish(client, 4, "again")
        scene.check("ok" in json.loads(client.read_text()), "and goes on")
        scene.equal([m["text"] for m in json.loads(daemon.http(
            "GET", "/channels/checked/messages").body)["messages"]],
            ["beside it", "again"], "what is on the tape")
        client.close()
        other.close()


def scene_the_process_dies():
    with scene.Daemon(program("workers = 1")) as daemon:
        ears = daemon.ws("checked")
        post(daemon, "first")
        status, answer = post(daemon, "die")
        scene.equal((status, answer["error"]["code"]),
                    (503, "filter_failed"), "over this message")
        scene.equal(post(daemon, "next")[0], 201, "its successor is asked")
        scene.equal([ears.read_text() for _ in range(2)], ["first", "next"],
                    "heard")
        scene.equal([metric(daemon, n) for n in (
            "publishes_failed_total", "lost_total", "restarts_total")],
            [1, 1, 1], "counted")
        ears.close()


def scene_a_program_that_cannot_run():
    if scene.MODE == "valgrind":
        raise scene.Skip("a child that cannot exec is a leak")
    conf = handled.conf("exec = /no/such/program", "filter = checked",
                        "callback_timeout = 200ms", "backoff_min = 1ms",
                        "backoff_max = 5ms")
    with scene.Daemon(conf) as daemon:
        status, answer = post(daemon, "x")
        scene.equal((status, answer["error"]["code"]),
                    (503, "filter_failed"), "refused, not let through")
        scene.equal(post(daemon, "x", "other")[0], 201, "another channel")


def scene_it_is_slower_than_its_publishers():
    """They wait, and nothing is lost."""
    count = 300 // scene.SLOWNESS
    feed = ("[command feed]\nexec = /bin/sh -c \"i=0; while [ $i -lt "
            f"{count} ]; do echo sleep 1 f$i; i=$((i + 1)); done; "
            "exec sleep 60\"\nchannel = checked\n")
    conf = plugin("queue_messages = 8", more=feed +
                  "[channel **]\nhistory_messages = 100000\n")
    with scene.Daemon(conf) as daemon:
        ears = daemon.ws("checked", "?from=oldest&gap=silent")
        raw, client = daemon.ws("checked"), v1(daemon)
        padding = "x" * 300

        def send():
            for n in range(count):
                raw.send_text(f"sleep 1 r{n} {padding}")
                client.send_text(json.dumps({"id": n, "publish": {
                    "channel": "checked", "text": f"sleep 1 v{n} {padding}"}}))
        sender = threading.Thread(target=send)
        sender.start()
        seen = {"f": [], "r": [], "v": []}
        while sum(map(len, seen.values())) < 3 * count:
            word = ears.read_text().split()[2]
            seen[word[0]].append(int(word[1:]))
        sender.join()
        for who, name in (("f", "feed"), ("r", "raw"), ("v", "earshot.v1")):
            scene.equal(seen[who], list(range(count)),
                        f"{name}: all, in order")
        scene.check(metric(daemon, "pauses_total") >= 3, "they had to wait")
        for each in (ears, raw, client):
            each.close()


def scene_the_publisher_goes():
    with scene.Daemon(plugin()) as daemon:
        ears = daemon.ws("checked")
        raw = daemon.ws("checked")
        raw.send_text("sleep 200")
        raw.send_text("and this")
        handled.wait_metric(daemon, "publishes_total", 2)
        raw.close()
        scene.equal([ears.read_text() for _ in range(2)],
                    ["sleep 200", "and this"], "it is published all the same")
        ears.close()


def scene_drained():
    """What was asked is answered, published and heard before the end."""
    for kind, conf in KINDS.items():
        conf = conf(more="[drain]\nretry_spread = 0s\n")
        with scene.Daemon(conf) as daemon:
            ears = daemon.ws("checked")
            got = []
            word = "sleep 1" if kind == "exec" else "sleep 1000"
            thread = threading.Thread(
                target=lambda: got.append(post(daemon, word)))
            thread.start()
            handled.wait_metric(daemon, "busy", 1)
            daemon.signal()
            scene.equal(ears.read_text(), word, f"{kind}: heard")
            scene.equal(ears.read_closed()[0], 1001, "then the close")
            thread.join()
            scene.equal(got[0][0], 201, "the answer")
            scene.equal(daemon.wait(), 0, "exit code")


def scene_the_drain_does_not_wait_longer_than_it_may():
    if scene.MODE == "valgrind":
        raise scene.Skip("a thread that is left behind is a leak")
    with scene.Daemon(plugin(more="[drain]\ntimeout = 500ms\n")) as daemon:
        client = v1(daemon)
        client.send_text(json.dumps({"id": 1, "publish": {
            "channel": "checked", "text": "sleep 20000"}}))
        handled.wait_metric(daemon, "busy", 1)
        began = time.monotonic()
        daemon.signal()
        scene.equal(daemon.wait(), 3, "exit code")
        scene.check(time.monotonic() - began < 8 * scene.SLOWNESS,
                    f"{time.monotonic() - began:.1f} s")
        client.close()



def scene_a_process_hears_of_its_publish_before_its_stdin_ends():
    asked = scene.TMP / "asked"
    publisher = handled.conf(
        f"exec = {scene.PY} {handled.EXEC}/told.py {asked}", "path = /app",
        name="asker")
    with scene.Daemon(plugin(more=publisher)) as daemon:
        client = handled.app(daemon)
        for number, text in enumerate(("sleep 2000", "bad", "good")):
            client.send_text("do " + json.dumps({"id": number, "publish": {
                "channel": "checked", "text": text}}))
        handled.wait_metric(daemon, "events_total", 4, "asker")
        scene.check("reply" not in asked.read_text(encoding="utf-8"),
                    "they wait")
        daemon.signal()
        scene.equal(client.read_closed()[0], 1001, "the drain's close")
        scene.equal(daemon.wait(), 0, "exit code")
        events = [json.loads(line) for line in
                  asked.read_text(encoding="utf-8").splitlines()]
        scene.equal([(e["reply"], "ok" in e) for e in events if "reply" in e],
                    [(0, True), (1, False), (2, True)], "its replies")


scene.play(globals())
