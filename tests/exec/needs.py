#!/usr/bin/python3
"""needs: an exec handler that does what users of such systems get wrong, for
62-eight-needs.py and 63-handler-limits.py.  Every line it is given is appended to the file that is its
first argument.  Further arguments: "begin" publishes before it reads
anything, "late" when its stdin has ended; "ask" waits in every event for the
reply to a publish; "many" publishes a lot and reads the replies afterwards.
Its messages are words; a connection opened with ?close is closed at once.
"""
import base64
import json
import os
import select
import sys
import threading
import time

TOLD = open(sys.argv[1], "a", buffering=1, encoding="utf-8")
HOW = sys.argv[2:]
LOCK = threading.Lock()
waiting = []  # events that came while a reply was waited for
remembered = None
last_id = 0


def say(command):
    with LOCK:
        sys.stdout.write(json.dumps(command) + "\n")
        sys.stdout.flush()


def read():
    line = sys.stdin.readline()
    if not line:
        return None
    TOLD.write(line)
    return json.loads(line)


def ask(command):
    """The reply; what comes before it is for later."""
    global last_id
    last_id += 1
    number = last_id
    say({"id": number, **command})
    while (got := read()) is not None and got.get("reply") != number:
        waiting.append(got)
    return got


def publish(text, channel="needs"):
    return {"publish": {"channel": channel, "text": text}}


def close_twice(conn):
    say({"close": {"conn": conn, "code": 4001, "reason": "first"}})
    say({"close": {"conn": conn, "code": 4002, "reason": "second"}})


def publish_alone(path):
    number = 0
    while True:
        if os.path.exists(f"{path}.{number}"):
            say(publish("awake"))
            number += 1
        time.sleep(0.001)


def stale():
    """What each command for the one that has gone is answered."""
    old = remembered
    commands = ({"send": {"conn": old, "text": "for nobody"}},
                {"close": {"conn": old, "code": 4009}},
                {"subscribe": {"conn": old, "channel": "needs"}},
                {"refuse": {"conn": old}})
    return " ".join(ask(c)["error"]["code"] for c in commands)


def until_refused(what, conn):
    """How many were taken before one was not."""
    block = base64.b64encode(bytes(32768)).decode()
    where = {"conn": conn} if what == "flood" else {"channel": "slow"}
    command = "send" if what == "flood" else "publish"
    for number in range(5000, 5400):
        say({"id": number, command: {**where, "base64": block}})
    while "error" not in (got := read()):
        if "event" in got:
            waiting.append(got)
    sys.stderr.write(f"{what}: {got['reply'] - 5000} taken, then "
                     f"{got['error']['code']}\n")
    sys.stderr.flush()


def big(conn, text):
    codes = [ask(c)["error"]["code"] for c in (
        {"send": {"conn": conn, "text": text}}, publish(text))]
    say(publish(text))
    say({"send": {"conn": conn, "text": " ".join(codes)}})


def on_message(event):
    global remembered
    conn, word = event.get("conn"), event.get("text", "")
    if word == "name":
        say({"send": {"conn": conn, "text": conn}})
    elif word == "remember":
        remembered = conn
    elif word == "stale":
        say({"send": {"conn": conn, "text": stale()}})
    elif word == "close":
        close_twice(conn)
    elif word == "close in a thread":
        threading.Thread(target=close_twice, args=(conn,)).start()
    elif word in ("flood", "fill"):
        until_refused(word, conn)
    elif word == "err without end":
        for _ in range(2000):
            say({"send": {"conn": conn, "text": 1}})
    elif word == "die":
        os._exit(3)
    elif word == "flood without id":
        for _ in range(400):
            say({"send": {"conn": conn, "text": "x" * 32768}})
    elif word.startswith("big "):
        big(conn, "x" * int(word[4:]))
    elif word == "wait for the next":
        while read() is not None:
            pass
    elif word.startswith("publish "):
        threading.Thread(target=publish_alone, args=(word[8:],),
                         daemon=True).start()
    elif word.startswith("until "):
        while not os.path.exists(word[6:]):
            time.sleep(0.002)
    elif word.startswith("ask "):
        say({"id": 1000, **publish(word[9:], word[4:8])})


def handle(event):
    if "ask" in HOW:
        ask(publish(event["event"], "asked"))
    if event["event"] == "open" and event["query"] == "close":
        close_twice(event["conn"])
    elif event["event"] == "message":
        on_message(event)
    if event.get("text") != "never done":
        say({"done": event["seq"]})


if "begin" in HOW:
    ask(publish("begin"))
if "many" in HOW:
    for n in range(3000):
        say({"id": n, **publish(str(n))})
    while not os.path.exists(TOLD.name + ".read"):
        time.sleep(0.002)
    ended = select.poll()  # time enough to end stdin, if it must be
    ended.register(0, 0)
    ended.poll(300)
while (event := waiting.pop(0) if waiting else read()) is not None:
    if "event" in event:
        handle(event)
if "late" in HOW:
    say({"id": 1, **publish("late, for a reply")})
    say(publish("late"))
    say({"id": 2, "send": {"conn": "0.0", "text": "late"}})
