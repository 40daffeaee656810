#!/usr/bin/python3
"""client_websockets.py URL COUNT [CA]: Python's websockets as a consumer.

Reads COUNT messages (0: until the server closes), after it has sent those
that stdin names, a JSON array [kind, base64] a line.  Then one JSON object on
stdout: messages, kinds (a t or b each, up to 1000), sha256 of all payloads,
each with a line end behind it, and the server's close code and reason.
CLIENT_DEFLATE=no in the environment: permessage-deflate is not offered;
CLIENT_TOKEN: to be sent in the header.
"""
import asyncio
import base64
import hashlib
import json
import os
import ssl
import sys

import websockets

TOKEN = os.environ.get("CLIENT_TOKEN")
HEADERS = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else None
DEFLATE = None if os.environ.get("CLIENT_DEFLATE") == "no" else "deflate"


async def main(url, count, ca=None):
    digest, kinds, messages = hashlib.sha256(), "", 0
    context = ssl.create_default_context(cafile=ca) if ca else None
    async with websockets.connect(
            url, max_size=None, max_queue=None, ssl=context,
            compression=DEFLATE, extra_headers=HEADERS) as server:
        for line in sys.stdin:
            kind, data = json.loads(line)
            data = base64.b64decode(data)
            await server.send(data.decode() if kind == "t" else data)
        try:
            while not count or messages < count:
                data = await server.recv()
                kind = "b" if isinstance(data, bytes) else "t"
                digest.update(data if kind == "b" else data.encode())
                digest.update(b"\n")
                messages += 1
                if messages <= 1000:
                    kinds += kind
        except websockets.ConnectionClosed:
            pass
        code, reason = server.close_code, server.close_reason
    print(json.dumps({"messages": messages, "kinds": kinds, "code": code,
                      "sha256": digest.hexdigest(), "reason": reason}))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
