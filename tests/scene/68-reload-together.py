#!/usr/bin/python3
# sanitizer: yes
# limit: 60
"""Reload where things meet: what consumed and does no more, a request between
two filters, a plugin's end behind that of the filter it publishes through.
"""
import errno
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import control
import handled
import scene

ANSWER = f"plugin = {handled.PLUGINS}/answer.so"
FILTER = f"plugin = {handled.PLUGINS}/filter.so"


def ended(daemon, name="it"):
    daemon.wait_log(f"the former handler has ended handler={name}")


def ticked(daemon):
    """It has looked for what is late, and for what is not wanted."""
    before = handled.handler_metric(daemon, "late_total", "tick")
    with handled.app(daemon, "/tick") as client:
        client.send_text("x")
        handled.wait_metric(daemon, "late_total", before + 1, "tick")


def scene_a_channel_that_is_consumed_no_more():
    """Its consumer is at work when the reload comes."""
    tick = handled.conf(ANSWER, "path = /tick", "option.ms = 200",
                        "callback_timeout = 20ms", name="tick")
    with control.Daemon(tick + handled.conf(
            ANSWER, "consume = jobs.*", "option.ms = 200")) as daemon:
        for n in range(3):
            daemon.publish(f"jobs.{n}", "x")
        handled.wait_metric(daemon, "busy", 1)
        daemon.reload(tick)
        ended(daemon)
        ticked(daemon)
        for n in range(3):
            daemon.publish(f"jobs.{n}", "nobody's")
        daemon.reload(tick + handled.conf(ANSWER, "consume = jobs.*"))
        ears = daemon.ws("seen")
        daemon.publish("jobs.1", "again")
        while not ears.read_text().endswith("again"):
            pass
        ears.close()


def scene_a_request_between_two_filters():
    """It stays with the one it began with: what that refuses is the end."""
    def conf(name):
        return handled.conf(FILTER, "filter = checked", "option.word = red",
                            "queue_messages = 6", name=name)
    lines = ["sleep 100"] * 4 + ["sleep 400", "red", "sleep 1000", "more"]
    with control.Daemon(conf("one")) as daemon:
        answers = []
        client = daemon.http_open()
        thread = threading.Thread(target=lambda: answers.append(scene.http_on(
            client, "POST", "/channels/checked/messages?split=lines",
            "\n".join(lines).encode(), {"Content-Type": "text/plain"})))
        thread.start()
        handled.wait_metric(daemon, "busy", 1, "one")
        daemon.reload(conf("two"))
        thread.join()
        scene.equal(answers[0].status, 422, "refused")
        answer = scene.json_of(answers[0])
        scene.equal((answer["accepted"], answer["error"]["line"]), (5, 6),
                    "those before it stay published")
        ended(daemon, "one")
        scene.equal(handled.handler_metric(daemon, "publishes_total", "two"),
                    0, "the other one is not asked")
        got = daemon.http("POST", "/channels/checked/messages", b"next",
                          {"Content-Type": "text/plain"})
        scene.equal(got.status, 201, "but for the next request")
        client.close()
        got = daemon.http("GET", "/channels/checked/messages?from=oldest")
        scene.equal(len(scene.json_of(got)["messages"]), 6, "and all there is")


def scene_a_publisher_that_never_rests():
    """It goes over all the same, and the former one ends."""
    feed = "[command c]\nchannel = checked\nexec = " \
        "sh -c 'n=0; while :; do echo sleep 2 $n; n=$((n + 1)); done'\n" \
        "[channel checked]\nhistory_messages = 100000\n"

    def conf(word):
        return feed + handled.conf(FILTER, "filter = checked",
                                   f"option.word = {word}",
                                   "queue_messages = 8")
    with control.Daemon(conf("red")) as daemon:
        ears = daemon.ws("checked", "?from=oldest")
        for n in range(10):
            scene.equal(ears.read_text(), f"sleep 2 {n}", "through the first")
        daemon.reload(conf("blue"))
        ended(daemon)
        before = handled.handler_metric(daemon, "publishes_total")
        scene.wait_until(lambda: handled.handler_metric(
            daemon, "publishes_total") > before + 10, "the second is asked")
        for n in range(10, int(before)):
            if ears.read_text() != f"sleep 2 {n}":
                raise scene.Failure(f"message {n}")
        ears.close()


def scene_what_a_former_one_publishes():
    """Is the handler's own, as before."""
    def conf(word):
        return handled.conf(FILTER, "path = /app", "filter = checked",
                            f"option.word = {word}")
    with control.Daemon(conf("red")) as daemon:
        with handled.app(daemon) as client:
            for word in ("red", "blue"):
                daemon.reload(conf(word))
                client.send_text(word)
                scene.equal(client.read_text(), "0", f"not asked: {word}")
            got = daemon.http("POST", "/channels/checked/messages", b"blue",
                              {"Content-Type": "text/plain"})
            scene.equal(got.status, 422, "but about that of others")
        ended(daemon)


def scene_an_older_one_ends_last():
    """A program's, behind the plugin that came after it."""
    program = handled.conf(f"exec = {handled.PROGRAMS['python']}",
                           "path = /app")
    with control.Daemon(program) as daemon:
        with handled.app(daemon) as client:
            daemon.reload(handled.conf(ANSWER, "path = /app"))
            daemon.reload("")
            ended(daemon)
            client.send_text("x")
            scene.equal(client.read_text(), "x", "the program serves on")
        daemon.wait_log("the former handler has ended handler=it", count=2)
        daemon.signal()
        scene.equal(daemon.wait(), 0, "exit code")


def scene_a_publish_in_end():
    """The filter has had its end(): it is not asked any more."""
    conf = handled.conf(FILTER, "filter = checked", "option.word = red",
                        name="first")
    with control.Daemon(conf + handled.conf(
            ANSWER, "path = /app", "option.last = checked")) as daemon:
        daemon.signal()
        scene.equal(daemon.wait(), 0, "exit code")
        daemon.wait_log(f"published at the end: {-errno.ESHUTDOWN}")


scene.play(globals())
