#!/usr/bin/python3
"""Messages before they are published: a filter in Python.

What holds the word "bad" is refused, "loud TEXT" becomes capitals, all else is
accepted.  For the tests: "die" ends it, "sleep S" takes that long.
"""
import json
import os
import sys
import time


def say(**command):
    print(json.dumps(command), flush=True)


for line in sys.stdin:
    event = json.loads(line)
    if event["event"] == "publish":
        text = event.get("text", "")
        if "bad" in text:
            say(refuse={"seq": event["seq"], "reason": "that word is bad"})
        elif text.startswith("loud "):
            say(change={"seq": event["seq"], "text": text[5:].upper()})
        elif text == "die":
            os._exit(1)
        elif text.startswith("sleep "):
            time.sleep(float(text[6:]))
    say(done=event["seq"])
