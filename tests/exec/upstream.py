#!/usr/bin/python3
"""upstream: a handler of upstreams, as tests/plugins/upstream.c.

Arguments, all may be left out: open=TEXT is the first message, message_s=TIME
blocks that long, pid=CHANNEL tells the process' number there.
"""
import json
import os
import sys
import time

OPTIONS = dict(argument.split("=", 1) for argument in sys.argv[1:])
CHANNELS = {}


def say(command, **members):
    print(json.dumps({command: members}))


def tell(*words):
    say("publish", channel="events", text=" ".join(map(str, words)))


def on_message(conn, event):
    time.sleep(float(OPTIONS.get("message_s", 0)))
    channel = CHANNELS[conn]
    if "base64" in event:
        say("publish", channel=channel, base64=event["base64"])
        return
    word, _, rest = event["text"].partition(" ")
    if word == "answer":
        say("send", conn=conn, text=rest)
    elif word == "close":
        say("close", conn=conn, code=int(rest), reason="as you say")
    elif word == "to":
        channel, _, rest = rest.partition(" ")
        say("publish", channel=channel, text=rest)
    elif word != "drop":
        say("publish", channel=channel, text=event["text"].upper())


for line in sys.stdin:
    event = json.loads(line)
    conn = event.get("conn")
    if event["event"] == "open":
        CHANNELS[conn] = event["channel"]
        tell("open", event["upstream"])
        tell("peer", event["peer"])
        if "open" in OPTIONS:
            say("send", conn=conn, text=OPTIONS["open"])
        if "pid" in OPTIONS:
            say("publish", channel=OPTIONS["pid"], text=str(os.getpid()))
    elif event["event"] == "message":
        on_message(conn, event)
    elif event["event"] == "error":
        if "channel" in event and conn:
            CHANNELS[conn] = event["channel"]  # another process had its open
        tell("error" if conn else "failed", event["message"])
    else:
        tell("close", event["code"], event["reason"])
        CHANNELS.pop(conn, None)
    print(json.dumps({"done": event["seq"]}), flush=True)
