#!/usr/bin/python3
"""members: lets in whose token says {"role":"member"}, and greets them.

    [handler members]
    exec = members.py
    path = /members
    token = required
"""
import json
import sys


def say(**command):
    print(json.dumps(command), flush=True)


for line in sys.stdin:
    event = json.loads(line)
    conn, claims = event.get("conn"), event.get("claims", {})
    if event["event"] == "open" and claims.get("role") != "member":
        say(refuse={"conn": conn, "code": 4403, "reason": "members only"})
    elif event["event"] == "open":
        say(send={"conn": conn, "text": f"hello {claims.get('sub')}"})
    say(done=event["seq"])
