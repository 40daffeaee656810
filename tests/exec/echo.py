#!/usr/bin/python3
import json
import sys

for line in sys.stdin:
    event = json.loads(line)
    if event["event"] == "message":
        payload = {k: event[k] for k in ("text", "base64") if k in event}
        print(json.dumps({"send": {"conn": event["conn"], **payload}}))
    print(json.dumps({"done": event["seq"]}), flush=True)
