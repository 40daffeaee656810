#!/usr/bin/python3
"""told: an exec handler of the scenes that does what its messages say.

Each event's line is appended to the file that is its argument.  A message
"sleep N" sleeps; "wait FILE" does until that is there; "die" ends it, "mortal"
makes it end over its close; "raw LINE" prints the line; "do {…}" prints that
command with its connection's name put in place of @.  Opens with ?refuse are
refused, with ?refuse=FILE when that is there; those with ?die end it, with
?die-once the first time.
"""
import json
import os
import sys
import time


mortal = set()


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def on_open(event):
    query = event["query"]
    if query.startswith("refuse"):
        until = query.partition("=")[2]
        while until and not os.path.exists(until):
            time.sleep(0.002)
        say(json.dumps({"refuse": {"conn": event["conn"], "code": 4401,
                                   "reason": "not you"}}))
    if query == "die" or query == "die-once" and "retry" not in event:
        os._exit(3)


def on_message(event):
    word, _, rest = event.get("text", "").partition(" ")
    if word == "sleep":
        time.sleep(float(rest))
    elif word == "wait":
        while not os.path.exists(rest.strip()):
            time.sleep(0.002)
    elif word == "die":
        os._exit(3)
    elif word == "mortal":
        mortal.add(event["conn"])
    elif word == "raw":
        say(rest)
    elif word == "end":
        os.write(1, rest.encode())
        os._exit(4)
    elif word == "mute":
        os.close(1)
        time.sleep(60)
    elif word == "deaf":
        os.close(0)
        sys.stderr.write("deaf now\n")
        time.sleep(60)
    elif word == "do":
        say(rest.replace("@", event["conn"]))
    elif word == "stderr":
        sys.stderr.write(rest + "\n")
        sys.stderr.flush()


with open(sys.argv[1], "a", buffering=1, encoding="utf-8") as told:
    for line in sys.stdin:
        event = json.loads(line)
        told.write(line)
        if event.get("event") == "open":
            on_open(event)
        elif event.get("event") == "message":
            on_message(event)
        elif event.get("event") == "close" and event["conn"] in mortal:
            os._exit(3)
        if "seq" in event:
            say(json.dumps({"done": event["seq"]}))
